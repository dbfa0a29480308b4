"""Maps of HEALPix pixels: each field that holds data, or the whole sky where they are wide or many."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from skymill.sky import at_order, look_up, order29, tile_centres, unit_vectors

WIDE_DEG = 35.0
"""A field within a cap of this radius is drawn by itself; if one is wider, the whole sky is drawn."""
MOST_FIELDS = 4
GAP_DEG = 12.0
"""Coarse pixels further apart than this belong to different fields."""
COARSE_ORDER = 3
NEAR_POLE_DEG = 0.5
GRID = 400
"""Points along each side of a field's map."""
LOG_FROM = 10.0
"""Ratio of highest to lowest value from which logarithmic colours are worth reading."""
COLOURS = "viridis"


class Region(NamedTuple):
    """A cap on the sky, in degrees."""

    ra: float
    dec: float
    radius: float


def region_of(pixels: NDArray[np.int64], order: int) -> Region:
    """Give the cap around pixels: the direction of their mean vector and the farthest of them.

    A centre all but at a pole is put there, with RA 0: which way such a map is turned would be chance.
    """
    ra, dec = tile_centres(order, pixels)
    vectors = unit_vectors(ra, dec)
    mean = vectors.mean(axis=0)
    length = np.linalg.norm(mean)
    if length < 1e-6:
        return Region(0.0, 0.0, 180.0)
    centre = mean / length
    if abs(centre[2]) > np.cos(np.radians(NEAR_POLE_DEG)):
        centre = np.array([0.0, 0.0, np.sign(centre[2])])
    radius = np.degrees(np.arccos(np.clip(vectors @ centre, -1, 1)).max()) + 60.0 / 2**order
    return Region(
        float(np.degrees(np.arctan2(centre[1], centre[0])) % 360), float(np.degrees(np.arcsin(centre[2]))), radius
    )


def draw_sky_map(
    pixels: NDArray[np.int64], values: NDArray[np.floating], order: int, *, label: str, log: bool = False
) -> list[Figure]:
    """Draw one value a pixel, east to the left: a figure for each field, west to east, or one of the whole sky.

    Parameters
    ----------
    pixels : ndarray of int64, (n,)
        Sorted NESTED pixels of `order`; all others are left blank.
    values : ndarray of float, (n,)
        NaN is left blank.
    order : int
    label : str
        What the colours mean, with its unit.
    log : bool
        Colours by the logarithm, where the values differ enough for it.
    """
    if not len(pixels):
        return []
    scale = colour_scale(values, log=log)
    regions = fields_of(pixels, order)
    if len(regions) > MOST_FIELDS or max(region.radius for region in regions) > WIDE_DEG:
        return [_draw_whole_sky(pixels, values, order, scale, label)]
    return [_draw_field(region, pixels, values, order, scale, label) for region in regions]


class Scale(NamedTuple):
    """How values become colours, and the values named beside them."""

    norm: Normalize
    ticks: list[float] | None
    extend: str


def colour_scale(values: NDArray[np.floating], *, log: bool) -> Scale:
    """Spread the colours over the middle 96 % of the values, so that a few strange pixels do not flatten the rest."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Scale(Normalize(0.0, 1.0), None, "neither")
    low, high = (float(limit) for limit in np.percentile(finite, [2, 98]))
    if low == high:
        low, high = float(finite.min()), float(finite.max())
    ends = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    extend = ends[bool(finite.min() < low), bool(finite.max() > high)]
    if not (log and 0 < low < high / LOG_FROM):
        return Scale(Normalize(low, high), None, extend)
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 100 else (1, 3) if high / low < 3000 else (1,)
    ticks = [step * decade for decade in decades for step in steps if low <= step * decade <= high]
    return Scale(LogNorm(low, high), ticks, extend)


def _draw_field(
    region: Region,
    pixels: NDArray[np.int64],
    values: NDArray[np.floating],
    order: int,
    scale: Scale,
    label: str,
) -> Figure:
    ra, dec, east, _ = _cap(region)
    figure = Figure(figsize=(3.2, 3.9))
    axes = figure.add_axes((0.17, 0.275, 0.80, 0.80 * 3.2 / 3.9))
    axes.set_title(f"RA {region.ra:.1f}°, Dec {region.dec:+.1f}°", fontsize=10)
    axes.set_xlabel("offset to the east (deg)")
    axes.set_ylabel("offset to the north (deg)", labelpad=0)
    image = look_up(pixels, values, at_order(order29(ra.ravel(), dec.ravel()), order)).reshape(ra.shape)
    edge = float(east.max())
    drawn = axes.imshow(
        image, norm=scale.norm, cmap=COLOURS, origin="lower", extent=(-edge, edge, -edge, edge), interpolation="nearest"
    )
    axes.invert_xaxis()
    place = figure.add_axes((0.17, 0.125, 0.80, 0.028))
    _draw_scale(figure, drawn, place, scale, label)
    return figure


def _draw_whole_sky(
    pixels: NDArray[np.int64], values: NDArray[np.floating], order: int, scale: Scale, label: str
) -> Figure:
    middle = 60.0 * round(region_of(pixels, order).ra / 60.0) % 360
    ra, dec, horizontal, vertical = _whole_sky(middle)
    figure = Figure(figsize=(5.2, 3.6))
    axes = figure.add_axes((0.09, 0.24, 0.88, 0.74), projection="mollweide")
    axes.set_facecolor("#eef0f2")
    image = look_up(pixels, values, at_order(order29(ra.ravel(), dec.ravel()), order)).reshape(ra.shape)
    drawn = axes.pcolormesh(horizontal, vertical, image, norm=scale.norm, cmap=COLOURS, rasterized=True)
    axes.set_xticks(np.radians(np.arange(-120, 121, 60)), [])
    axes.set_yticks(np.radians(np.arange(-60, 61, 30)), [f"{dec:+d}°" if dec else "0°" for dec in range(-60, 61, 30)])
    axes.grid(color="0.45", alpha=0.5, linewidth=0.6)
    free = np.radians(_emptiest_parallel(pixels, order))
    for offset in range(-120, 121, 60):
        text = axes.text(
            np.radians(offset), free, f"{(middle - offset) % 360:.0f}°", ha="center", va="center", fontsize=9
        )
        text.set_path_effects([withStroke(linewidth=3, foreground="white")])
    _draw_scale(figure, drawn, figure.add_axes((0.2, 0.145, 0.6, 0.028)), scale, label)
    return figure


def _emptiest_parallel(pixels: NDArray[np.int64], order: int) -> int:
    """Give the declination of a grid line that few pixels lie on: the place of the labels of RA."""
    _, dec = tile_centres(order, pixels)
    return min((0, -30, 30, -60, 60), key=lambda line: int(np.count_nonzero(np.abs(dec - line) < 10)))


def _draw_scale(figure: Figure, drawn: ScalarMappable, place: Axes, scale: Scale, label: str) -> None:
    bar = figure.colorbar(drawn, cax=place, orientation="horizontal", extend=scale.extend, label=label)
    if scale.ticks is not None:
        bar.set_ticks(scale.ticks, labels=[f"{tick:,.10g}" for tick in scale.ticks])
        bar.minorticks_off()


def fields_of(pixels: NDArray[np.int64], order: int) -> list[Region]:
    """Give a cap around each group of pixels that lies apart from the others, west to east."""
    coarse = pixels >> 2 * max(order - COARSE_ORDER, 0)
    cells, place = np.unique(coarse, return_inverse=True)
    vectors = unit_vectors(*tile_centres(min(order, COARSE_ORDER), cells))
    near = vectors @ vectors.T > np.cos(np.radians(GAP_DEG))
    _, field = connected_components(csr_array(near), directed=False)
    return sorted(region_of(pixels[field[place] == number], order) for number in np.unique(field))


def _whole_sky(middle: float) -> tuple[NDArray[np.float64], ...]:
    """Give ra, dec of a grid and its Mollweide coordinates (radians), east to the left of the RA in the middle."""
    longitude, latitude = np.meshgrid(np.linspace(-180, 180, 721), np.linspace(-90, 90, 361))
    return (middle - longitude) % 360, latitude, np.radians(longitude), np.radians(latitude)


def _cap(region: Region) -> tuple[NDArray[np.float64], ...]:
    """Give ra, dec of a grid over a cap and its plane coordinates (Lambert's equal-area projection, degrees).

    The inverse projection of Snyder 1987, USGS Professional Paper 1395, equations 20-14, 20-15 and 24-16.
    """
    east, north = np.meshgrid(*[np.linspace(-region.radius, region.radius, GRID)] * 2)
    rho = np.minimum(np.radians(np.hypot(east, north)), 2.0)
    angle = 2 * np.arcsin(rho / 2)
    scale = np.radians(1.0) * np.sinc(angle / np.pi) / np.sinc(angle / 2 / np.pi)
    x, y, z = scale * east, scale * north, np.cos(angle)
    sine, cosine = np.sin(np.radians(region.dec)), np.cos(np.radians(region.dec))
    dec = np.degrees(np.arcsin(np.clip(z * sine + y * cosine, -1, 1)))
    ra = region.ra + np.degrees(np.arctan2(x, z * cosine - y * sine))
    return ra % 360, dec, east, north
