"""What decides an exported file besides the fit, as one digest; cheap enough for the Snakefile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skymill.config import ModelConfig
from skymill.models import LOOK
from skymill.store import algorithm_digest, digest, file_sha256, short

KERNELS = [f"skymill.export.{module}" for module in ("calibrate", "distance", "graph", "parity", "probe")]
STAMP_NETWORK, STAMP_PARITY, PRECISIONS = (
    f"skymill.export.{module}" for module in ("stamp_network", "stamp_parity", "precisions")
)
"""What converts models of pixels, compares them, and puts them into fewer bits. They are imported by these names, so
that their code enters the exports of such models alone."""
VERSION = 1
"""Raise it to export all models again although no code of these modules or of a kind's own changed."""


def settings_digest(model: ModelConfig, *, provider: str) -> str:
    """Give 12 digits that change with the parity limits, the code and, for kind `onnx`, the file and its names.

    For models of pixels it changes with `provider`, what they are run on, too.
    """
    return short(
        digest({**ingredients(model, provider=provider), "algorithm": algorithm_digest(VERSION, modules(model))})
    )


def ingredients(model: ModelConfig, *, provider: str) -> dict[str, Any]:
    """Give what decides the export of a model besides its fit and the code."""
    external = {}
    if model.path is not None:
        found = file_sha256(model.path) if Path(model.path).is_file() else "no file"
        stamps = {"stamps": model.stamps.model_dump()} if model.stamps else {}
        external = {"file": found, "features": model.features, "settings": model.settings, **stamps}
    precision = {"export": model.export.model_dump(), "provider": provider} if model.kind in LOOK else {}
    return {"parity": model.parity.model_dump(), **external, **precision}


def modules(model: ModelConfig) -> list[str]:
    """Name the modules that decide the export of a model."""
    converter = "external" if model.kind == "onnx" else model.kind
    own = [STAMP_NETWORK, STAMP_PARITY, PRECISIONS] if model.kind in LOOK else [f"skymill.export.{converter}"]
    return [*KERNELS, *own]
