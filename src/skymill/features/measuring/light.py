"""Radii and aperture fluxes of all sources of a tile, batch by batch of their stamps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymill.features.measuring.apertures import circle
from skymill.features.measuring.background import Sky
from skymill.features.measuring.detection import Stack
from skymill.features.measuring.photometry import KRON_WINDOW, kron, sums
from skymill.features.measuring.shapes import Shapes, measure_shapes
from skymill.features.measuring.stamps import Places, by_size, cut, middle, mirrored


@dataclass(frozen=True)
class Light:
    """What was measured on stamps.

    Attributes
    ----------
    x, y : ndarray of float64, (n,)
        Positions on the tile, px.
    shapes : Shapes
    kron_radius, half_light_radius : ndarray of float64, (n,)
        px, NaN where not measured.
    flux, error : ndarray of float64, (1 + radii, n, bands)
        nJy: in Kron's ellipse and in circles; NaN where not measured.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    shapes: Shapes
    kron_radius: NDArray[np.float64]
    half_light_radius: NDArray[np.float64]
    flux: NDArray[np.float64]
    error: NDArray[np.float64]


def measure_light(places: Places, stack: Stack, sky: Sky, radii_px: Sequence[float]) -> Light:
    """Measure sources on their stamps.

    Parameters
    ----------
    places : Places
    stack : Stack
        The detection image, on which positions, shapes and radii are measured.
    sky : Sky
        The bands.
    radii_px : sequence of float
        Of the circles.
    """
    n, bands = len(places.row), len(sky.pixels)
    shapes = measure_shapes(places, stack)
    light = Light(
        x=places.column + shapes.x,
        y=places.row + shapes.y,
        shapes=shapes,
        kron_radius=np.full(n, np.nan),
        half_light_radius=np.full(n, np.nan),
        flux=np.full((1 + len(radii_px), n, bands), np.nan),
        error=np.full((1 + len(radii_px), n, bands), np.nan),
    )
    circles_half = int(np.ceil(max(radii_px))) + 2
    kron_half = np.minimum(np.ceil(KRON_WINDOW * shapes.axes()[0]).astype(np.int64) + 2, places.extent)
    for size, members in by_size(kron_half):
        half = max(size, circles_half)
        column, row, own = places.column[members], places.row[members], shapes.of(members)
        theirs = places.theirs(members, column, row, half)
        usable = middle(theirs, size) & (cut(stack.weight, column, row, size) > 0)
        found = kron(mirrored(cut(stack.flux, column, row, size), usable), own)
        light.kron_radius[members], light.half_light_radius[members] = found.radius, found.half_light
        apertures = [found.aperture, *(circle(own.x, own.y, radius) for radius in radii_px)]
        light.flux[:, members], light.error[:, members] = sums(apertures, theirs, sky, column, row)
    return light
