"""The digest that names a segmenter's fit; read while the Snakefile is parsed: no torch, nothing rendered."""

from __future__ import annotations

from typing import Any

from skymill.config import ModelConfig
from skymill.models import read_settings
from skymill.store.algorithm import algorithm_digest
from skymill.store.keys import digest

VERSION = 1
"""Raise to fit all segmenters again although no code has changed."""


def segmenter_identity(model: ModelConfig, *, seed: int) -> dict[str, Any]:
    """Give everything that decides a segmenter's fit, but the code: it learns from rendered sky, and so from no survey.

    Raises
    ------
    ConfigError
        If the model's settings are wrong.
    """
    settings = read_settings(model.kind, model.settings, source=model.where)
    return {"model": model.name, "kind": model.kind, "settings": settings.model_dump(mode="json"), "seed": seed}


def segmenter_digest(model: ModelConfig, *, seed: int) -> str:
    """Give the SHA-256 that names a fit: of its settings, seed and code."""
    known = segmenter_identity(model, seed=seed)
    return digest({"identity": known, "algorithm": algorithm_digest(VERSION, segmenter_modules(model))})


def segmenter_modules(model: ModelConfig) -> list[str]:
    """Name the modules that decide a segmenter's fit."""
    return ["skymill.training.segmenting", f"skymill.models.{model.kind}"]
