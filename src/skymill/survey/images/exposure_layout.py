"""Layout `exposure`: image, mask and variance as the LSST and HSC pipelines write them, up to Rubin's DP1.

Extensions are found by EXTNAME, in files before 2016 by EXTTYPE, before that by their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.survey.images import fits_layout
from skymill.survey.images.bands import BandSource, Description, Grid, NoiseRole
from skymill.survey.images.celestial import celestial_wcs
from skymill.survey.images.fits_files import FitsFile, Unit
from skymill.survey.images.fits_layout import origin, told, where, with_inherited
from skymill.survey.images.mask_planes import planes_of
from skymill.survey.images.tile import ImageError
from skymill.survey.images.units import fluxmag0_nJy, nJy_per_unit

EXTENSIONS = {"image": "IMAGE", "mask": "MASK", "variance": "VARIANCE"}
"""Names in the order in which files have them."""


def describe(source: BandSource) -> Description:
    """Read the headers of a band's exposure."""
    file = source.open.get(source.path("image"), FitsFile)
    unit = extension(file, "image")
    if unit is None:
        raise ImageError(
            f"{file.path}: expected an exposure with an extension IMAGE, found {', '.join(map(str, file.units))}; "
            "use the layout fits, or fetch the file again"
        )
    header, place = with_inherited(file, unit), where(file, unit)
    source.place(unit.shape, "image", place)
    shape = (unit.shape[-2], unit.shape[-1])
    grid = Grid(place, celestial_wcs(header, shape, source.settings, place), shape, origin(header))
    count = fluxmag0_nJy(header.get("FLUXMAG0", file.find(0).header.get("FLUXMAG0"))) or calibration_nJy(file)
    factor = nJy_per_unit(source.settings, source.band, place, bunit=header.get("BUNIT"), count_nJy=count)
    noise: NoiseRole | None = "variance" if extension(file, "variance") else None
    return Description(grid, factor, noise, {**told(file.find(0).header), **told(header)})


def array(source: BandSource, role: str) -> NDArray[Any] | None:
    """Decode the band's image, mask or variance."""
    file = source.open.get(source.path("image"), FitsFile)
    unit = extension(file, role)
    return None if unit is None else file.array(unit)[source.place(unit.shape, role, where(file, unit))]


def psf(source: BandSource, places: NDArray[np.float64]) -> NDArray[Any] | None:
    """Read the band's PSF from a file of its own."""
    return fits_layout.psf(source, places)


def planes(source: BandSource) -> Mapping[str, int]:
    """Give the bits that the mask's `MP_` cards name."""
    file = source.open.get(source.path("image"), FitsFile)
    unit = extension(file, "mask")
    return planes_of(unit.header, where(file, unit)) if unit else {}


def extension(file: FitsFile, role: str) -> Unit | None:
    """Find the extension of a role; None where the exposure has none."""
    wanted, units = EXTENSIONS[role], list(file.units)
    for card in ("EXTNAME", "EXTTYPE"):
        named = {str(unit.header.get(card, "")).strip().upper(): unit for unit in reversed(units)}
        if set(named) & set(EXTENSIONS.values()):
            return named.get(wanted)
    images = [unit for unit in units if len(unit.shape) == 2]
    place = list(EXTENSIONS).index(role)
    return images[place] if place < len(images) else None


def calibration_nJy(file: FitsFile) -> float | None:
    """Read the flux of one count from the exposure's PhotoCalib; None where there is none, or it varies.

    The primary header gives its number; the archive's index, the table and row that hold it (format of afw's archives
    of tables; a PhotoCalib of version 1 or later is in nJy).
    """
    number = file.find(0).header.get("PHOTOCALIB_ID")
    tables = {unit.header.get("AR_CATN"): unit for unit in file.units if "AR_CATN" in unit.header}
    if number is None or 0 not in tables:
        return None
    for entry in file.table(tables[0]):
        if entry["id"] == number and str(entry["name"]).strip() == "PhotoCalib" and entry["cat.archive"] in tables:
            row = file.table(tables[entry["cat.archive"]])[entry["row0"]]
            constant = bool(row["flags"][0]) and "version" in row.array.names and row["version"] >= 1
            return float(row["calibrationMean"]) if constant and row["calibrationMean"] > 0 else None
    return None
