"""The LSST bandpasses and the grid of wavelengths on which all spectra are integrated."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import galsim
import numpy as np
from numpy.typing import NDArray

BANDS = ("u", "g", "r", "i", "z", "y")
STEP = 0.002
"""Step of the grids in ln(wavelength) and in ln(1 + z): a redshift is then a whole number of grid points."""
LN_BLUE, LN_RED = np.log(3000.0), np.log(11200.0)
"""Ends of the observed grid in Angstrom: the six bands lie within."""
AB_ZERO_POINT = 31.4
"""AB magnitude of 1 nJy."""

Array = NDArray[np.float64]


def share(name: str) -> Path:
    """Give the path of a file that GalSim ships."""
    return Path(galsim.meta_data.share_dir) / name


@cache
def wavelengths() -> Array:
    """Give the observed wavelengths in Angstrom, (w,), equal steps in the logarithm."""
    return np.exp(np.arange(LN_BLUE, LN_RED, STEP))


@cache
def band_weights() -> Array:
    """Give the weights, (6, w), that turn F_lambda on the grid into F_nu averaged over photons (up to a constant).

    f = integral(F_lambda T lambda dlambda) / integral(T dlambda / lambda), the AB definition
    (Fukugita et al. 1996, AJ 111, 1748).
    """
    grid = wavelengths()
    rows = []
    for band in BANDS:
        nm, throughput = np.loadtxt(share(f"bandpasses/LSST_{band}.dat"), unpack=True)
        response = np.interp(grid, 10 * nm, throughput, left=0, right=0)
        rows.append(response * grid**2 / response.sum())
    return np.array(rows)


@cache
def pivots() -> Array:
    """Give the pivot wavelength of each band in Angstrom, (6,)."""
    grid = wavelengths()
    response = band_weights() / grid**2  # already normalised: its sum is one
    return np.sqrt((response * grid**2).sum(1))


def flux_of(magnitudes: Array) -> Array:
    """Turn AB magnitudes into nJy."""
    return 10 ** (0.4 * (AB_ZERO_POINT - magnitudes))


def magnitude_of(flux: Array) -> Array:
    """Turn positive fluxes in nJy into AB magnitudes."""
    return AB_ZERO_POINT - 2.5 * np.log10(flux)
