"""Depth and seeing over the sky: the survey's own maps, or the depth that the errors of its faint sources tell."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skymill.config import SurveyConfig
from skymill.config.survey import QUANTITIES
from skymill.report.sky_counts import SkyCounts
from skymill.sky import PixelMap, at_order, order29, tile_centres
from skymill.store import Catalogue
from skymill.survey import read_map
from skymill.survey.flux import AB_ZERO_POINT

SIGMAS = 5.0
FAINT = 10.0
"""Signal-to-noise ratio below which the sky, not the source, makes the noise."""
FINEST_ORDER, COARSEST_ORDER = 9, 3
FEWEST_FAINT = 20
"""Faint sources a pixel, in the mean, behind a median."""
MOST_ROWS = 200
"""Rows of a tile, for each of its pixels, that are looked at: of a scatter of 0.1 mag, 0.01 is left in the median."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Property:
    """A property of the survey over the sky.

    Attributes
    ----------
    name : str
        As in the survey's file: `depth_i`, `seeing_i` or any other.
    unit : str
    origin : str
        Where the values come from, for people.
    sky : PixelMap
    declared : bool
        Whether the survey gives it, or it was derived here.
    """

    name: str
    unit: str
    origin: str
    sky: PixelMap
    declared: bool

    @property
    def quantity(self) -> str:
        """`depth` or `seeing`; of a map of another name, that name."""
        first = self.name.partition("_")[0]
        return first if first in QUANTITIES else self.name

    @property
    def label(self) -> str:
        """Name and unit, for an axis."""
        band = self.name.partition("_")[2]
        titles = {"depth": f"5σ point-source depth in {band}", "seeing": f"seeing (FWHM) in {band}"}
        unit = QUANTITIES.get(self.quantity, self.unit)
        return titles.get(self.quantity, self.name) + (f" ({unit})" if unit else "")


def properties_of(survey: SurveyConfig, sources: Catalogue, bands: list[str]) -> list[Property]:
    """Give the survey's maps and, where none is of the depth, the depth in each of `bands` that has errors.

    Raises
    ------
    TableError
        If a map cannot be read.
    """
    declared = [Property(name, each.unit, each.path, read_map(name, each), True) for name, each in survey.maps.items()]
    flux = point_flux(sources)
    if flux is None or any(each.quantity == "depth" for each in declared):
        return declared
    origin = f"errors of {flux} below {FAINT:g} sigma"
    derived = zip(bands, derive_depths(sources, flux), strict=True)
    return [
        *(Property(f"depth_{band}", "mag", origin, sky, False) for band, sky in derived if len(sky.pixels)),
        *declared,
    ]


def within(properties: list[Property], counts: SkyCounts) -> list[Property]:
    """Cut maps to the pixels that hold sources: one of the whole sky shows nothing of a small survey."""
    cut = []
    for each in properties:
        order = min(each.sky.order, counts.order)
        survey = counts.pixels >> 2 * (counts.order - order)
        inside = np.isin(each.sky.pixels >> 2 * (each.sky.order - order), survey)
        sky = PixelMap(each.sky.order, each.sky.pixels[inside], each.sky.values[inside], each.sky.weights[inside])
        cut.append(replace(each, sky=sky))
    return cut


def covered(each: Property, counts: SkyCounts) -> float:
    """Give the share of the survey's sources in pixels that the map has a value for."""
    centres = order29(*tile_centres(counts.order, counts.pixels))
    n = counts.counts.sum(axis=1)
    return float(n[np.isfinite(each.sky.at(centres))].sum() / max(n.sum(), 1))


def shown(properties: list[Property], band: str) -> list[Property]:
    """Choose those to draw and to judge calibration by: all declared ones, of the others the depth in one band."""
    return [each for each in properties if each.declared or each.name == f"depth_{band}"]


def point_flux(sources: Catalogue) -> str | None:
    """Name the flux whose errors tell the depth of point sources, the PSF's; None where the survey has none."""
    with_errors = [name for name in sources.columns if f"{name}Err" in sources.columns]
    return next((name for name in with_errors if name.lower().startswith("psf")), None)


def derive_depths(sources: Catalogue, flux: str) -> list[PixelMap]:
    """Give the depth in each band of a source catalogue, read once, tile by tile.

    The depth is the magnitude of a point source at 5 sigma, m = 31.4 - 2.5 log10(5 e) with the error e of its PSF flux
    in nJy. The median is taken over a pixel's sources of less than 10 sigma, whose noise is all but the sky's: in the
    noise model of Ivezic et al. (2019, ApJ 873, 111, eq. 5) it is then within 0.014 mag of the depth. Errors of
    catalogued objects as a measure of depth: Rykoff, Rozo & Keisler (2015, arXiv:1509.00870).

    Returns
    -------
    list of PixelMap
        One a band, of the order, at most 9, at which the medians stand on 20 sources in the mean; `weights` are those
        looked at. A pixel of several tiles, or of several finer pixels, has the mean of their medians, so weighted.
    """
    parts: list[list[PixelMap]] = []
    for order, pixel in zip(sources.tiles["order"], sources.tiles["pixel"], strict=True):
        rows = sources.tile(order, pixel)[["_healpix_29", flux, f"{flux}Err"]].load()
        pixels = at_order(rows["_healpix_29"].to_numpy(), FINEST_ORDER)
        # Every so many rows: they are sorted by place, so that what is left is spread as the sources are.
        some = slice(None, None, max(1, len(pixels) // (MOST_ROWS * len(np.unique(pixels)))))
        pixels, values, errors = pixels[some], rows[flux].to_numpy()[some], rows[f"{flux}Err"].to_numpy()[some]
        parts.append([tile_depths(pixels, *columns) for columns in zip(values.T, errors.T, strict=True)])
    return [_as_fine_as_the_sources_allow(band) for band in zip(*parts, strict=True)]


def tile_depths(pixels: NDArray[np.int64], flux: NDArray[np.float32], error: NDArray[np.float32]) -> PixelMap:
    """Give the median 5-sigma depth of a tile's pixels in one band, with the number of faint sources behind it."""
    faint = np.isfinite(error) & (error > 0) & (flux < FAINT * error)
    depth = AB_ZERO_POINT - 2.5 * np.log10(SIGMAS * error[faint].astype(np.float64))
    inside = pixels[faint]
    order = np.lexsort((depth, inside))
    kept, first, n = np.unique(inside[order], return_index=True, return_counts=True)
    depth = depth[order]
    middle = 0.5 * (depth[first + (n - 1) // 2] + depth[first + n // 2])
    return PixelMap(FINEST_ORDER, kept, middle, n.astype(np.float64))


def _as_fine_as_the_sources_allow(parts: tuple[PixelMap, ...]) -> PixelMap:
    columns = [np.concatenate([getattr(part, name) for part in parts]) for name in ("pixels", "values", "weights")]
    sky = PixelMap.merged(FINEST_ORDER, *columns)
    while sky.order > COARSEST_ORDER and sky.weights.sum() < FEWEST_FAINT * len(sky.pixels):
        sky = sky.coarser()
    return sky
