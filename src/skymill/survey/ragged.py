"""Values of which each source has as many as it was observed: light curves, detections."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class ObservedValue(NamedTuple):
    """What each observation of a source holds under one name."""

    dtype: str
    unit: str
    """'' for a pure number or a category."""
    categories: tuple[str, ...] = ()
    """What the numbers 0, 1, ... stand for; -1 is anything else."""


def observation_dtype(values: Mapping[str, ObservedValue]) -> np.dtype[np.void]:
    """Give the packed record of one observation."""
    return np.dtype([(name, np.dtype(value.dtype).newbyteorder("<")) for name, value in values.items()])


@dataclass(frozen=True, eq=False)
class Ragged:
    """A column of lists: the first `counts[0]` values belong to row 0, and so on.

    Attributes
    ----------
    counts : ndarray of int64, (n,)
    values : ndarray, (sum of counts,)
        Masked where some are empty; a structured array where observations have several values each.
    """

    counts: NDArray[np.int64]
    values: NDArray[Any]

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, rows: Any) -> Ragged:
        """Choose rows by whatever chooses them from a numpy array: a slice, a mask, or their numbers in any order."""
        starts, counts = self.edges[:-1][rows], self.counts[rows]
        ends = np.cumsum(counts)
        chosen = np.arange(counts.sum()) + np.repeat(starts - (ends - counts), counts)
        return Ragged(counts, self.values[chosen])

    @cached_property
    def edges(self) -> NDArray[np.int64]:
        """Where each row's values begin and, last, where those of all end, (n + 1,)."""
        return np.concatenate([[0], np.cumsum(self.counts, dtype=np.int64)])

    def digests(self) -> NDArray[np.uint64]:
        """Give 128 bits of BLAKE2b of each row's values, (n, 2)."""
        content = np.ascontiguousarray(self.values).view(np.uint8).data
        found = [
            hashlib.blake2b(content[start:stop], digest_size=16).digest()
            for start, stop in pairwise((self.edges * self.values.dtype.itemsize).tolist())
        ]
        return np.frombuffer(b"".join(found), "<u8").reshape(len(self), 2)


def join(parts: list[Ragged], dtype: np.dtype[np.void]) -> Ragged:
    """Put rows below each other."""
    counts = np.concatenate([np.empty(0, np.int64), *(part.counts for part in parts)])
    return Ragged(counts, np.concatenate([np.empty(0, dtype), *(part.values for part in parts)]))
