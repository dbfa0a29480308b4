"""A bounded sample of rows that come piece by piece: the same whatever the order of the pieces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class Sample:
    """Keeps the rows whose ids have the smallest hashes, at most `most` of them.

    Parameters
    ----------
    most : int

    Attributes
    ----------
    n_seen : int
        Rows that were offered.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.n_seen = 0
        self._rank = np.empty(0, np.uint64)
        self._columns: dict[str, NDArray[Any]] = {}

    def add(self, ids: NDArray[np.int64], columns: Mapping[str, NDArray[Any]]) -> None:
        """Offer rows: arrays of equal length, of the same names each time."""
        self.n_seen += len(ids)
        rank = np.concatenate([self._rank, hashed(ids)])
        merged = {
            name: np.concatenate([self._columns[name], values]) if self._columns else np.array(values)
            for name, values in columns.items()
        }
        kept = np.sort(np.argsort(rank, kind="stable")[: self.most])
        self._rank = rank[kept]
        self._columns = {name: values[kept] for name, values in merged.items()}

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Give a column of the rows kept."""
        return self._columns[name] if self._columns else np.empty(0)

    def __len__(self) -> int:
        """Count the rows kept."""
        return len(self._rank)


def hashed(ids: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Scramble ids (the finaliser of SplitMix64: Steele, Lea & Flood 2014, OOPSLA, doi:10.1145/2660193.2660195)."""
    mixed = ids.astype(np.uint64) + GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * SECOND
    scrambled: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return scrambled
