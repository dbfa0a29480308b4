"""What decides an exported file besides the fit, as one digest; cheap enough for the Snakefile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skymill.config import ModelConfig
from skymill.store import algorithm_digest, digest, file_sha256, short

KERNELS = [f"skymill.export.{module}" for module in ("calibrate", "distance", "graph", "parity", "probe")]
STRUCTURE_PARITY = "skymill.export.structure_parity"
"""What compares models of `task: structure`, in the same way."""
STAMP_PARITY = "skymill.export.stamp_parity"
"""What compares models of pixels. It is imported by this name, so that its code enters their exports alone."""
VERSION = 1
"""Raise it to export all models again although no code of these modules or of a kind's own changed."""


def settings_digest(model: ModelConfig) -> str:
    """Give 12 digits that change with the parity limits, the code and, for kind `onnx`, the file and its names."""
    return short(digest({**ingredients(model), "algorithm": algorithm_digest(VERSION, modules(model))}))


def ingredients(model: ModelConfig) -> dict[str, Any]:
    """Give what decides the export of a model besides its fit and the code."""
    external = {}
    if model.path is not None:
        found = file_sha256(model.path) if Path(model.path).is_file() else "no file"
        stamps = {"stamps": model.stamps.model_dump()} if model.stamps else {}
        external = {"file": found, "features": model.features, "settings": model.settings, **stamps}
    return {"parity": limits(model), **external}


def limits(model: ModelConfig) -> dict[str, Any]:
    """Give the parity limits that hold for a model's task."""
    others = {"max_probability_difference", "max_flip_rate", "max_ece_shift"}
    return model.parity.model_dump(exclude=others if model.task == "structure" else {"max_quantile_difference"})


def modules(model: ModelConfig) -> list[str]:
    """Name the modules that decide the export of a model."""
    converter = "external" if model.kind == "onnx" else model.kind
    parity = STRUCTURE_PARITY if model.task == "structure" else STAMP_PARITY
    pixels = [parity] if model.stamps is not None else []
    return [*KERNELS, f"skymill.export.{converter}", *pixels]
