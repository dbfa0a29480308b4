"""Distances in a flat universe with H0 = 70 km/s/Mpc and Omega_m = 0.3, and the quasar counts that follow."""

from __future__ import annotations

from functools import cache

import numpy as np

from skymill.survey.simulated.bands import Array

HUBBLE_DISTANCE = 299792.458 / 70
"""Mpc."""
GRID = np.linspace(0, 6.5, 2601)
FAINTEST = 26.0
"""Faintest i magnitude (extinction-free) of the population."""


@cache
def _comoving() -> Array:
    rate = 1 / np.sqrt(0.3 * (1 + GRID) ** 3 + 0.7)
    return np.concatenate([[0.0], HUBBLE_DISTANCE * np.cumsum((rate[1:] + rate[:-1]) / 2 * np.diff(GRID))])


def comoving_distance(redshift: Array) -> Array:
    """Give the comoving distance in Mpc."""
    return np.interp(redshift, GRID, _comoving())


def distance_modulus(redshift: Array) -> Array:
    """Give 5 log10(luminosity distance / 10 pc)."""
    return 5 * np.log10(comoving_distance(redshift) * (1 + redshift)) + 25


def arcsec_per_kpc(redshift: Array) -> Array:
    """Give the angle under which 1 kpc is seen."""
    return 206264.806 / 1000 * (1 + redshift) / comoving_distance(redshift)


def quasar_luminosity_function(absolute: Array, redshift: Array) -> Array:
    """Give quasars per Mpc^3 and magnitude at M_g(z=2) (fits of Palanque-Delabrouille et al. 2013, A&A 551, A29)."""
    late = redshift < 2.2
    alpha, beta = np.where(late, -3.50, -3.19), np.where(late, -1.43, -1.17)
    k1, k2 = np.where(late, 0.03, -0.35), np.where(late, -0.34, -0.02)
    brighter = absolute - (-26.36 - 2.5 * (k1 * (redshift - 2.2) + k2 * (redshift - 2.2) ** 2))
    return 10**-5.89 / (10 ** (0.4 * (alpha + 1) * brighter) + 10 ** (0.4 * (beta + 1) * brighter))


@cache
def quasar_counts() -> tuple[Array, Array, Array]:
    """Give the grid of i magnitude, of redshift, and the cumulative share of quasars over (i, z), flattened.

    The nucleus is a power law F_nu ~ nu^-0.5: g - i = 0.24 and M_g(z=2) = i + 0.24 - DM + 1.25 log10((1 + z) / 3).
    """
    magnitude, redshift = np.arange(16.0, FAINTEST, 0.05), np.arange(0.1, 5.5, 0.025)
    m, z = np.meshgrid(magnitude + 0.025, redshift + 0.0125, indexing="ij")
    absolute = m + 0.24 - distance_modulus(z) + 1.25 * np.log10((1 + z) / 3)
    volume = comoving_distance(z) ** 2 / np.sqrt(0.3 * (1 + z) ** 3 + 0.7)
    share = np.cumsum((quasar_luminosity_function(absolute, z) * volume).ravel())
    return magnitude, redshift, share / share[-1]
