"""How far a source reaches, to where its light is lost in the sky (Pawlik et al. 2016)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from skymill.features.measuring.morphology.apertures import Ellipse
from skymill.features.measuring.morphology.compiled import compiled
from skymill.features.measuring.morphology.light import NEIGHBOURS
from skymill.features.measuring.morphology.stamps import SKYBOX, Stamp

SKY_ANNULUS = (2.0, 4.0)
"""Radii between which the sky is looked at, in elliptical Petrosian radii."""
BOXCAR = 3
"""Side of the square that smooths the image, pixels."""
CLIP_SIGMA = 3.0
INNER_CLIPS = 10
"""Most rounds of clipping about the median for one estimate of the mode."""


def bright_region(stamp: Stamp, box: tuple[slice, slice], petrosian: Ellipse) -> tuple[NDArray[np.bool_], int]:
    """Give the region about the brightest pixel that stands out of the sky by a standard deviation.

    Parameters
    ----------
    stamp : Stamp
    box : tuple of slice
        Of empty sky: taken where too little sky is in `SKY_ANNULUS`.
    petrosian : Ellipse
        Of the elliptical Petrosian radius.

    Returns
    -------
    region : ndarray of bool, (ny, nx)
    flag : int
        2 where there is no sky, or the brightest pixel does not stand out of it; else 0.
    """
    sky = stamp.image[in_annulus(stamp, petrosian)]
    if len(sky) < SKYBOX**2:
        sky = stamp.image[box].ravel()
    if not len(sky):
        return stamp.own > 0, 2
    smooth = ndimage.uniform_filter(stamp.image, BOXCAR)
    peak = int(np.argmax(smooth))
    above = smooth >= sky_threshold(np.sort(sky))
    flag = 0 if above.flat[peak] else 2
    above.flat[peak] = True
    regions, _ = ndimage.label(above, NEIGHBOURS)
    return regions == regions.flat[peak], flag


def in_annulus(stamp: Stamp, petrosian: Ellipse) -> NDArray[np.bool_]:
    """Tell which good pixels lie in the annulus of sky."""
    ny, nx = stamp.image.shape
    squares = (np.arange(ny)[:, None] - petrosian[1]) ** 2 + (np.arange(nx) - petrosian[0]) ** 2
    inner, outer = (factor * petrosian[2] for factor in SKY_ANNULUS)
    within: NDArray[np.bool_] = (squares >= inner**2) & (squares < outer**2) & (stamp.good > 0)
    return within


def farthest(region: NDArray[np.bool_], ellipse: Ellipse) -> tuple[float, float]:
    """Give the radius of the circle about the centre, and the semi-major axis of the ellipse, that hold a region."""
    x, y, a, b, cos, sin = ellipse
    rows, columns = np.nonzero(region)
    right, up = columns - x, rows - y
    along, across = right * cos + up * sin, (up * cos - right * sin) * a / b
    return float(np.sqrt((right**2 + up**2).max())), float(np.sqrt((along**2 + across**2).max()))


@compiled
def sky_threshold(ordered: NDArray[np.float64]) -> float:
    """Give mode + standard deviation of the sky, clipped until nothing changes (Bertin & Arnouts 1996).

    Values come in ascending order, so that what is left after each clip is a range of them. NaN if nothing is left.
    """
    start, stop = 0, len(ordered)
    while start < stop:
        left = clip(ordered, start, stop, mode(ordered, start, stop))
        if left == (start, stop):
            median, mean, sigma = statistics(ordered, start, stop)
            return 2.5 * median - 1.5 * mean + sigma
        start, stop = left
    return math.nan


@compiled
def mode(ordered: NDArray[np.float64], start: int, stop: int) -> float:
    """Give the mode, 2.5 median - 1.5 mean, of a range after it was clipped about its median."""
    for _ in range(INNER_CLIPS):
        left = clip(ordered, start, stop, statistics(ordered, start, stop)[0])
        if left == (start, stop):
            break
        start, stop = left
    median, mean, _ = statistics(ordered, start, stop)
    return 2.5 * median - 1.5 * mean


@compiled
def clip(ordered: NDArray[np.float64], start: int, stop: int, middle: float) -> tuple[int, int]:
    """Give the part of a range that lies within `CLIP_SIGMA` standard deviations of a value."""
    reach = CLIP_SIGMA * statistics(ordered, start, stop)[2]
    while start < stop and ordered[start] < middle - reach:
        start += 1
    while start < stop and ordered[stop - 1] > middle + reach:
        stop -= 1
    return start, stop


@compiled
def statistics(ordered: NDArray[np.float64], start: int, stop: int) -> tuple[float, float, float]:
    """Give median, mean and standard deviation of a range."""
    n = stop - start
    mean, variance = 0.0, 0.0
    for k in range(start, stop):
        mean += ordered[k] / n
    for k in range(start, stop):
        variance += (ordered[k] - mean) ** 2 / n
    return 0.5 * (ordered[start + (n - 1) // 2] + ordered[start + n // 2]), mean, math.sqrt(variance)
