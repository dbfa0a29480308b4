"""What the telescope does to the light: point-spread function, noise and full well of each band."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import galsim
import numpy as np
from numpy.typing import NDArray

from skymill.config.images import RenderSettings
from skymill.survey.rendered.grid import Array
from skymill.survey.simulated.bands import BANDS, flux_of
from skymill.survey.simulated.observe import FWHM_TO_SIGMA, PIXEL_ARCSEC, noise

DEPTH = {"u": 26.1, "g": 27.4, "r": 27.5, "i": 26.8, "z": 26.1, "y": 24.9}
"""AB magnitude of a point source at 5 sigma after ten years (Ivezic et al. 2019, ApJ 873, 111, table 2)."""
VISITS = {"u": 56, "g": 80, "r": 184, "i": 184, "z": 160, "y": 160}
"""In ten years (the same, table 1)."""
GAMMA = {"u": 0.038, "g": 0.039, "r": 0.039, "i": 0.039, "z": 0.039, "y": 0.039}
SATURATION = {"u": 15.45, "g": 16.45, "r": 16.55, "i": 16.55, "z": 16.05, "y": 14.65}
"""AB magnitude of a star whose brightest pixel fills the well in a visit of 30 s: the project's 14.7, 15.7, 15.8, 15.8,
15.3, 13.9 for 15 s, and 0.75 mag."""
BETA = 3.0
"""Of the Moffat profile."""
PSF_PX = 61
"""Side of the images of the PSF: 0.05 % of the light falls beyond."""
SEEING_SCATTER, ROUNDNESS = 0.03, 0.01
"""Relative scatter of the width from field to field and band to band; of each component of the shear."""
ACCURATE = galsim.GSParams(maxk_threshold=1e-6, folding_threshold=1e-4, maximum_fft_size=16384)
OPTICS = 50
"""Purpose of a random stream."""


@dataclass(frozen=True)
class Optics:
    """The bands' point-spread functions, noise and full well; arrays are (6,), in the order ugrizy.

    Attributes
    ----------
    psf : tuple of galsim.GSObject
        Of flux 1, without the pixel.
    fwhm_px : ndarray
    images : ndarray of float32, (6, PSF_PX, PSF_PX)
        The PSF with the pixel, centred, of sum 1.
    m5 : ndarray
        AB magnitude of a point source at 5 sigma.
    sigma : ndarray
        Noise of a pixel of empty sky, nJy: photons and read noise together.
    photon : ndarray
        Variance that a source's light adds, nJy^2 per nJy.
    full_well : ndarray
        The most a pixel can hold, nJy.
    """

    psf: tuple[galsim.GSObject, ...]
    fwhm_px: Array
    images: NDArray[np.float32]
    m5: Array
    sigma: Array
    photon: Array
    full_well: Array

    @property
    def peak(self) -> Array:
        """Share of a star's light that its brightest pixel holds where the star is centred on it."""
        return np.asarray(self.images.max(axis=(1, 2)), dtype=np.float64)

    @property
    def scale_px(self) -> Array:
        """The Moffat profiles' scale radius."""
        return self.fwhm_px / (2 * np.sqrt(2 ** (1 / BETA) - 1))


@lru_cache(maxsize=8)
def optics(settings: RenderSettings) -> Optics:
    """Give the optics of a field.

    Widths are those of the simulated catalogue with 3 % of scatter. The noise is white, and such that the error of an
    optimal (PSF-weighted) flux is a fifth of the flux at `m5`. Its photons' part follows Ivezic et al. (2019, eq. 5):
    (0.04 - gamma) f5 per nJy in a visit, f5 its depth, and one over the number of visits of that in the coadd.
    """
    rng = np.random.default_rng([settings.seed, OPTICS])
    fwhm = noise().psf_sigma_px / FWHM_TO_SIGMA * np.exp(SEEING_SCATTER * rng.standard_normal(len(BANDS)))
    shear = ROUNDNESS * rng.standard_normal((len(BANDS), 2))
    psf = tuple(
        galsim.Moffat(beta=BETA, fwhm=width * PIXEL_ARCSEC, gsparams=ACCURATE).shear(g1=g1, g2=g2)
        for width, (g1, g2) in zip(fwhm, shear)
    )
    images = np.stack([one.drawImage(nx=PSF_PX, ny=PSF_PX, scale=PIXEL_ARCSEC, dtype=np.float64).array for one in psf])
    images /= images.sum(axis=(1, 2), keepdims=True)
    m5 = np.array([DEPTH[band] for band in BANDS]) + 1.25 * np.log10(settings.years / 10)
    visits = np.array([VISITS[band] for band in BANDS]) * settings.years / 10
    limit = flux_of(m5)
    photon = (0.04 - np.array([GAMMA[band] for band in BANDS])) * limit / np.sqrt(visits)
    sky_variance = (limit / 5) ** 2 - photon * limit
    return Optics(
        psf=psf,
        fwhm_px=fwhm,
        images=images.astype(np.float32),
        m5=m5,
        sigma=np.sqrt(sky_variance * (images**2).sum(axis=(1, 2))),
        photon=photon,
        full_well=flux_of(np.array([SATURATION[band] for band in BANDS])) * images.max(axis=(1, 2)),
    )
