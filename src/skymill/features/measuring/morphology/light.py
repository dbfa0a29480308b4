"""How the light of a source is spread over its pixels: Gini coefficient, M20 and smoothness (Lotz et al. 2004)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from skymill.features.measuring.morphology.apertures import Ellipse, along_rows, aperture_sums, circle, scaled
from skymill.features.measuring.morphology.radii import ANNULUS_WIDTH

SMOOTHING = 0.2
"""Width of the Gaussian that smooths the image for the Gini segment, in Petrosian radii."""
BOXCAR = 0.25
"""Side of the square that smooths it for the smoothness, and radius of the centre left out, in Petrosian radii."""
CAS_EXTENT = 1.5
"""Radius within which concentration, asymmetry and smoothness are measured, in Petrosian radii."""
BRIGHTEST = 0.2
"""Share of the flux in the pixels whose second moment is M20."""
NEIGHBOURS = np.ones((3, 3), dtype=bool)


def petrosian_segment(image: NDArray[np.float64], petrosian: Ellipse) -> tuple[NDArray[np.bool_], int]:
    """Give the pixels that are brighter, in the smoothed image, than its mean at the Petrosian radius.

    Parameters
    ----------
    image : ndarray of float64, (ny, nx)
    petrosian : Ellipse
        Of the elliptical Petrosian radius.

    Returns
    -------
    segment : ndarray of bool, (ny, nx)
        The one region, of those that touch in sides or corners, that holds the brightest pixel.
    flag : int
        0, 1 if there are several regions, 2 if there is none, or no end to it.
    """
    radius = min(petrosian[2], math.hypot(*image.shape))  # one that was not found may be of any size
    smooth = ndimage.gaussian_filter(image, SMOOTHING * radius, mode="constant")
    sums = along_rows(smooth, np.ones_like(smooth))
    inner, outer = (scaled(petrosian, petrosian[2] + 0.5 * sign * ANNULUS_WIDTH) for sign in (-1, 1))
    area = math.pi * (outer[2] * outer[3] - inner[2] * inner[3])
    above = smooth >= (aperture_sums(sums, outer)[0] - aperture_sums(sums, inner)[0]) / area
    regions, n = ndimage.label(above, NEIGHBOURS)
    if n == 0 or above.all():
        return above, 2
    if n == 1:
        return above, 0
    return regions == regions.flat[int(np.argmax(smooth))], 1


def gini(values: NDArray[np.float64]) -> float:
    """Give the Gini coefficient of absolute pixel values (Lotz et al. 2004, eq. 6).

    Parameters
    ----------
    values : ndarray of float64, (n,)

    Returns
    -------
    float
        0 if all are equal, 1 if all light is in one pixel; NaN where there are fewer than two, or there is no light.
    """
    ordered = np.sort(np.abs(values))
    n, total = len(ordered), ordered.sum()
    if n < 2 or total == 0:
        return math.nan
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / ((n - 1) * total))


def m20(image: NDArray[np.float64], segment: NDArray[np.bool_]) -> float:
    """Give the second moment of the brightest pixels of a segment that hold a fifth of its flux, over that of all.

    Both moments are about the centroid of the segment (Lotz et al. 2004, eq. 8).

    Returns
    -------
    float
        The logarithm (base 10) of the ratio; NaN where flux or moments are not positive.
    """
    y, x = np.nonzero(segment)
    values = image[segment]
    total = values.sum()
    if not total > 0:
        return math.nan
    squares = values * ((x - values @ x / total) ** 2 + (y - values @ y / total) ** 2)
    ordered = np.sort(values)
    bright = np.flatnonzero(np.cumsum(ordered) >= (1 - BRIGHTEST) * total)
    if not len(bright):
        return math.nan
    moment_20, moment = squares[values >= ordered[bright[0]]].sum(), squares.sum()
    return math.log10(moment_20 / moment) if moment_20 > 0 and moment > 0 else math.nan


def smoothness(image: NDArray[np.float64], box: NDArray[np.float64], x: float, y: float, petrosian: float) -> float:
    """Give the flux of what is brighter than its smoothed surroundings, over all flux (Lotz et al. 2004, eq. 11).

    Parameters
    ----------
    image : ndarray of float64, (ny, nx)
    box : ndarray of float64, (m, m)
        Empty sky, whose own smoothness is taken off; m may be 0.
    x, y, petrosian : float
        Centre and circular Petrosian radius, pixels.

    Returns
    -------
    float
        NaN where the flux is not positive.
    """
    side = int(BOXCAR * petrosian)
    inner, outer = circle(x, y, BOXCAR * petrosian), circle(x, y, CAS_EXTENT * petrosian)
    clumps = above_surroundings(image, side)
    flux, clumpy = (
        aperture_sums(sums, outer)[0] - aperture_sums(sums, inner)[0] for sums in map(_sums, (image, clumps))
    )
    sky = above_surroundings(box, side).mean() if box.size else 0.0
    area = math.pi * (outer[2] ** 2 - inner[2] ** 2)
    return float((clumpy - area * sky) / flux) if flux > 0 else math.nan


def above_surroundings(image: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Give an image less its mean over squares, 0 where that is negative."""
    smooth = ndimage.uniform_filter(image, side) if side > 1 else image
    difference: NDArray[np.float64] = np.maximum(image - smooth, 0.0)
    return difference


def _sums(image: NDArray[np.float64]) -> NDArray[np.float64]:
    return along_rows(image, np.ones_like(image))
