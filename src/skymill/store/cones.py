"""Which tiles, chunks and rows a circle on the sky needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.sky import cone_ranges, in_cone
from skymill.store.reader import TileReader
from skymill.survey.ragged import Ragged

POSITION = ("coord_ra", "coord_dec")


@dataclass(frozen=True)
class Cone:
    """A circle on the sky, its edge included (degrees, ICRS)."""

    ra: float
    dec: float
    radius: float

    @cached_property
    def ranges(self) -> NDArray[np.int64]:
        """Half-open ranges of order-29 indices that cover the cone, (m, 2)."""
        return cone_ranges(self.ra, self.dec, self.radius)

    def touches(self, lowest: NDArray[np.int64], highest: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which intervals of order-29 indices (both ends included) may hold sources of the cone."""
        following = np.searchsorted(
            self.ranges[:, 1], lowest, side="right"
        )  # the first range that ends behind `lowest`
        starts = np.append(self.ranges[:, 0], np.iinfo(np.int64).max)
        return np.asarray(starts[following] <= highest)

    def rows(self, tile: TileReader, names: tuple[str, ...]) -> list[dict[str, NDArray[Any]]]:
        """Read the tile's sources in the cone: positions of the chunks that it touches, then what else is asked for."""
        found = []
        chunks = np.flatnonzero(self.touches(tile.zones[:, 0], tile.zones[:, 1]))
        for run in np.split(chunks, np.flatnonzero(np.diff(chunks) > 1) + 1):
            if not len(run):
                continue
            start, stop = int(run[0]) * tile.chunk_rows, (int(run[-1]) + 1) * tile.chunk_rows
            place = tile.rows(start, stop, POSITION)
            inside = np.flatnonzero(in_cone(place["coord_ra"], place["coord_dec"], self.ra, self.dec, self.radius))
            if len(inside):
                first, last = int(inside[0]), int(inside[-1])
                others = [name for name in names if name not in POSITION]
                rest = tile.rows(start + first, start + last + 1, others)
                place = {name: values[first : last + 1] for name, values in place.items()} | rest
                found.append({name: _chosen(name, place, tile, inside - first) for name in names})
        return found


def _chosen(name: str, block: dict[str, NDArray[Any]], tile: TileReader, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Choose rows from a variable of a block; of a nested column, their observations."""
    if name not in tile.observations:
        return np.asarray(block[name][rows])
    return Ragged(block[tile.observations[name]].astype(np.int64), block[name])[rows].values
