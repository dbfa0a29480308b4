"""Petrosian radii, and radii that hold a share of the light: along the semi-major axis, for circles and ellipses alike.

Both are where a function of the radius crosses zero. A profile need not be monotonic, so that the first crossing is
looked for outwards on a grid, and then refined.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.features.measuring.morphology.apertures import Ellipse, aperture_sums, scaled
from skymill.features.measuring.morphology.compiled import compiled

ETA = 0.2
"""Of the Petrosian radius: surface brightness there over the mean within it."""
ANNULUS_WIDTH = 1.0
"""Pixels over which the surface brightness at a radius is taken."""
GRID = 100
"""Radii of the search."""
TOLERANCE = 1e-6
"""Of a radius, pixels."""
NOTHING = 1e-9
"""An area below it (square pixels) is rounding: there is nothing to take a mean of."""


@compiled
def petrosian_radius(sums: NDArray[np.float64], ellipse: Ellipse, largest: float) -> tuple[float, bool]:
    """Give the Petrosian radius (Lotz et al. 2004, eq. 4), and whether there is one.

    It is `ANNULUS_WIDTH` if the profile is below ETA from the start, and `largest` if it never is.
    """
    before, excess_before = 0.0, 0.0
    for k in range(GRID):
        radius = ANNULUS_WIDTH + k * (largest - ANNULUS_WIDTH) / (GRID - 1)
        excess = petrosian_excess(radius, sums, ellipse)
        if excess == 0:
            return radius, True
        if excess < 0:
            if k == 0:
                return ANNULUS_WIDTH, False
            return crossing(petrosian_excess, before, radius, excess_before, excess, (sums, ellipse)), True
        before, excess_before = radius, excess
    return largest, False


@compiled
def petrosian_excess(radius: float, sums: NDArray[np.float64], ellipse: Ellipse) -> float:
    """Give the surface brightness at a radius over the mean within it, less ETA."""
    inner_flux, inner_area = aperture_sums(sums, scaled(ellipse, radius - 0.5 * ANNULUS_WIDTH))
    outer_flux, outer_area = aperture_sums(sums, scaled(ellipse, radius + 0.5 * ANNULUS_WIDTH))
    flux, area = aperture_sums(sums, scaled(ellipse, radius))
    at, within = mean(outer_flux - inner_flux, outer_area - inner_area), mean(flux, area)
    if within == 0:
        return (0.0 if at == 0 else 1.0) - ETA
    return at / within - ETA


@compiled
def mean(flux: float, area: float) -> float:
    """Give the absolute mean of pixels, 0 where there are none."""
    return abs(flux) / area if area > NOTHING else 0.0


@compiled
def radius_of_share(sums: NDArray[np.float64], ellipse: Ellipse, largest: float, share: float) -> tuple[float, bool]:
    """Give the radius that holds a share of the light within `largest`, and whether that light is positive."""
    light = aperture_sums(sums, scaled(ellipse, largest))[0]
    if light == 0:
        return largest, False
    total = abs(light)
    before, excess_before = 0.0, -share
    for k in range(1, GRID):
        radius = k * largest / (GRID - 1)
        excess = share_excess(radius, sums, ellipse, share, total)
        if excess > 0:
            arguments = (sums, ellipse, share, total)
            return crossing(share_excess, before, radius, excess_before, excess, arguments), light > 0
        before, excess_before = radius, excess
    return largest, False


@compiled
def share_excess(radius: float, sums: NDArray[np.float64], ellipse: Ellipse, share: float, total: float) -> float:
    """Give the share of the light within a radius, less the share wanted."""
    return abs(aperture_sums(sums, scaled(ellipse, radius))[0]) / total - share


@compiled
def crossing(
    excess: Callable[..., float], low: float, high: float, at_low: float, at_high: float, arguments: Any
) -> float:
    """Give where a function crosses zero between two radii at which its signs differ: false position (Illinois)."""
    for _ in range(100):
        middle = high - at_high * (high - low) / (at_high - at_low)
        at_middle = excess(middle, *arguments)
        step = abs(middle - high)
        if (at_middle > 0) != (at_high > 0):
            low, at_low = high, at_high
        else:
            at_low *= 0.5
        high, at_high = middle, at_middle
        if step < TOLERANCE or at_high == 0:
            break
    return high
