"""Digests of what decides tiles: quick, since the Snakefile asks for one each time it is read."""

from __future__ import annotations

from typing import Any

from skymill.config.run import RunConfig, TilingSettings
from skymill.config.survey import SurveyConfig
from skymill.store.algorithm import algorithm_digest
from skymill.store.keys import digest, short

VERSION = 1
"""Raise it to make all tiles again although no code below the kernels has changed."""
GATE = ("skymill.survey.gate", "skymill.tiling.rows")
READERS = ("skymill.survey.readers.fits", "skymill.survey.readers.hats", "skymill.survey.readers.parquet")
"""They decide on nulls, masks and scaling, and which files of a folder are data."""
TILE = ("skymill.tiling.rows", "skymill.tiling.form")
PLAN = ("skymill.tiling.crowding",)
SPILL = ("skymill.tiling.spill",)
NOT_OF_TILES = {"part_rows", "max_quarantined_share"}
"""Settings that change how tiles come about, not what they hold."""
COUNT_ORDER = 10
"""Parts are counted no finer (12.6 million pixels, 200 MB); crowded pixels are deepened where they stand."""


def settings_digest(run: RunConfig, survey: SurveyConfig) -> str:
    """Give the settings12 of the source catalogue: what all its tiles share; the data are not part of it."""
    bounds = run.tiling.model_dump(mode="json", exclude=NOT_OF_TILES)
    algorithm = algorithm_digest(VERSION, (*gate_modules(survey), *PLAN, *TILE))
    return short(digest({"tiling": bounds, "survey": column_map(survey), "algorithm": algorithm}))


def plan_digest(run: RunConfig, survey: SurveyConfig) -> str:
    """Give the digest of everything but the data that decides a plan."""
    limit = run.tiling.max_quarantined_share
    return digest({"parts": part_key("", survey, run.tiling), "tiles": settings_digest(run, survey), "limit": limit})


def part_key(part_digest: str, survey: SurveyConfig, tiling: TilingSettings) -> str:
    """Give the digest of everything that decides what is kept of a part."""
    return digest(
        {
            "part": part_digest,
            "survey": column_map(survey),
            "group_order": tiling.group_order,
            "count_order": count_order(tiling),
            "algorithm": algorithm_digest(VERSION, (*gate_modules(survey), *SPILL)),
        }
    )


def tile_algorithm() -> str:
    """Give the digest of the code that makes a tile of gated rows."""
    return algorithm_digest(VERSION, TILE)


def column_map(survey: SurveyConfig) -> dict[str, Any]:
    """Give what a survey's file says of its columns, not where it lies; the simulated survey brings its own map."""
    if survey.format == "simulated":
        return {"name": survey.name, "format": survey.format}
    return survey.model_dump(mode="json", exclude={"path", "simulation"})


def gate_modules(survey: SurveyConfig) -> tuple[str, ...]:
    """Name the modules that turn a survey's tables into sources."""
    return (*GATE, "skymill.survey.embedded") if survey.format == "simulated" else (*GATE, *READERS)


def count_order(tiling: TilingSettings) -> int:
    """Give the order of the count map."""
    return max(min(tiling.highest_order, COUNT_ORDER), tiling.lowest_order)


def max_rows(tiling: TilingSettings, row_bytes: int) -> int:
    """Give the rows that fit both bounds of a tile."""
    return max(1, min(tiling.max_rows, tiling.max_bytes // row_bytes))
