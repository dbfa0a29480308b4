"""Which detection is which true source."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]
NONE = -1


def match(true: Array, brightness: Array, found: Array, radius: float) -> NDArray[np.int64]:
    """Give each true source its detection: the nearest within a radius that no brighter source has taken.

    Parameters
    ----------
    true : ndarray of float64, (n, 2)
        Positions, pixels.
    brightness : ndarray of float64, (n,)
        By which the true sources choose, the brightest first.
    found : ndarray of float64, (m, 2)
        Positions of detections; those that are not finite match nothing.
    radius : float
        Pixels.

    Returns
    -------
    ndarray of int64, (n,)
        Row of the detection, `NONE` where there is none.
    """
    partner = np.full(len(true), NONE, np.int64)
    usable = np.flatnonzero(np.isfinite(found).all(axis=1))
    if not len(true) or not len(usable):
        return partner
    near = cKDTree(found[usable]).query_ball_point(true, radius)
    taken = np.zeros(len(found), bool)
    for row in np.argsort(-brightness, kind="stable"):
        free = usable[near[row]]
        free = free[~taken[free]]
        if len(free):
            chosen = free[np.argmin(np.hypot(*(found[free] - true[row]).T))]
            partner[row] = chosen
            taken[chosen] = True
    return partner
