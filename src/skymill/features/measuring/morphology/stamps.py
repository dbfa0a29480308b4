"""A source's surroundings: which pixels belong to it, which are to be left out, a box of empty sky, its moments."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymill.features.measuring.morphology.compiled import compiled

EXTENT = 2.5
"""Side of a stamp over the longer side of the segment's bounding box."""
SMALLEST = 48
"""Side of a stamp, pixels."""
OUTLIER_SIGMA = 10.0
"""A pixel so many standard deviations of its 8 neighbours off their mean is left out (Lotz et al. 2004)."""
SKYBOX = 32
"""Side of the box of empty sky, pixels; halved until one is found."""
THINNEST = 1 / 144
"""Square of the variance of a pixel, 1/12: the least determinant of second moments (as SExtractor's)."""


class Stamp(NamedTuple):
    """Pixels around a source.

    Attributes
    ----------
    image : ndarray of float64, (ny, nx)
        0 where pixels are not good.
    good : ndarray of float64, (ny, nx)
        1 where a pixel belongs to this source or to none, has a value and is neither masked nor an outlier; else 0.
    own : ndarray of float64, (ny, nx)
        1 where good pixels belong to the source.
    """

    image: NDArray[np.float64]
    good: NDArray[np.float64]
    own: NDArray[np.float64]


class Moments(NamedTuple):
    """Of an image about a centre; the second ones are divided by the flux."""

    flux: float
    x: float
    y: float
    xx: float
    yy: float
    xy: float


class Sky(NamedTuple):
    """A box of empty sky within a stamp; NaN throughout where there is none.

    `asymmetry` is the mean absolute difference of its pixels and the turned ones.
    """

    mean: float
    sigma: float
    asymmetry: float


def stamp_slices(bounds: tuple[slice, slice], shape: tuple[int, int]) -> tuple[slice, slice]:
    """Give the stamp of a segment from its bounding box: a square about it, as far as it lies on the image."""
    sides = [bound.stop - bound.start for bound in bounds]
    half = max(int(max(sides) * EXTENT / 2), SMALLEST // 2)
    middles = [bound.start + side // 2 for bound, side in zip(bounds, sides)]
    rows, columns = (slice(max(0, at - half), min(n, at + half)) for at, n in zip(middles, shape))
    return rows, columns


@compiled
def make_stamp(image: NDArray[np.float64], labels: NDArray[np.int32], masked: NDArray[np.bool_], label: int) -> Stamp:
    """Give the pixels around a source from slices of the tile; all arrays have the stamp's shape."""
    ny, nx = image.shape
    values, good, own = np.zeros((ny, nx)), np.zeros((ny, nx)), np.zeros((ny, nx))
    for i in range(ny):
        for j in range(nx):
            value, belongs = image[i, j], labels[i, j]
            if (belongs not in (0, label)) or masked[i, j] or not math.isfinite(value) or is_outlier(image, i, j):
                continue
            values[i, j], good[i, j] = value, 1.0
            if belongs == label:
                own[i, j] = 1.0
    return Stamp(values, good, own)


@compiled
def is_outlier(image: NDArray[np.float64], i: int, j: int) -> bool:
    """Tell whether a pixel is far off its 8 neighbours; beyond the border the last pixels are repeated."""
    ny, nx = image.shape
    total, squares = 0.0, 0.0
    for k in range(i - 1, i + 2):
        for m in range(j - 1, j + 2):
            if k == i and m == j:
                continue
            value = image[min(max(k, 0), ny - 1), min(max(m, 0), nx - 1)]
            if math.isfinite(value):
                total += value
                squares += value * value
    mean = total / 8
    variance = squares / 8 - mean * mean
    return abs(image[i, j] - mean) > OUTLIER_SIGMA * math.sqrt(max(variance, 0.0))


@compiled
def moments_about(image: NDArray[np.float64], weights: NDArray[np.float64], x: float, y: float) -> Moments:
    """Give flux, centroid and second moments about (x, y) of the weighted image."""
    flux, first_x, first_y, xx, yy, xy = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            value = weights[i, j] * image[i, j]
            flux += value
            first_x += value * j
            first_y += value * i
            xx += value * (j - x) ** 2
            yy += value * (i - y) ** 2
            xy += value * (j - x) * (i - y)
    if flux == 0:
        return Moments(0.0, math.nan, math.nan, math.nan, math.nan, math.nan)
    return Moments(flux, first_x / flux, first_y / flux, xx / flux, yy / flux, xy / flux)


@compiled
def brightest(image: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float]:
    """Give column and row of the brightest pixel of the weighted image, the first where several are."""
    best, x, y = -math.inf, 0.0, 0.0
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            if weights[i, j] * image[i, j] > best:
                best, x, y = weights[i, j] * image[i, j], float(j), float(i)
    return x, y


@compiled
def elongation(moments: Moments) -> tuple[float, float]:
    """Give the ratio of the axes of the ellipse of these second moments, and its direction (radians from x to y)."""
    xx, yy, xy = moments.xx, moments.yy, moments.xy
    while abs(xx * yy - xy * xy) < THINNEST:
        xx += math.copysign(math.sqrt(THINNEST), xx)
        yy += math.copysign(math.sqrt(THINNEST), yy)
    middle, half = 0.5 * (xx + yy), math.hypot(0.5 * (xx - yy), xy)
    one, other = abs(middle + half), abs(middle - half)
    return math.sqrt(max(one, other) / min(one, other)), 0.5 * math.atan2(2 * xy, xx - yy)


@compiled
def find_skybox(labels: NDArray[np.int32], masked: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Give the first box (row, column, side) that holds no source and no masked pixel; of side 0 if there is none."""
    ny, nx = labels.shape
    taken = np.zeros((ny + 1, nx + 1), np.int64)  # so many pixels below and to the left
    for i in range(ny):
        for j in range(nx):
            here = labels[i, j] != 0 or masked[i, j]
            taken[i + 1, j + 1] = taken[i, j + 1] + taken[i + 1, j] - taken[i, j] + here
    side = SKYBOX
    while side >= 2:
        for i in range(ny - side):
            for j in range(nx - side):
                if taken[i + side, j + side] - taken[i, j + side] - taken[i + side, j] + taken[i, j] == 0:
                    return i, j, side
        side //= 2
    return 0, 0, 0


@compiled
def measure_sky(box: NDArray[np.float64]) -> Sky:
    """Give what is needed of a box of empty sky."""
    n, side = box.size, box.shape[0]
    if n == 0:
        return Sky(math.nan, math.nan, math.nan)
    mean, square, difference = 0.0, 0.0, 0.0
    for i in range(side):
        for j in range(side):
            mean += box[i, j] / n
            difference += abs(box[i, j] - box[side - 1 - i, side - 1 - j]) / n
    for i in range(side):
        for j in range(side):
            square += (box[i, j] - mean) ** 2 / n
    return Sky(mean, math.sqrt(square), difference)
