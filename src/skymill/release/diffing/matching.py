"""Which row of one version is the same source as which row of the other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymill.sky import unit_vectors

Places = NDArray[np.int64]


class Matched(NamedTuple):
    """Rows of two versions, as places.

    Attributes
    ----------
    before, after : ndarray of int64, (n,)
        Row `before[i]` of the one is row `after[i]` of the other.
    removed, added : ndarray of int64
        Rows of the one, and of the other, that have no mate; in their order.
    """

    before: Places
    after: Places
    removed: Places
    added: Places


def match_ids(before: NDArray[np.int64], after: NDArray[np.int64]) -> Matched:
    """Match rows of the same id.

    Parameters
    ----------
    before, after : ndarray of int64, (n,) and (m,)

    Raises
    ------
    ValueError
        If an id stands twice on one side.
    """
    for ids in (before, after):
        values, counts = np.unique(ids, return_counts=True)
        if len(values) < len(ids):
            raise ValueError(f"objectId {values[counts > 1][0]} stands {counts.max()} times in one version")
    _, here, there = np.intersect1d(before, after, assume_unique=True, return_indices=True)
    return _with_the_rest(here, there, len(before), len(after))


def match_positions(
    before: tuple[NDArray[np.float64], NDArray[np.float64]],
    after: tuple[NDArray[np.float64], NDArray[np.float64]],
    radius_arcsec: float,
) -> Matched:
    """Match rows that are each other's nearest within a radius, its edge included.

    Parameters
    ----------
    before, after : (ra, dec)
        Degrees, each (n,) and (m,).
    radius_arcsec : float
        More than 0.
    """
    from scipy.spatial import KDTree

    n, m = len(before[0]), len(after[0])
    if not n or not m:
        return _with_the_rest(np.empty(0, np.int64), np.empty(0, np.int64), n, m)
    here, there = unit_vectors(*before), unit_vectors(*after)
    chord = 2 * np.sin(np.radians(radius_arcsec / 3600) / 2) * (1 + 1e-9)  # rounding leaves the edge inside
    distance, mate = KDTree(there).query(here, distance_upper_bound=chord)
    _, back = KDTree(here).query(there, distance_upper_bound=chord)
    rows = np.flatnonzero(np.isfinite(distance))
    rows = rows[back[mate[rows]] == rows]
    return _with_the_rest(rows, mate[rows], n, m)


def _with_the_rest(here: Places, there: Places, n: int, m: int) -> Matched:
    removed, added = np.ones(n, bool), np.ones(m, bool)
    removed[here], added[there] = False, False
    return Matched(here, there, np.flatnonzero(removed), np.flatnonzero(added))
