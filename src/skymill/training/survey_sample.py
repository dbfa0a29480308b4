"""A sample of a survey's sources: of bounded size and reading, the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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
IDENTITY = ("objectId", "_healpix_29")
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
    """The model's flag `outside_training`."""
    n_drawn: int
    """Sources drawn, with those that the model could not be asked about."""

    def __len__(self) -> int:
        return len(self.object_id)


def draw_survey(
    catalogue: Catalogue,
    scored: Catalogue,
    features: Sequence[dict[str, Any]],
    *,
    magnitude: str,
    flag: str,
    most_rows: int = MOST_ROWS,
    most_chunks: int = MOST_CHUNKS,
) -> SurveySample:
    """Draw sources of a survey at random, each with the same chance.

    Rows at even steps through the survey, in the order of the sky, name the chunks to read; each names as many sources
    of its chunk, those of the lowest hash of `objectId`. What a survey does not have is not measured. Nothing depends on who made the tiles, in which order, or with
    how many workers.

    Parameters
    ----------
    catalogue : Catalogue
        Of the features.
    scored : Catalogue
        Of the model; what it holds of the same tiles. Tiles that it lacks are left out.
    features : sequence of dict
        `name`, `group`, `indicator` of the model's inputs.
    magnitude : str
        The feature to bin by.
    flag : str
        Name of the flag to read.
    most_rows, most_chunks : int
        Bounds of what is drawn and of what is read.

    Raises
    ------
    TrainingSetError
        If no source is in both catalogues, or none of them can be scored.
    StoreError
        If the tiles of the two catalogues do not hold the same sources.
    """
    names = [feature["name"] for feature in features]
    drawn = [
        _rows(catalogue.reader(*tile), scored.reader(*tile), row, quota, [*names, magnitude], flag)
        for tile, row, quota in _places(catalogue, scored, most_rows, most_chunks)
    ]
    if not drawn:
        raise TrainingSetError(f"{catalogue.location}: no source of it is in {scored.location}; run snakemake again")
    columns = {name: np.concatenate([part[name] for part in drawn]) for name in drawn[0]}
    matrix = np.where(np.isfinite(columns[FEATURES]), columns[FEATURES], np.float32(np.nan))
    kept = np.isfinite(matrix[:, deciding(features)]).any(axis=1)
    if not kept.any():
        raise TrainingSetError(f"{scored.location}: nothing is measured of any source that the model could judge by")
    return SurveySample(
        object_id=columns["objectId"][kept],
        healpix29=columns["_healpix_29"][kept],
        features=matrix[kept, :-1],
        magnitude=matrix[kept, -1],
        outside=columns[FLAGS][kept],
        n_drawn=len(kept),
    )


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
    steps = min(most_chunks, total)
    rows = ((np.arange(steps) + 0.5) * total / max(steps, 1)).astype(np.int64)
    tile_of = np.searchsorted(ends, rows, side="right")
    for number in np.unique(tile_of):
        inside = rows[tile_of == number] - (ends[number] - n_rows[number])
        chunk_rows = catalogue.reader(*tiles[number]).chunk_rows
        chunks, hits = np.unique(inside // chunk_rows, return_counts=True)
        for chunk, n in zip(chunks.tolist(), hits.tolist()):
            yield tiles[number], chunk * chunk_rows, n * (most_rows // steps)


def _rows(
    source: TileReader, scored: TileReader, start: int, quota: int, names: Sequence[str], flag: str
) -> dict[str, NDArray[Any]]:
    """Read a chunk and keep the sources of the lowest hash; a name that no column has is NaN."""
    stop = start + source.chunk_rows
    rows, answer = source.rows(start, stop, [*IDENTITY, FEATURES]), scored.rows(start, stop, ["objectId", FLAGS])
    if not np.array_equal(rows["objectId"], answer["objectId"]):
        raise StoreError(f"{scored.location}: expected the sources of {source.location}; run snakemake again")
    kept = np.sort(np.argsort(splitmix64(rows["objectId"].view(np.uint64)), kind="stable")[:quota])
    present = list(source.arrays[FEATURES].attrs["columns"])
    matrix = np.full((len(kept), len(names)), np.nan, np.float32)
    for place, name in enumerate(names):
        if name in present:
            matrix[:, place] = rows[FEATURES][kept, present.index(name)]
    flags = scored.arrays[FLAGS].attrs
    mask = dict(zip(str(flags["flag_meanings"]).split(), flags["flag_masks"], strict=True))[flag]
    raised = answer[FLAGS][kept] & mask != 0
    return {**{name: rows[name][kept] for name in IDENTITY}, FEATURES: matrix, FLAGS: raised}
