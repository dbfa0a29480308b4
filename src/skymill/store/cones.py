"""Which tiles, chunks and rows a circle on the sky needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.sky import cone_ranges, in_cone
from skymill.store.reader import TileReader

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
        for chunk in np.flatnonzero(self.touches(tile.zones[:, 0], tile.zones[:, 1])):
            start = int(chunk) * tile.chunk_rows
            rows = tile.rows(start, start + tile.chunk_rows, POSITION)
            inside = in_cone(rows["coord_ra"], rows["coord_dec"], self.ra, self.dec, self.radius)
            if inside.any():
                rows |= tile.rows(start, start + tile.chunk_rows, [name for name in names if name not in POSITION])
                found.append({name: rows[name][inside] for name in names})
        return found
