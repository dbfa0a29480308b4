"""The audit of the splits: nothing shared, nothing close."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skymill.sky import unit_vectors
from skymill.training.leaks import LeakageError


def check_splits(
    object_id: NDArray[np.int64],
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    split: NDArray[np.integer],
    *,
    guard_arcsec: float,
) -> dict[str, int]:
    """Make sure that no source is in two splits, and none within the guard of a source of another split.

    Raises
    ------
    LeakageError
        With the counts.
    """
    ids, counts = np.unique(object_id, return_counts=True)
    shared = int((counts > 1).sum())
    close = close_pairs(ra, dec, split, guard_arcsec)
    if shared or close:
        raise LeakageError(
            f"expected splits that share nothing, found {shared} ids twice (the first: {ids[counts > 1][:3]}) "
            f"and {close} sources within {guard_arcsec} arcsec of another split; a fault of skymill: please report it"
        )
    return {"shared_ids": shared, "close_pairs": close}


def close_pairs(
    ra: NDArray[np.float64], dec: NDArray[np.float64], split: NDArray[np.integer], radius_arcsec: float
) -> int:
    """Count the sources that have a source of another split within a radius."""
    from scipy.spatial import cKDTree

    if radius_arcsec == 0:
        return 0
    vectors = unit_vectors(ra, dec)
    reach = 2.0 * np.sin(np.radians(radius_arcsec / 3600.0) / 2.0)
    count = 0
    for each in np.unique(split):
        others = vectors[split != each]
        if len(others):
            distance, _ = cKDTree(others).query(vectors[split == each], distance_upper_bound=reach)
            count += int(np.isfinite(distance).sum())
    return count
