"""Layout `fits`: images, weights, masks and PSFs in FITS files of any arrangement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from skymill.survey.images.bands import BandSource, Description, Grid, declared_noise
from skymill.survey.images.celestial import celestial_wcs
from skymill.survey.images.fits_files import FitsFile, Unit
from skymill.survey.images.mask_planes import planes_of
from skymill.survey.images.psf_models import model_image, model_table
from skymill.survey.images.units import fluxmag0_nJy, nJy_per_unit

TOLD = ("TELESCOP", "INSTRUME", "FILTER", "DATE-OBS", "MJD-OBS", "EXPTIME", "OBJECT")
"""Cards that are kept as metadata."""
INHERITED = ("RADESYS", "RADECSYS", "EQUINOX", "BUNIT", "FLUXMAG0", *TOLD)
"""Cards of the primary header that hold for extensions that lack them, which INHERIT = T says."""


def describe(source: BandSource) -> Description:
    """Read the header of a band's image."""
    file, unit = _open(source, "image")
    header = with_inherited(file, unit)
    return described(source, unit, header, where(file, unit))


def array(source: BandSource, role: str) -> NDArray[Any] | None:
    """Decode the band's image of a role."""
    if source.declared(role) is None:
        return None
    file, unit = _open(source, role)
    return file.array(unit)[source.place(unit.shape, role, where(file, unit))]


def psf(source: BandSource, places: NDArray[np.float64]) -> NDArray[Any] | None:
    """Evaluate the model of the band's PSF, or decode an image of it."""
    if source.declared("psf") is None:
        return None
    file = source.open.get(source.path("psf"), FitsFile)
    model = model_table(file, source.part("psf"), source.spelled)
    return array(source, "psf") if model is None else model_image(file, model, places)


def planes(source: BandSource) -> Mapping[str, int]:
    """Give the bits that the mask's header names, else those of the settings."""
    file, unit = _open(source, "mask")
    return planes_of(unit.header, where(file, unit)) or source.settings.mask_bits


def described(source: BandSource, unit: Unit, header: fits.Header, place: str) -> Description:
    """Make the description of a band whose image has this header."""
    source.place(unit.shape, "image", place)
    shape = (unit.shape[-2], unit.shape[-1])
    grid = Grid(place, celestial_wcs(header, shape, source.settings, place), shape, origin(header))
    count = fluxmag0_nJy(header.get("FLUXMAG0"))
    factor = nJy_per_unit(source.settings, source.band, place, bunit=header.get("BUNIT"), count_nJy=count)
    return Description(grid, factor, declared_noise(source.settings), told(header))


def told(header: fits.Header) -> dict[str, Any]:
    """Give the cards that are kept as metadata."""
    return {card: header[card] for card in TOLD if card in header}


def where(file: FitsFile, unit: Unit) -> str:
    """Name a unit of a file for messages."""
    return f"{file.path}[{unit.name or unit.index}]"


def with_inherited(file: FitsFile, unit: Unit) -> fits.Header:
    """Give a unit's header with the cards that it inherits from the primary one."""
    header = unit.header.copy()
    if unit.index and unit.header.get("INHERIT", False) is True:
        primary = file.find(0).header
        header.update({card: primary[card] for card in INHERITED if card in primary and card not in header})
    return header


def origin(header: fits.Header) -> tuple[int, int] | None:
    """Give column and row of the first pixel, in the count over a tract or detector.

    They are those of the linear WCS `A` at FITS pixel 1, or minus `LTV1` and `LTV2` (IRAF's logical-to-physical
    vector, counted from 0 here); None where the header has neither.
    """
    if str(header.get("CTYPE1A", "")).strip() == "LINEAR" and "CRVAL1A" in header and "CRVAL2A" in header:
        x, y = (header[f"CRVAL{axis}A"] + 1 - header.get(f"CRPIX{axis}A", 1) for axis in (1, 2))
        return round(x), round(y)
    if "LTV1" in header and "LTV2" in header:
        return -round(header["LTV1"]), -round(header["LTV2"])
    return None


def _open(source: BandSource, role: str) -> tuple[FitsFile, Unit]:
    file = source.open.get(source.path(role), FitsFile)
    return file, file.find(source.part(role))
