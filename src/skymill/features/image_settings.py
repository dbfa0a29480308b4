"""Digests of what decides a segmentation catalogue: quick, since the Snakefile asks for one each time it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skymill.config import RunConfig, SurveyConfig
from skymill.features.segmenting import MODULE as SEGMENTING
from skymill.store.algorithm import TILE_FILE, algorithm_digest
from skymill.store.keys import digest, short
from skymill.survey.images.layout_modules import layout_module
from skymill.survey.inventory import file_digests
from skymill.survey.readers.listing import found

VERSION = 1
"""Raise it to measure all images again although no code below has changed."""
KERNEL = ("skymill.features.image_tile", TILE_FILE)


def kernel(run: RunConfig, survey: SurveyConfig) -> tuple[str, ...]:
    """Name the modules that decide a segmentation tile: of readers and segmenters those that are used."""
    assert survey.images is not None
    learned = () if run.features.measure.segmenter is None else (SEGMENTING,)
    return (*KERNEL, layout_module(survey.images), *learned)


def segmentation_settings(run: RunConfig, survey: SurveyConfig) -> str:
    """Give the settings12 of the segmentation catalogue: what all its tiles share; the images are not part of it."""
    return short(digest(ingredients(run, survey)))


def ingredients(run: RunConfig, survey: SurveyConfig) -> dict[str, Any]:
    """What enters the key of every tile, besides its images."""
    assert survey.images is not None
    measure = run.features.measure
    return {
        "survey": survey.name,
        "bands": survey.bands,
        "band_names": survey.band_names,
        "images": survey.images.model_dump(mode="json"),
        "measure": measure.model_dump(mode="json", exclude={"positions", "segmenter"}),
        "positions": _digest(run, measure.positions) if measure.positions else "",
        **({"segmenter": _digest(run, measure.segmenter)} if measure.segmenter else {}),
        "algorithm": algorithm_digest(VERSION, kernel(run, survey)),
    }


def _digest(run: RunConfig, path: str) -> str:
    """Give the SHA-256 of a file that sources are found with, or measured at."""
    return file_digests([found(path, Path(path))], Path(run.output) / ".cache")[0]
