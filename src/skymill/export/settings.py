"""What decides an exported file besides the fit, as one digest; cheap enough for the Snakefile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skymill.config import ModelConfig
from skymill.store import algorithm_digest, digest, file_sha256, short

KERNELS = [f"skymill.export.{module}" for module in ("calibrate", "distance", "graph", "parity", "probe")]
STAMP_PARITY = "skymill.export.stamp_parity"
"""What compares models of pixels. It is imported by this name, so that its code enters their exports alone."""
SEGMENTING = ("skymill.export.segmenting", "skymill.export.segmenter_parity")
"""What exports segmenters."""
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
    return {"parity": model.parity.model_dump(), **external}


def modules(model: ModelConfig) -> list[str]:
    """Name the modules that decide the export of a model."""
    if model.task == "segmentation":
        return [*SEGMENTING, f"skymill.export.{model.kind}"]
    converter = "external" if model.kind == "onnx" else model.kind
    pixels = [STAMP_PARITY] if model.stamps is not None else []
    return [*KERNELS, f"skymill.export.{converter}", *pixels]
