"""Train, validation and test as blocks of sky, with a guard band between them.

A pure function of position, settings and seed: the same on every machine and for every choice of sources.
"""

from __future__ import annotations

import numpy as np
from cdshealpix.nested import neighbours, vertices
from numpy.typing import NDArray

from skymill.sky import at_order, order29, unit_vectors

SPLITS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST, GUARD = 0, 1, 2, -1
FINEST_GUARD_ORDER = 22
NARROWEST = 0.6
"""From a pixel across any neighbour is farther than this times the square root of a pixel's area (measured: 0.68)."""
POINTS_PER_EDGE = 16
GUARD_MARGIN = 1.02
"""Covers what is lost by taking a pixel's edge as points (below 1 %) and in rounding."""


def split_of_blocks(pixels: NDArray[np.int64], *, seed: int, validation: float, test: float) -> NDArray[np.int8]:
    """Assign blocks to splits.

    Parameters
    ----------
    pixels : ndarray of int64, (n,)
        HEALPix pixels of one order.
    seed : int
    validation, test : float
        Shares of the sky.

    Returns
    -------
    ndarray of int8, (n,)
        Indices of `SPLITS`.
    """
    share = splitmix64(pixels.astype(np.uint64) ^ splitmix64(np.array([seed], dtype=np.uint64))) / 2.0**64
    splits = np.full(len(pixels), TRAIN, dtype=np.int8)
    splits[share < validation + test] = VALIDATION
    splits[share < test] = TEST
    return splits


def splitmix64(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit integers (the output function of SplitMix64: Steele, Lea & Flood 2014, OOPSLA)."""
    z = state + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def split_of_positions(
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    *,
    order: int,
    seed: int,
    validation: float,
    test: float,
    guard_arcsec: float,
) -> NDArray[np.int8]:
    """Assign sources to splits by the block of sky they lie in.

    Parameters
    ----------
    ra, dec : ndarray of float64, (n,)
        Degrees.
    order : int
        HEALPix order of a block.
    guard_arcsec : float
        A source closer than this to a block of another split is in no split.

    Returns
    -------
    ndarray of int8, (n,)
        Indices of `SPLITS`, or `GUARD`.

    Raises
    ------
    ValueError
        If the guard is wider than a block.
    """

    def assign(pixels: NDArray[np.int64]) -> NDArray[np.int8]:
        return split_of_blocks(pixels, seed=seed, validation=validation, test=test)

    index = order29(ra, dec)
    splits = assign(at_order(index, order))
    if guard_arcsec == 0:
        return splits
    guard = np.radians(guard_arcsec / 3600.0) * GUARD_MARGIN
    fine = _guard_order(guard, order)
    pixels, inverse = np.unique(at_order(index, fine), return_inverse=True)
    around = np.asarray(neighbours(pixels, fine)).astype(np.int64)  # (p, 9): itself and its neighbours, -1 for none
    ours = assign(pixels >> 2 * (fine - order))
    theirs = np.where(around >= 0, assign(around.ravel() >> 2 * (fine - order)).reshape(around.shape), ours[:, None])
    suspect = np.flatnonzero((theirs != ours[:, None]).any(axis=1)[inverse])
    foreign = [np.unique(around[(theirs == split) & (ours[:, None] != split)]) for split in range(len(SPLITS))]
    result = splits.copy()
    for split, border in enumerate(foreign):
        sources = suspect[splits[suspect] != split]
        result[sources[_within(ra[sources], dec[sources], border, fine, guard)]] = GUARD
    return result


def _guard_order(guard: float, order: int) -> int:
    """The finest order whose pixels a cone of radius `guard` (radians) cannot reach across."""
    side = np.sqrt(np.pi / 3)  # of a pixel of order 0, radians
    fine = min(int(np.floor(np.log2(NARROWEST * side / guard))), FINEST_GUARD_ORDER)
    if fine < order:
        widest = np.degrees(NARROWEST * side / 2**order / GUARD_MARGIN) * 3600
        raise ValueError(
            f"split.guard_arcsec: expected less than a block of order {order} (about {widest:.0f} arcsec), "
            f"found {np.degrees(guard / GUARD_MARGIN) * 3600:.0f}; take a lower split.order or a narrower guard"
        )
    return fine


def _within(
    ra: NDArray[np.float64], dec: NDArray[np.float64], pixels: NDArray[np.int64], order: int, radius: float
) -> NDArray[np.bool_]:
    """Tell which positions lie within `radius` (radians) of the edge of any of the pixels."""
    from scipy.spatial import cKDTree

    if len(ra) == 0 or len(pixels) == 0:
        return np.zeros(len(ra), dtype=bool)
    edge_ra, edge_dec = vertices(pixels, order, step=POINTS_PER_EDGE)
    tree = cKDTree(unit_vectors(edge_ra.deg.ravel(), edge_dec.deg.ravel()))
    distance, _ = tree.query(unit_vectors(ra, dec), distance_upper_bound=2.0 * np.sin(radius / 2.0))
    return np.isfinite(distance)
