"""Whether a source is extended, and whether it is blended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from skymill.features.measuring.background import Sky
from skymill.features.measuring.fitting import PointFluxes
from skymill.features.measuring.psf import profiles
from skymill.features.measuring.shapes import moments
from skymill.survey.images.tile import Psf

SIZE_LIMIT = 1.15
"""Size squared, in units of a star's, from which a source is extended."""
SIZE_KNOWN = 0.05
"""Relative error of a star's size squared from what is not known of the point-spread function."""
SIZE_NOISE = np.sqrt(8.0)
"""Relative error of the size squared of a Gaussian source, times its signal over noise."""
STAMP_FWHM = 4
"""Half-width, in widths of the point-spread function, of the square on which a star is modelled."""


def star_size(psfs: Mapping[str, Psf], bands: Sequence[str], sky: Sky, fwhm_px: float) -> float:
    """Give xx + yy of a star on the detection image, px^2, measured as a source's; NaN where no PSF is known.

    The star is modelled as the detection image is made: the mean of the bands, by their weights.
    """
    half, centre = int(np.ceil(STAMP_FWHM * fwhm_px)), np.zeros(1)
    known = [band for index, band in enumerate(bands) if band in psfs and sky.present[index]]
    if not known:
        return np.nan
    stars = np.concatenate([profiles(psfs[band], centre, centre, half) for band in known])
    weight = np.array([1.0 / (sky.noise[band] * sky.correlation[band]) ** 2 for band in known])
    mean = np.einsum("b,bij->ij", weight / weight.sum(), stars).astype(np.float32)
    return float(sum(moments(mean, fwhm_px)[:2]))


def extendedness(
    size: NDArray[np.float64], star: float, psf_flux: NDArray[np.float64], psf_error: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Give the probability that a source is larger than a star: that its size squared is over 1.15 times a star's.

    The error of the size is that of a Gaussian source of the same signal over noise. A source too faint to tell is near
    0.5. (On simulated fields of LSST's density the size parts stars from galaxies better than the ratio of PSF and Kron
    flux does: neighbours that are too faint to be found brighten the one, and hardly widen the other.)

    Parameters
    ----------
    size : ndarray of float64, (n,)
        xx + yy, px^2; NaN where not measured.
    star : float
        The same of a star.
    psf_flux, psf_error : ndarray of float64, (n, bands)

    Returns
    -------
    ndarray of float64, (n,)
        0 to 1; NaN where the size or the PSF flux is not known.
    """
    from scipy.special import ndtr

    snr = np.divide(psf_flux, psf_error, out=np.full_like(psf_flux, np.nan), where=psf_error > 0)
    total = np.sqrt(np.nansum(np.square(snr), axis=1))
    error = np.divide(SIZE_NOISE, total, out=np.full(len(size), np.nan), where=total > 0)
    return np.asarray(ndtr((size / star - SIZE_LIMIT) / np.hypot(error, SIZE_KNOWN)))


def blendedness(points: Sequence[PointFluxes], sky: Sky) -> NDArray[np.float64]:
    """Give the share of the light under a source's profile that belongs to other sources, 0 to 1.

    The light is summed with the PSF as weight, its own part and all of it (after Bosch et al. 2018, PASJ 70, S5,
    section 4.9.11, with fluxes of the simultaneous fit in place of deblended images), over the bands in units of
    their noise.

    Returns
    -------
    ndarray of float64, (n,)
        NaN where no band has a PSF flux or there is no light.
    """
    own, seen = np.zeros(len(points[0].own)), np.zeros(len(points[0].own))
    for one, noise in zip(points, sky.noise.values(), strict=True):
        known = np.isfinite(one.own)
        own[known] += one.own[known] / noise**2
        seen[known] += one.seen[known] / noise**2
    others = np.divide(seen - own, seen, out=np.full(len(seen), np.nan), where=seen > 0)
    return np.clip(others, 0.0, 1.0)
