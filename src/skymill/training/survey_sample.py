"""A sample of a survey's sources: of bounded size and reading, the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymill.features import deciding
from skymill.sky import Tile
from skymill.store import Catalogue, StoreError, TileReader
from skymill.training.choosing import TrainingSetError
from skymill.training.split import splitmix64

MOST_ROWS = 100_000
MOST_CHUNKS = 1_000
"""Chunks read at most, however large the survey: some 13 GB of features at 50 of them."""
FEATURES = "features"
FLAGS = "flags"


@dataclass(frozen=True)
class SurveySample:
    """Sources drawn from a survey that a model was asked about, in the order of the sky."""

    object_id: NDArray[np.int64]
    healpix29: NDArray[np.int64]
    features: NDArray[np.float32]
    """(n, f); NaN = not measured."""
    magnitude: NDArray[np.float32]
    """NaN where the survey has none."""
    outside: NDArray[np.bool_]
    """The model's flag asked for; false where no model was."""
    n_drawn: int
    """Sources drawn, with those that the model could not be asked about."""

    def __len__(self) -> int:
        return len(self.object_id)


def draw_survey(
    catalogue: Catalogue,
    features: Sequence[Mapping[str, Any]],
    *,
    magnitude: str,
    scored: Catalogue | None = None,
    flag: str = "",
    most_rows: int = MOST_ROWS,
    most_chunks: int = MOST_CHUNKS,
) -> SurveySample:
    """Draw sources of a survey at random, each with the same chance.

    Rows at even steps through the survey, in the order of the sky, name the chunks to read; each names as many sources
    of its chunk, those of the lowest hash of `objectId`. What a survey does not have is not measured. Nothing depends
    on who made the tiles, in which order, or with how many workers.

    Parameters
    ----------
    catalogue : Catalogue
        Of the features.
    features : sequence of mappings
        `name`, `group`, `indicator` of the model's inputs.
    magnitude : str
        The feature to bin by.
    scored : Catalogue, optional
        Of the model; tiles that it lacks are left out.
    flag : str
        Name of the flag to read of it.
    most_rows, most_chunks : int
        Bounds of what is drawn and of what is read.

    Raises
    ------
    TrainingSetError
        If no source is in both catalogues, or none of them can be scored.
    StoreError
        If the tiles of the two catalogues do not hold the same sources.
    """
    names = [*(feature["name"] for feature in features), magnitude]
    drawn = []
    for tile, row, quota in _places(catalogue, scored or catalogue, most_rows, most_chunks):
        part = _rows(catalogue.reader(*tile), row, quota, names)
        raised = np.zeros(len(part.kept), bool) if scored is None else _raised(scored.reader(*tile), row, part, flag)
        drawn.append((*part[1:], raised))
    if not drawn:
        raise TrainingSetError(f"{catalogue.location}: no source of it can be drawn; run snakemake again")
    object_id, healpix29, values, outside = (np.concatenate(column) for column in zip(*drawn))
    kept = np.isfinite(values[:, deciding(features)]).any(axis=1)
    if not kept.any():
        raise TrainingSetError(f"{catalogue.location}: nothing is measured that the model could judge a source by")
    values = values[kept]
    return SurveySample(object_id[kept], healpix29[kept], values[:, :-1], values[:, -1], outside[kept], len(kept))


def _places(
    catalogue: Catalogue, scored: Catalogue, most_rows: int, most_chunks: int
) -> Iterator[tuple[Tile, int, int]]:
    """Give the chunks to read: a tile, a row in the chunk, and the number of sources to draw of it."""
    there = set(zip(scored.tiles["order"].tolist(), scored.tiles["pixel"].tolist()))
    table = catalogue.tiles
    tiles = [Tile(*place) for place in zip(table["order"].tolist(), table["pixel"].tolist())]
    n_rows = np.array([n if tile in there else 0 for tile, n in zip(tiles, table["n_rows"].tolist())], np.int64)
    ends = np.cumsum(n_rows)
    total = int(ends[-1]) if len(ends) else 0
    steps = min(most_chunks, most_rows, total)
    rows = ((np.arange(steps) + 0.5) * total / max(steps, 1)).astype(np.int64)
    tile_of = np.searchsorted(ends, rows, side="right")
    for number in np.unique(tile_of):
        inside = rows[tile_of == number] - (ends[number] - n_rows[number])
        chunk_rows = catalogue.reader(*tiles[number]).chunk_rows
        chunks, hits = np.unique(inside // chunk_rows, return_counts=True)
        for chunk, n in zip(chunks.tolist(), hits.tolist()):
            yield tiles[number], chunk * chunk_rows, n * (most_rows // steps)


class _Part(NamedTuple):
    """What was drawn of a chunk."""

    kept: NDArray[np.intp]
    """Rows of the chunk."""
    object_id: NDArray[np.int64]
    healpix29: NDArray[np.int64]
    values: NDArray[np.float32]


def _rows(source: TileReader, start: int, quota: int, names: Sequence[str]) -> _Part:
    """Read a chunk and keep the sources of the lowest hash; what no column has, or is infinite, is NaN."""
    rows = source.rows(start, start + source.chunk_rows, ["objectId", "_healpix_29", FEATURES])
    kept = np.sort(np.argsort(splitmix64(rows["objectId"].view(np.uint64)), kind="stable")[:quota])
    present = list(source.arrays[FEATURES].attrs["columns"])  # type: ignore[arg-type]
    values = np.full((len(kept), len(names)), np.nan, np.float32)
    for place, name in enumerate(names):
        if name in present:
            values[:, place] = rows[FEATURES][kept, present.index(name)]
    values[~np.isfinite(values)] = np.nan
    return _Part(kept, rows["objectId"][kept], rows["_healpix_29"][kept], values)


def _raised(scored: TileReader, start: int, part: _Part, flag: str) -> NDArray[np.bool_]:
    """Tell which of the sources drawn have a flag of the model's."""
    answer = scored.rows(start, start + scored.chunk_rows, ["objectId", FLAGS])
    if not np.array_equal(answer["objectId"][part.kept], part.object_id):
        raise StoreError(f"{scored.location}: expected the sources of the same tile of the features; run snakemake")
    attrs: Mapping[str, Any] = scored.arrays[FLAGS].attrs
    mask = dict(zip(attrs["flag_meanings"].split(), attrs["flag_masks"], strict=True))[flag]
    return np.asarray(answer[FLAGS][part.kept] & mask != 0)
