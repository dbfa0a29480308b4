"""Reading the sources of some ranges of sky."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.sky import ORDER, Tile
from skymill.store import Catalogue


def read_ranges(
    catalogue: Catalogue, ranges: NDArray[np.int64], columns: Sequence[str], *, but: frozenset[Tile] = frozenset()
) -> Iterator[dict[str, NDArray[Any]]]:
    """Read the sources whose `_healpix_29` lies in one of some ranges; chunks that can hold none are not read.

    Parameters
    ----------
    catalogue : Catalogue
    ranges : ndarray of int64, (m, 2)
        Sorted and half-open.
    columns : sequence of str
        `_healpix_29` among them.
    but : frozenset of Tile
        Tiles that are left out.

    Yields
    ------
    dict of str to ndarray
        Columns of a chunk's sources, in the order of the sky.
    """
    starts, stops = np.append(ranges[:, 0], np.iinfo(np.int64).max), ranges[:, 1]
    for tile in _overlapping(catalogue, ranges):
        if tile in but:
            continue
        reader = catalogue.reader(*tile)
        reached = starts[np.searchsorted(stops, reader.zones[:, 0], side="right")] <= reader.zones[:, 1]
        for chunk in np.flatnonzero(reached).tolist():
            values = reader.rows(chunk * reader.chunk_rows, (chunk + 1) * reader.chunk_rows, columns)
            inside = starts[np.searchsorted(stops, values["_healpix_29"], side="right")] <= values["_healpix_29"]
            yield {name: column[inside] for name, column in values.items()}


def _overlapping(catalogue: Catalogue, ranges: NDArray[np.int64]) -> list[Tile]:
    orders, pixels = (catalogue.tiles[name].to_numpy(np.int64) for name in ("order", "pixel"))
    shift = 2 * (ORDER - orders)
    first = np.searchsorted(ranges[:, 1], pixels << shift, side="right")
    reached = np.append(ranges[:, 0], np.iinfo(np.int64).max)[first] < (pixels + 1) << shift
    return [Tile(*place) for place in zip(orders[reached].tolist(), pixels[reached].tolist())]
