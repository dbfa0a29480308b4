"""Digests of what decides tiles: quick, since the Snakefile asks for one each time it is read."""

from __future__ import annotations

from typing import Any

from skymill.config.run import RunConfig, TilingSettings
from skymill.config.survey import SurveyConfig
from skymill.store.algorithm import TILE_FILE, algorithm_digest
from skymill.store.keys import digest, short
from skymill.survey import Survey, inventory_digest
from skymill.survey.columns import source_roles
from skymill.survey.images.layout_modules import layout_module
from skymill.survey.readers.tables import MODULES

VERSION = 1
"""Raise it to make all tiles again although no code below the kernels has changed."""
GATE = ("skymill.survey.gate", "skymill.tiling.rows")
TILE = ("skymill.tiling.rows", "skymill.tiling.settling", "skymill.tiling.form", TILE_FILE)
PLAN = ("skymill.tiling.crowding",)
PART = ("skymill.tiling.content",)
IMAGE_PLAN = ("skymill.tiling.imaging",)
SPILL_FORMAT = 2
"""Of what is kept of a part: raise it when `spill` comes to write other files."""
NOT_OF_TILES = {"part_rows", "highest_order", "max_quarantined_share"}
"""Settings that change how tiles come about, not what they hold."""
COUNT_ORDER = 10
"""Parts are counted no finer (12.6 million pixels, 200 MB); crowded pixels are deepened where they stand."""


def settings_digest(run: RunConfig, survey: SurveyConfig) -> str:
    """Give the settings12 of the source catalogue: what all its tiles share; the data are not part of it."""
    algorithm = algorithm_digest(VERSION, tile_modules(survey))
    return short(digest({**tile_settings(run, survey), "algorithm": algorithm}))


def tile_settings(run: RunConfig, survey: SurveyConfig) -> dict[str, Any]:
    """Give the settings that decide the tiles of the source catalogue."""
    bounds = run.tiling.model_dump(mode="json", exclude=NOT_OF_TILES)
    return {"tiling": bounds, "survey": column_map(survey)}


def tile_modules(survey: SurveyConfig) -> tuple[str, ...]:
    """Name the modules that decide the tiles of the source catalogue."""
    return (*gate_modules(survey), *PLAN, *TILE)


def plan_modules(survey: SurveyConfig) -> tuple[str, ...]:
    """Name the modules that decide a plan."""
    return (*tile_modules(survey), *PART)


def plan_digest(run: RunConfig, survey: SurveyConfig) -> str:
    """Give the digest of everything but the data that decides a plan."""
    parts, tiles = part_key("", survey, run.tiling), settings_digest(run, survey)
    limit = run.tiling.max_quarantined_share
    return digest({"survey": survey.name, "parts": parts, "tiles": tiles, "limit": limit})


def plan_name(run: RunConfig, survey: SurveyConfig, data: str) -> str:
    """Give the 12 digits that name the plan of a survey whose tables have the digest `data`."""
    return short(digest({"data": data, "settings": plan_digest(run, survey)}))


def image_plan_name(run: RunConfig, survey: Survey) -> str:
    """Give the 12 digits that name the plan of a survey's image tiles."""
    config = survey.config
    assert config.images is not None
    settings = {
        "bands": config.bands,
        "band_names": config.band_names,
        "images": config.images.model_dump(mode="json"),
        "group_order": run.tiling.group_order,
        "algorithm": algorithm_digest(VERSION, image_plan_modules(config)),
    }
    return short(digest({"data": inventory_digest(survey), "settings": settings}))


def image_plan_modules(survey: SurveyConfig) -> tuple[str, ...]:
    """Name the modules that decide a plan of image tiles, the reader of the survey's layout among them."""
    assert survey.images is not None
    return (*IMAGE_PLAN, layout_module(survey.images))


def part_key(part_digest: str, survey: SurveyConfig, tiling: TilingSettings) -> str:
    """Give the digest of everything that decides what is kept of a part."""
    return digest({"part": part_digest, **part_settings(survey, tiling)})


def part_settings(survey: SurveyConfig, tiling: TilingSettings) -> dict[str, Any]:
    """Give what decides what is kept of every part, besides its own content."""
    return {
        "survey": column_map(survey),
        "group_order": tiling.group_order,
        "count_order": count_order(tiling),
        "format": SPILL_FORMAT,
        "algorithm": algorithm_digest(VERSION, (*gate_modules(survey), *PART)),
    }


def tile_algorithm() -> str:
    """Give the digest of the code that makes a tile of gated rows."""
    return algorithm_digest(VERSION, TILE)


def column_map(survey: SurveyConfig) -> dict[str, Any]:
    """Give what a survey's file says that decides its sources; the simulated survey brings its own map.

    Where the tables lie, the survey's name, the epoch, maps for the report and how features are made of the fluxes are
    no part of it. Nor is the code of the settings, but what it makes of them is.
    """
    if survey.format == "simulated":
        return {"format": survey.format}
    for_features = {name: {"softening"} for name, each in survey.photometry.items() if each.unit != "mag_asinh"}
    elsewhere: dict[str, Any] = dict.fromkeys(("name", "path", "epoch", "simulation", "images", "maps"), True)
    others = {"extinction": {"coefficients"}, "photometry": for_features}
    return survey.model_dump(mode="json", exclude=elsewhere | others) | {
        "columns": [list(role) for role in source_roles(survey)]
    }


def gate_modules(survey: SurveyConfig) -> tuple[str, ...]:
    """Name the modules that turn a survey's tables into sources: readers decide on nulls, masks and scaling."""
    if survey.format == "simulated":
        return (*GATE, "skymill.survey.embedded")
    if survey.format == "images":
        return (*GATE, "skymill.tiling.measured")
    reader = ("skymill.survey.readers.hats",) if survey.format == "hats" else ()
    return (*GATE, *reader, MODULES[survey.format])


def count_order(tiling: TilingSettings) -> int:
    """Give the order of the count map."""
    return max(min(tiling.highest_order, COUNT_ORDER), tiling.lowest_order)


def max_rows(tiling: TilingSettings, row_bytes: int) -> int:
    """Give the rows that fit both bounds of a tile."""
    return max(1, min(tiling.max_rows, tiling.max_bytes // row_bytes))
