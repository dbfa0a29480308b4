"""The digest that names a fit's folder; read while the Snakefile is parsed: no torch, no scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skymill.config import ModelConfig
from skymill.models import read_settings
from skymill.store.algorithm import algorithm_digest, code_sha256, modules_of_file
from skymill.store.keys import digest, file_sha256

STRUCTURE = "skymill.training.structure"
"""What fits models of `task: structure`, in place of `training.fitting`."""
STAMPS = "skymill.training.stamp_set"
"""What reads images. It is imported by this name, so that its code enters the fits of models of pixels alone."""
VOTES = "skymill.training.votes"
"""What judges votes, imported by its name too."""
BESIDE = {"parity", "export", "code", "path", "catalogue", "pin", "settings"}
"""What a model's file says beside what decides its fit, or what enters it by other names."""
VERSION = 1
"""Raise to fit everything again although no code has changed."""


def identity(
    model: ModelConfig,
    *,
    set_sha256: str,
    seed: int,
    members: Sequence[str] = (),
    survey: str = "",
    images: str = "",
) -> dict[str, Any]:
    """Give everything that decides a fit, but the code.

    `members` are the names of the fits an ensemble is made of, `survey` is the version of the feature catalogue that
    rows are weighed by, where they are; `images` is the digest of the images that stamps of the rows are cut of.

    Raises
    ------
    ValueError
        If the kind is not in the zoo.
    ConfigError
        If the model's settings are wrong.
    """
    settings = read_settings(model.kind, model.settings, source=model.where)
    encoder, start = (Path(getattr(settings, name, "")) for name in ("encoder", "start"))  # the bytes decide too
    return {
        "model": model.model_dump(mode="json", exclude=BESIDE),
        "settings": settings.model_dump(mode="json"),
        "training_set": set_sha256,
        "seed": seed,
    } | {
        name: value
        for name, value in (
            ("members", list(members)),
            ("survey", survey),
            ("images", images),
            ("code", code_sha256(model.code) if model.code else ""),
            ("encoder", file_sha256(encoder) if encoder.is_file() else ""),
            ("start", file_sha256(start) if start.is_file() else ""),
        )
        if value
    }


def fit_digest(model: ModelConfig, *, set_sha256: str, seed: int, members: Sequence[str] = (), images: str = "") -> str:
    """Give the SHA-256 that names a fit: of its training set, images, settings, seed, members and code of its kind."""
    code = algorithm_digest(VERSION, modules(model))
    known = identity(model, set_sha256=set_sha256, seed=seed, members=members, images=images)
    return digest({"identity": known, "algorithm": code})


def modules(model: ModelConfig) -> list[str]:
    """Name the modules that decide a fit."""
    if model.task == "structure":
        return [STRUCTURE, f"skymill.models.{model.kind}"]
    weighting = ["skymill.training.weighting"] if model.importance_weighting else []
    pixels = [STAMPS, VOTES] if model.stamps is not None else []
    kind = modules_of_file(model.code) if model.code else [f"skymill.models.{model.kind}"]
    return ["skymill.training.fitting", *kind, *weighting, *pixels]
