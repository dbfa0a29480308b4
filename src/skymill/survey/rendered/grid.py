"""The mosaic's pixels, the tiles as windows of it, and its place on the sky."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from skymill.config.images import RenderSettings
from skymill.survey.simulated.observe import PIXEL_ARCSEC

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """A rectangle of the mosaic: its lower-left pixel, columns and rows."""

    x0: int
    y0: int
    nx: int
    ny: int

    def common(self, other: Window) -> tuple[slice, slice] | None:
        """Give the rows and columns of this window that the other covers too; None where they do not meet."""
        left, right = max(self.x0, other.x0), min(self.x0 + self.nx, other.x0 + other.nx)
        low, high = max(self.y0, other.y0), min(self.y0 + self.ny, other.y0 + other.ny)
        if left >= right or low >= high:
            return None
        return slice(low - self.y0, high - self.y0), slice(left - self.x0, right - self.x0)


class Geometry(NamedTuple):
    """A tile's place on the sky."""

    header: str
    """Cards of its WCS, as FITS writes them."""
    shape: tuple[int, int]
    """Rows and columns."""


def mosaic(settings: RenderSettings) -> Window:
    """Give the window of all tiles together."""
    step = settings.tile_px - settings.overlap_px
    nx, ny = ((n - 1) * step + settings.tile_px for n in settings.tiles)
    return Window(0, 0, nx, ny)


def tile_names(settings: RenderSettings) -> list[str]:
    """Give the tiles' names, `x<column>y<row>`, row by row."""
    return [f"x{i}y{j}" for j in range(settings.tiles[1]) for i in range(settings.tiles[0])]


def tile_window(settings: RenderSettings, name: str) -> Window:
    """Give a tile's window.

    Raises
    ------
    KeyError
        If there is no tile of that name; the message lists those there are.
    """
    names = tile_names(settings)
    if name not in names:
        raise KeyError(f"no tile '{name}' among {settings.tiles[0]} x {settings.tiles[1]}: {', '.join(names)}")
    row, column = divmod(names.index(name), settings.tiles[0])
    step = settings.tile_px - settings.overlap_px
    return Window(column * step, row * step, settings.tile_px, settings.tile_px)


def tile_geometry(settings: RenderSettings, name: str) -> Geometry:
    """Give the WCS cards and the shape of a tile without rendering it."""
    window = tile_window(settings, name)
    return Geometry(wcs_header(settings, window).tostring(), (window.ny, window.nx))


def wcs_header(settings: RenderSettings, window: Window) -> fits.Header:
    """Give the WCS cards of a window: TAN, ICRS, north up, east left, all windows on one grid."""
    whole = mosaic(settings)
    scale = PIXEL_ARCSEC / 3600
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"] = settings.centre
    header["CRPIX1"] = (whole.nx + 1) / 2 - window.x0
    header["CRPIX2"] = (whole.ny + 1) / 2 - window.y0
    header["CD1_1"], header["CD1_2"], header["CD2_1"], header["CD2_2"] = -scale, 0.0, 0.0, scale
    header["CUNIT1"] = header["CUNIT2"] = "deg"
    header["RADESYS"] = "ICRS"
    return header


def sky_positions(settings: RenderSettings, x: Array, y: Array) -> tuple[Array, Array]:
    """Give RA and Dec (degrees) of positions on the mosaic."""
    ra, dec = WCS(wcs_header(settings, mosaic(settings))).wcs_pix2world(x, y, 0)
    return np.asarray(ra) % 360, np.asarray(dec)
