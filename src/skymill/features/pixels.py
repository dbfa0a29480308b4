"""What decides the pixels that a model looks at, besides the files: quick, since the Snakefile asks as it is read."""

from __future__ import annotations

from typing import Any

from skymill.config import SurveyConfig
from skymill.store.algorithm import algorithm_digest
from skymill.store.keys import digest
from skymill.survey.images.layout_modules import layout_module

STAMPS = "skymill.features.source_tile"
VERSION = 1
"""Raise it to look at all images again although no code has changed."""


def modules(survey: SurveyConfig) -> list[str]:
    """Name the modules that read a survey's images and cut stamps of them."""
    assert survey.images is not None
    return [STAMPS, layout_module(survey.images)]


def reading(survey: SurveyConfig) -> dict[str, Any]:
    """Give the settings that decide which pixels are read of a survey's images."""
    assert survey.images is not None
    images = survey.images.model_dump(mode="json")
    return {"images": images, "bands": list(survey.bands), "band_names": dict(survey.band_names)}


def pixels_digest(survey: SurveyConfig, tiles: str) -> str:
    """Give the digest of what the pixels of some image tiles depend on.

    Parameters
    ----------
    survey : SurveyConfig
    tiles : str
        Digest of the tiles' files, as `SourceImages.digest` gives it.
    """
    return digest({"tiles": tiles, **reading(survey), "algorithm": algorithm_digest(VERSION, modules(survey))})
