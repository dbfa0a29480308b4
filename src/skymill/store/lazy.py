"""One dask array over all tiles, made without opening them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import dask.array as da
import numpy as np
import zarr
from dask.blockwise import blockwise
from dask.highlevelgraph import HighLevelGraph
from dask.layers import ArrayValuesDep
from numpy.typing import NDArray

from skymill.store.reader import TileReader

OPEN_TILES = 16
"""Tiles kept open in each process that computes."""


@lru_cache(maxsize=OPEN_TILES)
def _open(location: str, n_bytes: int, key: str) -> TileReader:
    return TileReader(location, n_bytes=n_bytes, key=key)


def _load(file: tuple[str, int, str], name: str) -> NDArray[Any]:
    """Read one variable of one tile: a task of the graph."""
    reader = _open(*file)
    try:
        return reader.rows(columns=[name])[name]
    finally:
        reader.store.source.forget()


def lazy_array(
    form: zarr.Array[Any], name: str, files: Sequence[tuple[str, int, str]], rows: tuple[int, ...], *, token: str
) -> da.Array:
    """Give a variable of many tiles as one array, a chunk per tile.

    The graph is one symbolic layer, so that 1e5 tiles cost no more than their names.

    Parameters
    ----------
    form : zarr array
        The variable in any one tile: its type and other dimensions.
    name : str
        The variable.
    files : sequence of (str, int, str)
        Place, size and key of each tile.
    rows : tuple of int
        Sources of each tile.
    token : str
        What tells this catalogue from others.
    """
    index = "ijk"[: form.ndim]
    chunks = (rows, *((size,) for size in form.shape[1:]))
    places = np.empty(tuple(len(sizes) for sizes in chunks), dtype=object)
    for place, file in enumerate(files):
        places.flat[place] = file
    key = f"{name}-{token}"
    layer = blockwise(_load, key, index, ArrayValuesDep(chunks, places), index, numblocks={}, name=name)
    graph = HighLevelGraph.from_collections(key, layer, dependencies=[])
    return da.Array(graph, key, chunks, dtype=form.dtype)
