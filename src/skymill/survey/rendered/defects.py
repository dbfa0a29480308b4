"""What a coadd keeps of the detector's and the sky's nuisances: where they lie on the mosaic, and what they leave.

They are drawn for the mosaic, or block by block, so that tiles that overlap show the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymill.config.images import RenderSettings
from skymill.survey.rendered.grid import Array, Window, mosaic
from skymill.survey.rendered.noise import blocks, stream
from skymill.survey.rendered.optics import optics
from skymill.survey.simulated.bands import BANDS

COSMIC_RAYS, COLUMNS, TRAIL, GAP = 60, 61, 62, 63
"""Purposes of random streams."""
COLUMNS_PER_PX = 1 / 700
"""Bad columns per column of the mosaic, in each band."""
COLUMN_SIGMA = 25.0
"""Size of what they hold, in a pixel's noise."""
RAYS_PER_BLOCK = 0.5
LONGEST_RAY_PX = 20
RAY_SIGMA = (8.0, 80.0)
TRAIL_WIDTH_PX, TRAIL_SIGMA = 4.0, 12.0
"""Gaussian sigma of the satellite's trail, and its peak in a pixel's noise."""
TRAIL_ENDS = 3.0
"""Half-width of its mask in those sigma."""
GAP_PX = 40
GAPS = 2
"""Bands with a chip gap."""
Plane = NDArray[np.float32]
Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class Line:
    """A straight line on the mosaic: a point of it and its direction, radians from +x to +y."""

    x: float
    y: float
    angle: float

    def distance(self, window: Window) -> Array:
        """Give the distance of each pixel of a window, (ny, nx)."""
        x = np.arange(window.x0, window.x0 + window.nx) - self.x
        y = np.arange(window.y0, window.y0 + window.ny) - self.y
        return np.abs(y[:, None] * np.cos(self.angle) - x * np.sin(self.angle))


def spoil(pixels: Plane, settings: RenderSettings, window: Window, band: int) -> dict[str, Bits]:
    """Put the defects of a band (an index in ugrizy) into a window's pixels (nJy), in place.

    Returns
    -------
    dict of ndarray of bool, (ny, nx)
        The pixels of each mask plane: BAD, CR, STREAK, NO_DATA (NaN).
    """
    kinds: dict[str, Callable[..., Bits]] = {
        "CR": cosmic_rays,
        "STREAK": satellite_trail,
        "BAD": bad_columns,
        "NO_DATA": chip_gap,
    }
    return {plane: spoil_one(pixels, settings, window, band) for plane, spoil_one in kinds.items()}


def cosmic_rays(pixels: Plane, settings: RenderSettings, window: Window, band: int) -> Bits:
    """Add what is left of cosmic rays: straight tracks one pixel wide."""
    hit = np.zeros(pixels.shape, dtype=bool)
    for block in blocks(window, LONGEST_RAY_PX):
        rng = stream(settings, COSMIC_RAYS, band, block)
        for _ in range(rng.poisson(RAYS_PER_BLOCK)):
            x, y = block.x0 + rng.random() * block.nx, block.y0 + rng.random() * block.ny
            angle, steps = rng.uniform(0, 2 * np.pi), np.arange(rng.integers(2, LONGEST_RAY_PX))
            peak = optics(settings).sigma[band] * np.exp(rng.uniform(*np.log(RAY_SIGMA)))
            column = np.rint(x + steps * np.cos(angle)).astype(int) - window.x0
            row = np.rint(y + steps * np.sin(angle)).astype(int) - window.y0
            inside = (column >= 0) & (column < window.nx) & (row >= 0) & (row < window.ny)
            pixels[row[inside], column[inside]] += np.float32(peak)
            hit[row[inside], column[inside]] = True
    return hit


def satellite_trail(pixels: Plane, settings: RenderSettings, window: Window, band: int) -> Bits:
    """Add a satellite's trail, in one band, through the middle half of the mosaic."""
    rng = np.random.default_rng([settings.seed, TRAIL])
    whole = mosaic(settings)
    chosen = int(rng.integers(len(BANDS)))
    x, y = whole.nx * rng.uniform(0.25, 0.75), whole.ny * rng.uniform(0.25, 0.75)
    line = Line(x, y, rng.uniform(0, np.pi))
    if band != chosen:
        return np.zeros(pixels.shape, dtype=bool)
    away = line.distance(window) / TRAIL_WIDTH_PX
    peak = TRAIL_SIGMA * optics(settings).sigma[band]
    pixels += (peak * np.exp(-0.5 * away**2)).astype(np.float32)
    return np.asarray(away < TRAIL_ENDS)


def bad_columns(pixels: Plane, settings: RenderSettings, window: Window, band: int) -> Bits:
    """Replace the pixels of bad columns, which run over part of the mosaic's height."""
    rng = np.random.default_rng([settings.seed, COLUMNS, band])
    whole = mosaic(settings)
    bad = np.zeros(pixels.shape, dtype=bool)
    for _ in range(1 + rng.poisson(COLUMNS_PER_PX * whole.nx)):
        column, width = int(rng.integers(whole.nx)), int(rng.integers(1, 4))
        low, high = np.sort(rng.integers(0, whole.ny, 2)).tolist()
        value = COLUMN_SIGMA * optics(settings).sigma[band] * rng.standard_normal()
        where = window.common(Window(column, low, width, high - low + 1))
        if where:
            pixels[where] = value
            bad[where] = True
    return bad


def chip_gap(pixels: Plane, settings: RenderSettings, window: Window, band: int) -> Bits:
    """Take the pixels of a gap between chips away, in some bands: a strip across the whole mosaic."""
    rng = np.random.default_rng([settings.seed, GAP])
    whole = mosaic(settings)
    chosen = rng.permutation(len(BANDS))[:GAPS]
    place, vertical = rng.uniform(0.1, 0.9, len(BANDS)), rng.random(len(BANDS)) < 0.5
    empty = np.zeros(pixels.shape, dtype=bool)
    if band not in chosen:
        return empty
    if vertical[band]:
        strip = Window(int(place[band] * (whole.nx - GAP_PX)), 0, GAP_PX, whole.ny)
    else:
        strip = Window(0, int(place[band] * (whole.ny - GAP_PX)), whole.nx, GAP_PX)
    where = window.common(strip)
    if where:
        empty[where] = True
        pixels[where] = np.nan
    return empty
