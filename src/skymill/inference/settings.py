"""What a whole catalogue shares, as one digest; cheap enough for the Snakefile."""

from __future__ import annotations

from typing import Any

from skymill.config import SurveyConfig
from skymill.config.run import InferenceSettings
from skymill.features import pixels
from skymill.store import algorithm_digest, digest, short
from skymill.store.algorithm import TILE_FILE

KERNELS = ["skymill.inference.kernel", "skymill.inference.form", TILE_FILE]
STAMP_KERNELS = ["skymill.inference.looks", "skymill.inference.posterior"]
"""Of a model that looks at pixels, besides what reads these: the file alone tells whether it gives posteriors."""
VERSION = 1
"""Raise it to classify all tiles again although no code of the kernel changed."""
PRECISION = "float32"


def modules(survey: SurveyConfig | None = None) -> list[str]:
    """Name the modules that compute values; `survey` as in `settings_digest`."""
    if survey is None:
        return KERNELS
    return [*KERNELS, *STAMP_KERNELS, *pixels.modules(survey)]


def algorithm(survey: SurveyConfig | None = None) -> str:
    """Give the digest of the code that computes values; `survey` as in `settings_digest`."""
    return algorithm_digest(VERSION, modules(survey))


def settings_digest(onnx: str, settings: InferenceSettings, survey: SurveyConfig | None = None) -> str:
    """Give the settings12 of a model's catalogue.

    Parameters
    ----------
    onnx : str
        SHA-256 of the model's file, or its first 12 digits.
    settings : InferenceSettings
    survey : SurveyConfig, optional
        Whose images the model looks at; None for a model of features.
    """
    return short(digest({**ingredients(onnx, settings, survey), "algorithm": algorithm(survey)}))


def ingredients(onnx: str, settings: InferenceSettings, survey: SurveyConfig | None = None) -> dict[str, Any]:
    """Give what decides a model's catalogue besides features, images and code; arguments as of `settings_digest`."""
    own = {"onnx": short(onnx), "settings": settings.model_dump(), "precision": PRECISION}
    return own if survey is None else {**own, "reading": pixels.reading(survey)}
