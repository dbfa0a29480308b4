"""The point-spread function of a band, made of the tile's own stars where the survey gives its width alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from skymill.features.measuring.background import Sky
from skymill.features.measuring.light import Light
from skymill.features.measuring.psf import SIGMA_TO_FWHM, shifted
from skymill.features.measuring.stamps import Places, cut, mirrored
from skymill.survey.images.tile import Psf

LEAST_SNR = 50.0
"""Signal over noise of a star that serves."""
FEWEST, MOST = 5, 25
"""Stars that are needed, and that are used, the brightest."""
ALIKE = 0.1
"""Stars are alike in the logarithm of their size squared to within this."""
PLAUSIBLE = 2.5
"""Factor by which size squared may differ from what the survey says."""
REACH_FWHM = 5.0
"""Radius of the image of the point-spread function, in units of its width."""


def with_stars(
    psfs: Mapping[str, Psf],
    bands: Sequence[str],
    sky: Sky,
    places: Places,
    light: Light,
    clean: NDArray[np.bool_],
) -> dict[str, Psf]:
    """Give point-spread functions with images made of stars, where there are widths alone and stars enough.

    Stars are bright sources that stand alone, of the size at which sizes crowd most: galaxies have many sizes, stars
    one. The image is the median of the brightest, brought to the middle of a pixel and to one flux.

    Parameters
    ----------
    psfs : mapping of str to Psf
        By band.
    bands : sequence of str
        All of them, in the order of the arrays.
    sky : Sky
    places : Places
    light : Light
    clean : ndarray of bool, (n,)
        Sources that stand alone, with no flag.
    """
    made = dict(psfs)
    for index, band in enumerate(bands):
        if band not in psfs or psfs[band].image is not None:
            continue
        fwhm = psfs[band].fwhm_px
        flux, error = light.flux[0, :, index], light.error[0, :, index]
        snr = np.divide(flux, error, out=np.zeros_like(flux), where=error > 0)
        stars = _stars(np.flatnonzero(clean & ~light.shapes.failed & (snr > LEAST_SNR)), light, fwhm)
        if len(stars) >= FEWEST:
            brightest = stars[np.argsort(-snr[stars], kind="stable")[:MOST]]
            made[band] = _median(sky.pixels[index], sky.weight[index], places, light, np.sort(brightest), fwhm)
    return made


def _stars(candidates: NDArray[np.intp], light: Light, fwhm_px: float) -> NDArray[np.intp]:
    """Give the candidates that are of the size where most are."""
    size = np.log((light.shapes.xx + light.shapes.yy)[candidates] / (2 * (fwhm_px / SIGMA_TO_FWHM) ** 2))
    candidates, size = candidates[np.abs(size) < np.log(PLAUSIBLE)], size[np.abs(size) < np.log(PLAUSIBLE)]
    if not len(size):
        return candidates
    return candidates[np.abs(size - _half_sample_mode(np.sort(size))) < ALIKE]


def _half_sample_mode(values: NDArray[np.float64]) -> float:
    """Halve sorted values to where they are densest until few are left (Bickel & Fruehwirth 2006, CSDA 50, 3500)."""
    while len(values) > 3:
        count = (len(values) + 1) // 2
        start = int(np.argmin(values[count - 1 :] - values[: len(values) - count + 1]))
        values = values[start : start + count]
    return float(values.mean())


def _median(
    pixels: NDArray[np.float32],
    weight: NDArray[np.float32],
    places: Places,
    light: Light,
    stars: NDArray[np.intp],
    fwhm_px: float,
) -> Psf:
    """Lay stars on top of one another."""
    half = int(np.ceil(REACH_FWHM * fwhm_px))
    column, row = np.rint(light.x[stars]).astype(np.int64), np.rint(light.y[stars]).astype(np.int64)
    usable = places.theirs(stars, column, row, half) & (cut(weight, column, row, half) > 0)
    stamps = mirrored(cut(pixels, column, row, half), usable)
    centred = shifted(stamps, -(light.x[stars] - column), -(light.y[stars] - row))
    axis = np.arange(-half, half + 1)
    distance = np.hypot(axis, axis[:, None])
    core = centred * (distance <= 2 * fwhm_px)
    image = np.median(centred / core.sum(axis=(1, 2), keepdims=True), axis=0) * (distance <= half)
    size = float(np.median((light.shapes.xx + light.shapes.yy)[stars] / 2))
    return Psf(SIGMA_TO_FWHM * np.sqrt(size), (image / image.sum()).astype(np.float32))
