"""Sources whose vectors lie nearest to a given one: all are looked at, chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from skymill.store.reader import TileReader

EMBEDDING = "embedding"
"""The column of vectors of length 1."""


class Found(NamedTuple):
    """Rows of tiles, the most similar first."""

    similarity: NDArray[np.float32]
    """(m,), cosine of the angle to the given vector."""
    tile: NDArray[np.int64]
    """(m,), which of the tiles."""
    row: NDArray[np.int64]
    """(m,), of the tile."""

    def best(self, k: int) -> Found:
        """Give the k most similar; of equals the first in the order of the sky."""
        order = np.lexsort((self.row, self.tile, -self.similarity))[:k]
        return Found._make(values[order] for values in self)


def unit(vector: Sequence[float] | NDArray[Any]) -> NDArray[np.float32]:
    """Give a vector (d,) length 1.

    Raises
    ------
    ValueError
        If it has none.
    """
    values = np.asarray(vector, dtype=np.float64)  # of which the squares of small numbers are not 0
    length = np.linalg.norm(values)
    if values.ndim != 1 or not (np.isfinite(length) and length > 0):
        raise ValueError(f"expected a vector of finite numbers, not all 0, found {np.asarray(vector)!r}")
    return (values / length).astype(np.float32)


def nearest(tiles: Sequence[TileReader], vector: NDArray[np.float32], k: int, *, threads: int) -> Found:
    """Give the k rows whose vectors are most similar to a vector (d,) of length 1; rows without one are not among them.

    Raises
    ------
    ValueError
        If the vectors have another length, or k is below 1.
    """
    if k < 1:
        raise ValueError(f"k: expected a number of sources of at least 1, found {k}")
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(partial(_nearest_of_tile, vector=vector, k=k), range(len(tiles)), tiles))
    return _together(parts).best(k)


def _together(parts: Sequence[Found]) -> Found:
    return Found(*(np.concatenate([getattr(part, name) for part in parts]) for name in Found._fields))


def _nearest_of_tile(number: int, tile: TileReader, *, vector: NDArray[np.float32], k: int) -> Found:
    known = tile.arrays[EMBEDDING].shape[1]
    if known != len(vector):
        raise ValueError(
            f"{tile.location}: expected a vector of {known} numbers, as `{EMBEDDING}` has, found {len(vector)}"
        )
    best = Found(np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0, np.int64))
    for start in range(0, tile.n_rows, tile.chunk_rows):
        vectors = tile.rows(start, start + tile.chunk_rows, [EMBEDDING])[EMBEDDING]
        similarity = vectors.astype(np.float32) @ vector
        rows = np.flatnonzero(np.isfinite(similarity))
        if len(rows) > k:
            rows = rows[np.argpartition(-similarity[rows], k - 1)[:k]]
        here = Found(similarity[rows], np.full(len(rows), number), rows + start)
        best = _together([best, here]).best(k)
    tile.store.source.forget()
    return best
