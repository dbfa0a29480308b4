"""Maps of HEALPix pixels: the whole sky in Mollweide, or the part of it that holds data."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from skymill.sky import at_order, order29, tile_centres, unit_vectors

WIDE_DEG = 70.0
"""A survey within a cap of this radius is drawn by itself, a wider one on the whole sky."""


class Region(NamedTuple):
    """A cap on the sky, in degrees."""

    ra: float
    dec: float
    radius: float


def region_of(pixels: NDArray[np.int64], order: int) -> Region:
    """Give the cap around pixels: the direction of their mean vector and the farthest of them."""
    ra, dec = tile_centres(order, pixels)
    vectors = unit_vectors(ra, dec)
    mean = vectors.mean(axis=0)
    length = np.linalg.norm(mean)
    if length < 1e-6:
        return Region(0.0, 0.0, 180.0)
    centre = mean / length
    radius = np.degrees(np.arccos(np.clip(vectors @ centre, -1, 1)).max()) + 60.0 / 2**order
    return Region(
        float(np.degrees(np.arctan2(centre[1], centre[0])) % 360), float(np.degrees(np.arcsin(centre[2]))), radius
    )


def draw_sky_map(
    pixels: NDArray[np.int64], values: NDArray[np.floating], order: int, *, label: str, log: bool = False
) -> Figure:
    """Draw one value a pixel.

    Parameters
    ----------
    pixels : ndarray of int64, (n,)
        Sorted NESTED pixels of `order`; all others are left blank.
    values : ndarray of float, (n,)
    order : int
    label : str
        What the colours mean, with its unit.
    log : bool
        Colours by the logarithm.
    """
    region = region_of(pixels, order)
    whole = region.radius > WIDE_DEG
    figure = Figure(figsize=(7.5, 4.2) if whole else (6.0, 4.6), layout="constrained")
    axes = figure.add_subplot(projection="mollweide" if whole else None)
    ra, dec, horizontal, vertical = _whole_sky() if whole else _cap(region)
    image = _look_up(pixels, values, at_order(order29(ra.ravel(), dec.ravel()), order)).reshape(ra.shape)
    norm = "log" if log and np.nanmin(values, initial=np.inf) > 0 else None
    mesh = axes.pcolormesh(horizontal, vertical, image, norm=norm, cmap="viridis", rasterized=True, shading="nearest")
    if whole:
        axes.grid(alpha=0.3)
        axes.set_xticklabels([])
    else:
        axes.set_aspect("equal")
        axes.set_xlabel(f"offset in right ascension from {region.ra:.2f} deg, times cos(dec) (deg)")
        axes.set_ylabel("declination (deg)")
        axes.invert_xaxis()
    figure.colorbar(mesh, ax=axes, label=label, shrink=0.8)
    return figure


def _look_up(pixels: NDArray[np.int64], values: NDArray[np.floating], wanted: NDArray[np.int64]) -> NDArray[np.float64]:
    place = np.minimum(np.searchsorted(pixels, wanted), len(pixels) - 1)
    return np.where(pixels[place] == wanted, values[place], np.nan)


def _whole_sky() -> tuple[NDArray[np.float64], ...]:
    """Give ra, dec of a grid and its Mollweide coordinates (radians, east to the left, RA 0 in the middle)."""
    longitude, latitude = np.meshgrid(np.linspace(-180, 180, 721), np.linspace(-90, 90, 361))
    return -longitude % 360, latitude, np.radians(longitude), np.radians(latitude)


def _cap(region: Region) -> tuple[NDArray[np.float64], ...]:
    """Give ra, dec of a grid over a cap and its plane coordinates (sinusoidal projection, degrees)."""
    low, high = max(region.dec - region.radius, -90), min(region.dec + region.radius, 90)
    offset, dec = np.meshgrid(np.linspace(-region.radius, region.radius, 500), np.linspace(low, high, 500))
    cosine = np.maximum(np.cos(np.radians(dec)), 1e-6)
    turn = offset / cosine
    beyond = np.abs(turn) > 180
    ra = (region.ra + np.where(beyond, 180, turn)) % 360
    return ra, np.where(beyond, -90.0, dec), offset, dec
