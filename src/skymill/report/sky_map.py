"""Maps of HEALPix pixels: each field that holds data, or the whole sky where they are wide or many."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from skymill.sky import at_order, order29, tile_centres, unit_vectors

WIDE_DEG = 35.0
"""A field within a cap of this radius is drawn by itself; if one is wider, the whole sky is drawn."""
MOST_FIELDS = 4
GAP_DEG = 12.0
"""Coarse pixels further apart than this belong to different fields."""
COARSE_ORDER = 3


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
    regions = fields_of(pixels, order)
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    norm = LogNorm(low, high) if log and 0 < low < high else Normalize(low, high)
    if len(regions) > MOST_FIELDS or max(region.radius for region in regions) > WIDE_DEG:
        figure = Figure(figsize=(7.5, 4.2), layout="constrained")
        axes = [figure.add_subplot(projection="mollweide")]
        axes[0].set_xticklabels([])
        axes[0].grid(alpha=0.3)
        grids = [_whole_sky()]
    else:
        figure = Figure(figsize=(1.2 + 3.2 * len(regions), 3.6), layout="constrained")
        row = figure.subplots(1, len(regions), squeeze=False)[0]
        axes = [_field_axes(ax, region) for ax, region in zip(row, regions, strict=True)]
        grids = [_cap(region) for region in regions]
    for ax, (ra, dec, horizontal, vertical) in zip(axes, grids, strict=True):
        image = _look_up(pixels, values, at_order(order29(ra.ravel(), dec.ravel()), order)).reshape(ra.shape)
        mesh = ax.pcolormesh(horizontal, vertical, image, norm=norm, cmap="viridis", rasterized=True, shading="nearest")
    figure.colorbar(mesh, ax=axes, label=label, shrink=0.8)
    return figure


def fields_of(pixels: NDArray[np.int64], order: int) -> list[Region]:
    """Give a cap around each group of pixels that lies apart from the others, west to east."""
    coarse = pixels >> 2 * max(order - COARSE_ORDER, 0)
    cells, place = np.unique(coarse, return_inverse=True)
    vectors = unit_vectors(*tile_centres(min(order, COARSE_ORDER), cells))
    near = vectors @ vectors.T > np.cos(np.radians(GAP_DEG))
    _, field = connected_components(csr_array(near), directed=False)
    return sorted(region_of(pixels[field[place] == number], order) for number in np.unique(field))


def _field_axes(axes: Axes, region: Region) -> Axes:
    axes.set_aspect("equal")
    axes.set_title(f"RA {region.ra:.1f}, Dec {region.dec:.1f}", fontsize=10)
    axes.set_xlabel("offset to the east (deg)")
    axes.set_ylabel("offset to the north (deg)")
    axes.invert_xaxis()
    return axes


def _look_up(pixels: NDArray[np.int64], values: NDArray[np.floating], wanted: NDArray[np.int64]) -> NDArray[np.float64]:
    place = np.minimum(np.searchsorted(pixels, wanted), len(pixels) - 1)
    return np.where(pixels[place] == wanted, values[place], np.nan)


def _whole_sky() -> tuple[NDArray[np.float64], ...]:
    """Give ra, dec of a grid and its Mollweide coordinates (radians, east to the left, RA 0 in the middle)."""
    longitude, latitude = np.meshgrid(np.linspace(-180, 180, 721), np.linspace(-90, 90, 361))
    return -longitude % 360, latitude, np.radians(longitude), np.radians(latitude)


def _cap(region: Region) -> tuple[NDArray[np.float64], ...]:
    """Give ra, dec of a grid over a cap and its plane coordinates (Lambert's equal-area projection, degrees).

    The inverse projection of Snyder 1987, USGS Professional Paper 1395, equations 20-14, 20-15 and 24-16.
    """
    east, north = np.meshgrid(*[np.linspace(-region.radius, region.radius, 400)] * 2)
    rho = np.minimum(np.radians(np.hypot(east, north)), 2.0)
    angle = 2 * np.arcsin(rho / 2)
    scale = np.radians(1.0) * np.sinc(angle / np.pi) / np.sinc(angle / 2 / np.pi)
    x, y, z = scale * east, scale * north, np.cos(angle)
    sine, cosine = np.sin(np.radians(region.dec)), np.cos(np.radians(region.dec))
    dec = np.degrees(np.arcsin(np.clip(z * sine + y * cosine, -1, 1)))
    ra = region.ra + np.degrees(np.arctan2(x, z * cosine - y * sine))
    return ra % 360, dec, east, north
