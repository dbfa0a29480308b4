"""What decides an exported file besides the fit, as one digest; cheap enough for the Snakefile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skymill.config import ModelConfig
from skymill.models import STAMP_NETWORKS
from skymill.store import algorithm_digest, digest, file_sha256, short
from skymill.store.algorithm import code_sha256, modules_of_file

KERNELS = [f"skymill.export.{module}" for module in ("calibrate", "distance", "graph", "parity", "probe")]
STAMP_NETWORK, FROZEN, STAMP_PARITY, STRUCTURE_PARITY, PRECISIONS = (
    f"skymill.export.{module}"
    for module in ("stamp_network", "frozen", "stamp_parity", "structure_parity", "precisions")
)
"""What converts models of pixels, compares them, and puts them into fewer bits. They are imported by these names, so
that their code enters the exports of such models alone."""
OF_STAMPS = (STAMP_NETWORK, STAMP_PARITY, PRECISIONS)
SEGMENTING = ("skymill.export.segmenting", "skymill.export.segmenter_parity")
"""What exports segmenters."""
VERSION = 1
"""Raise it to export all models again although no code of these modules or of a kind's own changed."""


def settings_digest(model: ModelConfig, *, provider: str = "cpu") -> str:
    """Give 12 digits that change with the parity limits, the code and, for kind `onnx`, the file and its names.

    For models of pixels it changes with `provider`, what they are run on, too.
    """
    return short(
        digest({**ingredients(model, provider=provider), "algorithm": algorithm_digest(VERSION, modules(model))})
    )


def ingredients(model: ModelConfig, *, provider: str = "cpu") -> dict[str, Any]:
    """Give what decides the export of a model besides its fit and the code."""
    external = {}
    if model.path is not None:
        found = file_sha256(model.path) if Path(model.path).is_file() else "no file"
        stamps = {"stamps": model.stamps.model_dump()} if model.stamps else {}
        external = {"file": found, "features": model.features, "settings": model.settings, **stamps}
    precision = {"export": model.export.model_dump(), "provider": provider} if is_stamp_network(model) else {}
    own = {"code": code_sha256(model.code)} if model.code else {}
    return {"parity": limits(model), **external, **precision, **own}


def is_stamp_network(model: ModelConfig) -> bool:
    """Tell whether a model is a network on stamps that is fitted here, one of our own kinds or of the user's."""
    return model.kind in STAMP_NETWORKS or (model.code is not None and model.stamps is not None)


def limits(model: ModelConfig) -> dict[str, Any]:
    """Give the parity limits that hold for a model's task."""
    of_classes = {"max_probability_difference", "max_flip_rate", "max_ece_shift", "max_fraction_difference"}
    of_votes = {"max_fraction_difference"} if model.stamps is None else set()
    others = {
        "classification": {"max_map_difference", "max_quantile_difference", *of_votes},
        "segmentation": {*of_classes, "max_distance_difference", "max_quantile_difference"},
        "structure": {*of_classes, "max_map_difference"},
    }
    return model.parity.model_dump(exclude=others[model.task])


def modules(model: ModelConfig) -> list[str]:
    """Name the modules that decide the export of a model."""
    if model.task == "segmentation":
        return [*SEGMENTING, f"skymill.export.{model.kind}"]
    if model.task == "structure":
        return [*KERNELS, f"skymill.export.{model.kind}", STRUCTURE_PARITY]
    if model.code:
        return [*KERNELS, *modules_of_file(model.code), *(OF_STAMPS if model.stamps else [])]
    if is_stamp_network(model):
        return [*KERNELS, *OF_STAMPS]
    if model.kind == "frozen":
        return [*KERNELS, FROZEN, STAMP_PARITY]
    return [*KERNELS, "skymill.export." + ("external" if model.kind == "onnx" else model.kind)]
