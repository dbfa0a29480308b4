"""Magnitudes of redshifted spectra: intergalactic absorption, dust, and tables over redshift and type."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from skymill.survey.simulated.bands import LN_BLUE, LN_RED, STEP, Array, band_weights, wavelengths

Z_MAX = 6.0
REST_BLUE = LN_BLUE - np.log1p(Z_MAX) - STEP
LYMAN_LIMIT = 911.75
LYMAN_SERIES = ((1215.67, 0.0036), (1025.72, 0.0017), (972.54, 0.0011846), (949.74, 0.0009410))
"""Wavelength and coefficient of the lines of Madau (1995, ApJ 441, 18)."""


def rest_wavelengths() -> Array:
    """Give the rest-frame grid in Angstrom: the observed grid continued to the blue."""
    return np.exp(REST_BLUE + STEP * np.arange(int((LN_RED - REST_BLUE) / STEP) + 2))


def redshift_grid() -> Array:
    """Give the redshifts of the tables, (k,), equal steps in ln(1 + z)."""
    return np.expm1(np.arange(0, np.log1p(Z_MAX), STEP))


def transmission(redshift: Array, observed: Array) -> Array:
    """Give the mean transmission of the intergalactic medium.

    Line blanketing by Lyman alpha to delta, and photoelectric absorption in the approximation of footnote 3
    of Madau (1995, ApJ 441, 18).

    Parameters
    ----------
    redshift : ndarray, (k, 1) or scalar
    observed : ndarray, (w,)
        Angstrom.

    Returns
    -------
    ndarray, (k, w)
        Between 0 and 1.
    """
    emitted = 1 + np.asarray(redshift)
    depth = np.zeros(np.broadcast_shapes(emitted.shape, observed.shape))
    for wavelength, coefficient in LYMAN_SERIES:
        absorber = observed / wavelength
        depth += np.where(absorber < emitted, coefficient * absorber**3.46, 0)
    xc = np.minimum(observed / LYMAN_LIMIT, emitted)
    continuum = (
        0.25 * xc**3 * (emitted**0.46 - xc**0.46)
        + 9.4 * xc**1.5 * (emitted**0.18 - xc**0.18)
        - 0.7 * xc**3 * (xc**-1.32 - emitted**-1.32)
        - 0.023 * (emitted**1.68 - xc**1.68)
    )
    return np.asarray(np.exp(-depth - np.maximum(continuum, 0)))


def calzetti(wavelength: Array) -> Array:
    """Give A(lambda) / E(B-V) of starburst dust (Calzetti et al. 2000, ApJ 533, 682), rest-frame Angstrom.

    Outside 1200 to 22000 Angstrom the curve is held at its ends.
    """
    x = 1e4 / np.clip(wavelength, 1200, 22000)
    blue = 2.659 * (-2.156 + 1.509 * x - 0.198 * x**2 + 0.011 * x**3) + 4.05
    red = 2.659 * (-1.857 + 1.040 * x) + 4.05
    return np.where(wavelength < 6300, blue, red)


def small_magellanic(wavelength: Array) -> Array:
    """Give A(lambda) / E(B-V) of quasar dust, 1.39 lambda^-1.2 in micron (Prevot et al. 1984, A&A 132, 389)."""
    return 1.39 * (np.clip(wavelength, 900, None) / 1e4) ** -1.2


@dataclass(frozen=True)
class MagnitudeTable:
    """Magnitudes over (redshift, type, band), up to one constant."""

    magnitudes: Array  # (k, t, 6)
    types: Array  # (t,), equal steps

    def __call__(self, redshift: Array, kind: Array) -> Array:
        """Interpolate bilinearly in ln(1 + z) and type; arguments outside the table are held at its edge.

        Returns
        -------
        ndarray, (n, 6)
        """
        n_z, n_t, n_b = self.magnitudes.shape
        z = np.clip(np.log1p(redshift) / STEP, 0, n_z - 1.001)
        t = np.clip((kind - self.types[0]) / (self.types[1] - self.types[0]), 0, n_t - 1.001)
        row, column = z.astype(np.int64), t.astype(np.int64)
        dz, dt = (z - row)[:, None], (t - column)[:, None]
        flat = self.magnitudes.reshape(-1, n_b)
        corner = row * n_t + column
        low = flat[corner] * (1 - dt) + flat[corner + 1] * dt
        high = flat[corner + n_t] * (1 - dt) + flat[corner + n_t + 1] * dt
        return np.asarray(low * (1 - dz) + high * dz)


@cache
def _absorption() -> Array:
    return transmission(redshift_grid()[:, None], wavelengths())


def magnitudes_by_redshift(spectrum: Array) -> Array:
    """Give the six magnitudes, (k, 6), of one rest-frame F_lambda seen at every redshift of the grid.

    The flux is that of the spectrum moved in wavelength and diluted by (1 + z); the distance is left to the caller.
    """
    observed, weights = wavelengths(), band_weights()
    redshifts = redshift_grid()
    windows = np.lib.stride_tricks.sliding_window_view(spectrum, observed.size)
    start = round((LN_BLUE - REST_BLUE) / STEP)
    moved = windows[start - np.arange(redshifts.size)]  # (k, w)
    flux = (moved * _absorption()) @ weights.T / (1 + redshifts[:, None])
    return np.asarray(-2.5 * np.log10(np.maximum(flux, 1e-12 * flux.max())))
