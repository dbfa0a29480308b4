"""What LSST would measure of sources: fluxes with noise, PSF fluxes, second moments."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from photerr import LsstErrorModelV1

from skymill.survey.simulated.bands import BANDS, Array, flux_of
from skymill.survey.simulated.population import Sources

PIXEL_ARCSEC = 0.2
FWHM_TO_SIGMA = 1 / 2.3548200450309493
HALF_LIGHT_TO_SIGMA = 1 / 1.1774100225154747
"""Of a round Gaussian."""
COMMON_NOISE = 0.97
"""Correlation between the noise of the PSF flux and of the model flux: both see the same pixels."""
PSF_MODEL_ERROR = 0.01
"""Relative error of the size of the PSF model."""
U_VISITS_PER_YEAR = 2.0
"""Visits in u: fewer than planned, which gives the depth of the DC2 sample (docs/embedded_survey.md)."""

Measured = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Noise:
    """The error model of Ivezic et al. (2019, ApJ 873, 111, eq. 4-5) in nJy, per band.

    Variance = linear * flux + sky + (systematic * flux)^2.
    """

    linear: Array
    sky: Array
    systematic: float
    psf_sigma_px: Array

    def sigma(self, flux: Array, area: Array) -> Array:
        """Give the 1-sigma error of fluxes, (n, 6) nJy, of profiles that cover `area` times the PSF's pixels."""
        positive = np.maximum(flux, 0)
        return np.sqrt(area * (self.linear * positive + self.sky) + (self.systematic * positive) ** 2)


@cache
def error_model() -> LsstErrorModelV1:
    """Give photerr's model of ten years of LSST, with fewer visits in u."""
    visits = {"u": U_VISITS_PER_YEAR, "g": 8.0, "r": 18.4, "i": 18.4, "z": 16.0, "y": 16.0}
    return LsstErrorModelV1(nVisYr=visits, decorrelate=False)


@cache
def noise() -> Noise:
    """Give the coefficients of `error_model` in flux: photerr works in magnitudes, which negative fluxes have not."""
    params = error_model().params
    single = LsstErrorModelV1(nVisYr=1.0, nYrObs=1.0, sigmaSys=0.0).getLimitingMags()
    gamma = np.array([params.gamma[band] for band in BANDS])
    visits = np.array([params.nVisYr[band] * params.nYrObs for band in BANDS])
    limit = flux_of(np.array([single[band] for band in BANDS]))
    fwhm = np.array([params.theta[band] * params.airmass[band] ** 0.6 for band in BANDS])
    return Noise(
        linear=(0.04 - gamma) * limit / visits,
        sky=gamma * limit**2 / visits,
        systematic=10 ** (params.sigmaSys / 2.5) - 1,
        psf_sigma_px=fwhm * FWHM_TO_SIGMA / PIXEL_ARCSEC,
    )


def resolved_moments(sources: Sources) -> tuple[Array, Array, Array]:
    """Give the second moments xx, yy, xy in pixel^2, before the PSF, of the Gaussian that stands for each source."""
    bulge = sources.bulge_fraction * sources.bulge_radius**2 + (1 - sources.bulge_fraction) * sources.disc_radius**2
    major = (1 - sources.point_fraction) * bulge * (HALF_LIGHT_TO_SIGMA / PIXEL_ARCSEC) ** 2
    minor = major * sources.axis_ratio**2
    angle = np.radians(2 * sources.position_angle)
    mean, difference = (major + minor) / 2, (major - minor) / 2
    return mean + difference * np.cos(angle), mean - difference * np.cos(angle), difference * np.sin(angle)


def measure(sources: Sources, flux: Array, seeing: Array, rng: np.random.Generator) -> Measured:
    """Measure sources.

    Parameters
    ----------
    sources : Sources, n rows
    flux : ndarray, (n, 6)
        True total flux at the telescope in nJy.
    seeing : ndarray, (n,)
        Width of the PSF relative to the median.
    rng : numpy.random.Generator

    Returns
    -------
    dict of ndarray of float32, (n,)
        `{b}_psfFlux`, `{b}_cModelFlux` and their errors in nJy; `shape_xx/yy/xy` and the PSF model's
        `i_ixxPSF/iyyPSF/ixyPSF` in pixel^2. A PSF flux is that of the best-fitting Gaussian PSF: 2 P / (2 P + S) of the
        total, with P the PSF's and S the source's mean second moment. Errors are estimated from the noisy flux, as a
        survey has to.
    """
    model = noise()
    n = len(flux)
    xx, yy, xy = resolved_moments(sources)
    psf = (model.psf_sigma_px * seeing[:, None]) ** 2  # (n, 6)
    extra = ((xx + yy) / 2)[:, None] / psf
    area = seeing[:, None] ** 2 * (1 + extra)
    point = flux * 2 / (2 + extra)
    first, second = rng.standard_normal((2, n, 6), dtype=np.float32)
    psf_flux = point + model.sigma(point, seeing[:, None] ** 2) * first
    second = COMMON_NOISE * first + np.sqrt(1 - COMMON_NOISE**2) * second
    total_sigma = model.sigma(flux, area)
    total = flux + total_sigma * second
    measured: Measured = {}
    psf_error, total_error = model.sigma(psf_flux, seeing[:, None] ** 2), model.sigma(total, area)
    for k, band in enumerate(BANDS):
        for name, value in (
            ("psfFlux", psf_flux),
            ("psfFluxErr", psf_error),
            ("cModelFlux", total),
            ("cModelFluxErr", total_error),
        ):
            measured[f"{band}_{name}"] = value[:, k].astype(np.float32)
    moments = _measured_moments((xx, yy, xy), psf[:, 3], total_sigma[:, 3] / flux[:, 3], rng)
    return measured | {name: value.astype(np.float32) for name, value in moments.items()}


def _measured_moments(
    source: tuple[Array, Array, Array], psf: Array, relative_error: Array, rng: np.random.Generator
) -> dict[str, Array]:
    """Add the PSF and noise: 2 sigma_F / F in the relative size and in each ellipticity (Bernstein & Jarvis 2002)."""
    xx, yy, xy = source[0] + psf, source[1] + psf, source[2]
    trace = xx + yy
    size, plus, cross = rng.standard_normal((3, len(psf))) * 2 * np.minimum(relative_error, 2)
    noisy_trace = trace * np.exp(np.clip(size, -2, 2))
    e1, e2 = (xx - yy) / trace + plus, 2 * xy / trace + cross
    model = psf * (1 + PSF_MODEL_ERROR * rng.standard_normal(len(psf))) ** 2
    return {
        "shape_xx": noisy_trace * (1 + e1) / 2,
        "shape_yy": noisy_trace * (1 - e1) / 2,
        "shape_xy": noisy_trace * e2 / 2,
        "i_ixxPSF": model,
        "i_iyyPSF": model,
        "i_ixyPSF": 0 * model,
    }
