"""What a whole catalogue shares, as one digest; cheap enough for the Snakefile."""

from __future__ import annotations

from typing import Any

from skymill.config.run import InferenceSettings
from skymill.store import algorithm_digest, digest, short
from skymill.store.algorithm import TILE_FILE

KERNELS = ["skymill.inference.kernel", "skymill.inference.form", TILE_FILE]
VERSION = 1
"""Raise it to classify all tiles again although no code of the kernel changed."""
PRECISION = "float32"


def algorithm() -> str:
    """Give the digest of the code that computes values."""
    return algorithm_digest(VERSION, KERNELS)


def settings_digest(onnx: str, settings: InferenceSettings) -> str:
    """Give the settings12 of a model's catalogue.

    Parameters
    ----------
    onnx : str
        SHA-256 of the model's file, or its first 12 digits.
    settings : InferenceSettings
    """
    return short(digest({**ingredients(onnx, settings), "algorithm": algorithm()}))


def ingredients(onnx: str, settings: InferenceSettings) -> dict[str, Any]:
    """Give what decides a model's catalogue besides features and code; `onnx` as in `settings_digest`."""
    return {"onnx": short(onnx), "settings": settings.model_dump(), "precision": PRECISION}
