"""All of one source's morphology, in the order in which one quantity needs another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymill.features.measuring.morphology.apertures import Ellipse, along_rows, circle, scaled
from skymill.features.measuring.morphology.asymmetry import OUTSIDE, Turning, asymmetry_about, most_symmetric
from skymill.features.measuring.morphology.extent import bright_region, farthest
from skymill.features.measuring.morphology.light import (
    BOXCAR,
    CAS_EXTENT,
    gini,
    m20,
    petrosian_segment,
    smoothness,
)
from skymill.features.measuring.morphology.radii import petrosian_radius, radius_of_share
from skymill.features.measuring.morphology.stamps import (
    Stamp,
    brightest,
    elongation,
    find_skybox,
    make_stamp,
    measure_sky,
    moments_about,
)

GOOD, SUSPECT, BAD, NOTHING = 0, 1, 2, 4


@dataclass
class Morphology:
    """Of one source; NaN where a quantity cannot be measured. Radii in pixels."""

    concentration: float = math.nan
    asymmetry: float = math.nan
    smoothness: float = math.nan
    gini: float = math.nan
    m20: float = math.nan
    petrosian_radius: float = math.nan
    petrosian_radius_ellip: float = math.nan
    half_light_radius: float = math.nan
    half_light_radius_ellip: float = math.nan
    signal_to_noise: float = math.nan
    flag: int = NOTHING

    def doubt(self, flag: int) -> None:
        """Raise the flag, never lower it."""
        self.flag = max(self.flag, flag)


def measure(
    image: NDArray[np.float64],
    labels: NDArray[np.int32],
    masked: NDArray[np.bool_],
    weights: NDArray[np.float64] | None,
    label: int,
) -> Morphology:
    """Measure a source on its stamp; all arrays (ny, nx), C-ordered and writable. The rest as in `morphology`."""
    stamp = make_stamp(image, labels, masked, label)
    own = moments_about(stamp.image, stamp.own, 0.0, 0.0)
    found = Morphology()
    if not own.flux > 0:
        return found
    found.flag = GOOD
    row, column, side = find_skybox(labels, masked)
    box = slice(row, row + side), slice(column, column + side)
    sky = measure_sky(np.ascontiguousarray(stamp.image[box]))
    if not abs(sky.mean) <= sky.sigma:
        found.doubt(BAD)
    centroid = _centroid(found, stamp, own.x, own.y)
    turning = Turning(
        stamp.image,
        stamp.good,
        np.ascontiguousarray(stamp.image[::-1, ::-1]),
        np.ascontiguousarray(stamp.good[::-1, ::-1]),
        0.0 if math.isnan(sky.asymmetry) else sky.asymmetry,
    )
    sums = along_rows(stamp.image, stamp.good)
    first_radius = _petrosian(found, sums, circle(*centroid, 1.0))
    centre = _centre(found, turning, stamp, centroid, first_radius)
    found.asymmetry = asymmetry_about(turning, *centre, CAS_EXTENT * first_radius)
    found.petrosian_radius = _petrosian(found, sums, circle(*centre, 1.0))
    petrosian = _petrosian_ellipse(found, sums, stamp, centre)
    found.petrosian_radius_ellip = petrosian[2]
    _concentration(found, sums, centre)
    found.smoothness = smoothness(stamp.image, stamp.image[box], *centre, found.petrosian_radius)
    _gini_and_m20(found, stamp, (*centroid, *petrosian[2:]), weights)
    _half_light(found, sums, stamp, box, petrosian)
    _settle(found)
    return found


def _centroid(found: Morphology, stamp: Stamp, x: float, y: float) -> tuple[float, float]:
    if not _on_stamp(stamp, x, y):
        found.doubt(BAD)
        return stamp.image.shape[1] / 2, stamp.image.shape[0] / 2
    if stamp.image[int(y), int(x)] == 0:
        found.doubt(BAD)
    return x, y


def _on_stamp(stamp: Stamp, x: float, y: float) -> bool:
    return 0 <= x < stamp.image.shape[1] and 0 <= y < stamp.image.shape[0]


def _petrosian(found: Morphology, sums: NDArray[np.float64], ellipse: Ellipse) -> float:
    """Give the Petrosian radius, looked for as far as the stamp reaches."""
    largest = math.hypot(sums.shape[1], sums.shape[2] - 1) * ellipse[2] / ellipse[3]
    radius, is_there = petrosian_radius(sums, ellipse, largest)
    if not is_there:
        found.doubt(BAD)
    return radius


def _centre(
    found: Morphology, turning: Turning, stamp: Stamp, centroid: tuple[float, float], petrosian: float
) -> tuple[float, float]:
    """Give the centre of least asymmetry near the centroid, else near the brightest pixel, else the centroid."""
    for start, doubt in ((centroid, SUSPECT), (brightest(stamp.image, stamp.own), BAD)):
        x, y, left_stamp = most_symmetric(turning, *start, CAS_EXTENT * petrosian)
        if left_stamp:
            found.doubt(SUSPECT)
        if math.hypot(x - start[0], y - start[1]) <= BOXCAR * petrosian and _on_stamp(stamp, x, y):
            break
        found.doubt(doubt)
        x, y = centroid
    if stamp.image[int(y), int(x)] == 0:
        found.doubt(BAD)
    return x, y


def _petrosian_ellipse(
    found: Morphology, sums: NDArray[np.float64], stamp: Stamp, centre: tuple[float, float]
) -> Ellipse:
    """Give the ellipse of the second moments about the centre, at its Petrosian radius."""
    moments = moments_about(stamp.image, stamp.own, *centre)
    if not (moments.xx > 0 and moments.yy > 0):
        found.doubt(BAD)
    ratio, direction = elongation(moments)
    shape = (*centre, 1.0, 1.0 / ratio, math.cos(direction), math.sin(direction))
    return scaled(shape, _petrosian(found, sums, shape))


def _concentration(found: Morphology, sums: NDArray[np.float64], centre: tuple[float, float]) -> None:
    """Set the concentration, 5 log10(r80 / r20) (Conselice 2003)."""
    radii = []
    for share in (0.2, 0.8):
        radius, positive = radius_of_share(sums, circle(*centre, 1.0), CAS_EXTENT * found.petrosian_radius, share)
        radii.append(radius)
        if not positive:
            found.doubt(BAD)
    if radii[0] > 0:
        found.concentration = 5 * math.log10(radii[1] / radii[0])


def _gini_and_m20(found: Morphology, stamp: Stamp, petrosian: Ellipse, weights: NDArray[np.float64] | None) -> None:
    segment, doubt = petrosian_segment(stamp.image, petrosian)
    found.doubt(doubt)
    found.gini = gini(stamp.image[segment])
    found.m20 = m20(stamp.image, segment)
    if weights is not None:
        use = segment & (stamp.image >= 0) & (stamp.good > 0) & (weights > 0)
        found.signal_to_noise = float((stamp.image[use] * np.sqrt(weights[use])).mean()) if use.any() else math.nan


def _half_light(
    found: Morphology, sums: NDArray[np.float64], stamp: Stamp, box: tuple[slice, slice], petrosian: Ellipse
) -> None:
    """Set the radii that hold half of the light that stands out of the sky."""
    region, doubt = bright_region(stamp, box, petrosian)
    found.doubt(doubt)
    radii = []
    for ellipse, largest in zip((circle(*petrosian[:2], 1.0), petrosian), farthest(region, petrosian)):
        radius, positive = radius_of_share(sums, ellipse, largest, 0.5) if largest > 0 else (0.0, False)
        radii.append(radius)
        if not positive:
            found.doubt(BAD)
    found.half_light_radius, found.half_light_radius_ellip = radii


def _settle(found: Morphology) -> None:
    """Flag what could not be measured."""
    if found.asymmetry == OUTSIDE:
        found.asymmetry = math.nan
    if any(map(math.isnan, (found.concentration, found.asymmetry, found.smoothness, found.gini, found.m20))):
        found.doubt(BAD)
