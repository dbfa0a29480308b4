"""Point-spread functions from the models that surveys ship: PSFEx files, and the psField files of SDSS.

Either is a table of a FITS file, is known by its columns, and gives an image of the PSF at any pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from skymill.survey.images.fits_files import FitsFile, Unit
from skymill.survey.images.psf import resampled_image
from skymill.survey.images.tile import ImageError

PSFEX, SDSS = "PSF_MASK", "RROWS"
"""Columns that tell the models apart."""
SDSS_FILTERS = "u g r i z"
"""The order of a psField file's extensions where its primary header does not say it."""
SDSS_SCALE = 0.001
"""By which rows and columns are multiplied in the polynomials of SDSS."""
SDSS_FIELD = 6
"""Extension of a psField file that describes the whole field, all bands."""
WINGS_px = 7.5
"""Radius to which the images of SDSS have the profile of bright stars: 3 arcsec."""
STEPS_px = (0.05, 5.0)
"""Steps of a PSFEx model that are believed; real files have 0.2 to 2 px."""
MAX_DEGREE = 10
"""Of the polynomial of a PSFEx model."""


def model_table(file: FitsFile, wanted: str | int | None, band: str) -> Unit | None:
    """Find the table of a PSF model.

    Parameters
    ----------
    file : FitsFile
    wanted : str or int, optional
        Extension that the settings name.
    band : str
        As the files spell it; of the extensions of a psField file, that of the band is taken.

    Returns
    -------
    Unit or None
        None where the file, or the extension that is wanted, holds an image in place of a model.

    Raises
    ------
    ImageError
        If there is neither, if it is the model of another band, or if there are several to choose from.
    """
    units = list(file.units) if wanted is None else [file.find(wanted)]
    models = [unit for unit in units if {PSFEX, SDSS} & _columns(unit)]
    if models and SDSS in _columns(models[0]):
        return _of_band(file, models[0] if wanted is not None else None, band)
    if len(models) > 1:
        raise ImageError(
            f"{file.path}: expected the PSF model of one detector, found {len(models)}, in the extensions "
            f"{', '.join(str(unit.index) for unit in models)}; name one by `hdu`"
        )
    if not models and not any(unit.shape for unit in units):
        raise ImageError(
            f"{file.path}: expected an image of the PSF, or a table with the column {PSFEX} (PSFEx) or {SDSS} (SDSS "
            f"psField), found {', '.join(map(str, units))}; correct `hdu` or the pattern"
        )
    return models[0] if models else None


def model_image(file: FitsFile, unit: Unit, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate a PSF model, and take the mean over places.

    Parameters
    ----------
    file : FitsFile
    unit : Unit
        Of `model_table`.
    places : ndarray of float64, (n, 2)
        Rows and columns, counted from 0.

    Returns
    -------
    ndarray of float64, (k, k)
        On the image's own pixels, k odd, centred on the middle one.

    Raises
    ------
    ImageError
        If the table is not such as PSFEx or SDSS write it.
    """
    kind = "SDSS" if SDSS in _columns(unit) else "PSFEx"
    try:
        if kind == "PSFEx":
            return _psfex(unit.header, file.table(unit), places)
        field = file.table(file.find(SDSS_FIELD))[0]
        return _with_wings(_sdss(file.table(unit), places), field, unit.index - 1)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(
            f"{file.path}[{unit.index}]: expected a PSF model as {kind} writes it, found one that is not "
            f"({str(error.args[0]).splitlines()[0]}); correct `hdu`, or fetch the file again"
        ) from error


def _of_band(file: FitsFile, wanted: Unit | None, band: str) -> Unit:
    """Find a band's extension of a psField file; the primary header tells their order."""
    filters = str(file.find(0).header.get("FILTERS", SDSS_FILTERS)).split()
    if band not in filters:
        raise ImageError(
            f"{file.path}: expected the PSF of band '{band}', found those of {', '.join(filters)}; correct band_names, "
            "or leave the band out"
        )
    unit = file.find(filters.index(band) + 1)
    if wanted is not None and wanted.index != unit.index:
        raise ImageError(
            f"{file.path}: expected the PSF of band '{band}' in extension {unit.index}, as the order of FILTERS, "
            f"{' '.join(filters)}, has it, found `hdu` {wanted.index}; leave `hdu` out"
        )
    return unit


def _columns(unit: Unit) -> set[str]:
    """Names of a table's columns, in capitals."""
    return {str(value).strip().upper() for value in unit.header["TTYPE*"].values()}


def _psfex(header: fits.Header, table: Any, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate a model of PSFEx (Bertin 2011, ASP Conf. 442, 435; manual, "The PSF model file").

    The PSF is sum_k p_k(x, y) M_k, with the images M_k of PSF_MASK and the products p_k of powers of
    (x - POLZERO1) / POLSCAL1 and (y - POLZERO2) / POLSCAL2 whose degrees sum to POLDEG1 at most, the power of the first
    axis growing fastest; x and y are counted from 1. A step of M_k is PSF_SAMP pixels wide.
    """
    if len(table) != 1:
        raise ValueError(f"{len(table)} rows in place of one")
    cards = _cards(header, table)
    terms = _polynomial(cards, {"Y": places[:, 0] + 1, "X": places[:, 1] + 1})
    width, height = int(cards("PSFAXIS1")), int(cards("PSFAXIS2"))
    masks = np.asarray(table[PSFEX][0], dtype=np.float64).reshape(-1, height, width)  # (terms, height, width)
    if len(masks) != len(terms):
        raise ValueError(f"{len(masks)} images for a polynomial of {len(terms)} terms")
    step = float(cards("PSF_SAMP"))
    if not STEPS_px[0] <= step <= STEPS_px[1]:
        raise ValueError(f"PSF_SAMP = {step:g}, not within {STEPS_px[0]:g} and {STEPS_px[1]:g}")
    image = np.tensordot(terms, masks, axes=1)
    odd = np.pad(image, [(0, 1 - height % 2), (0, 1 - width % 2)])  # an even one is centred behind its middle
    return odd if step == 1 else resampled_image(odd, np.eye(2) / step)


def _cards(header: fits.Header, table: Any) -> Callable[[str], Any]:
    """Give PSFEx's cards by name; the Legacy Surveys write them as columns of the table's one row."""
    columns = {name.upper() for name in table.names}
    return lambda name: table[name][0] if name in columns else header[name]


def _polynomial(cards: Callable[[str], Any], places: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Give the terms of PSFEx's polynomial, the mean over places, (terms,); of a constant PSF there is one, 1."""
    axes = range(1, int(cards("POLNAXIS")) + 1)
    if not axes:
        return np.ones(1)
    names = [str(cards(f"POLNAME{axis}")).strip().upper() for axis in axes[:3]]
    if len(axes) > 2 or not all(name[:1] in places and name.endswith("IMAGE") for name in names):
        raise ValueError(f"a polynomial in {', '.join(names)}, where only x and y are known")
    degree = int(cards("POLDEG1"))
    if int(cards("POLNGRP")) != 1 or not 0 <= degree <= MAX_DEGREE:
        raise ValueError(f"POLNGRP = {cards('POLNGRP')}, POLDEG1 = {degree}, not 1 and at most {MAX_DEGREE}")
    scaled = [
        (places[name[0]] - float(cards(f"POLZERO{axis}"))) / float(cards(f"POLSCAL{axis}"))
        for axis, name in zip(axes, names)
    ]
    powers = [each[::-1] for each in product(range(degree + 1), repeat=len(axes)) if sum(each) <= degree]
    return np.array([np.mean(math.prod(map(pow, scaled, each))) for each in powers])


def _sdss(table: Any, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate a model of SDSS (https://www.sdss.org/dr16/algorithms/read_psf).

    The PSF is sum_k a_k R_k, with the images R_k of RROWS and a_k = sum_ij c_kij (0.001 row)^i (0.001 column)^j, of
    which there are `nrow_b` by `ncol_b` terms; what else is in `c` is not set.
    """
    row, column = SDSS_SCALE * places.T
    n_rows, n_columns = table["c"].shape[1:]
    powers = np.vander(row, n_rows, increasing=True).T @ np.vander(column, n_columns, increasing=True) / len(places)
    weights = [(each["c"] * powers)[: each["nrow_b"], : each["ncol_b"]].sum() for each in table]
    images = np.stack(list(table["RROWS"])).reshape(len(table), table["RNROW"][0], table["RNCOL"][0])
    return np.tensordot(weights, images, axes=1)


def _with_wings(image: NDArray[np.float64], field: Any, band: int) -> NDArray[np.float64]:
    """Give a PSF of SDSS the wings that bright stars have and its images hardly: 2 % of the light is there.

    They are those of the field's composite profile (extension 6; SDSS's data model of psField files has its form),
    exp(-r^2 / 2 sigma1^2) + b exp(-r^2 / 2 sigma2^2) + p0 (1 + r^2 / beta sigmap^2)^(-beta / 2), which also tells how
    much of the light lies within.
    """
    names = ("sigma1", "sigma2", "b", "p0", "beta", "sigmap")
    sigma1, sigma2, b, p0, beta, sigmap = (float(field[f"psf_{name}"][band]) for name in names)
    y, x = np.ogrid[: image.shape[0], : image.shape[1]]
    square = np.square(y - image.shape[0] // 2) + np.square(x - image.shape[1] // 2)
    power = (1 + square / (beta * sigmap**2)) ** (-beta / 2)
    profile = np.exp(-square / (2 * sigma1**2)) + b * np.exp(-square / (2 * sigma2**2)) + p0 * power
    core = square <= WINGS_px**2
    return np.where(core, image * (profile[core].sum() / image[core].sum()), profile)
