"""Asinh magnitudes of fluxes in nJy: defined for zero and negative fluxes too.

Lupton, Gunn & Szalay 1999, AJ 118, 1406, with the softening b as a flux in nJy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

ZERO_POINT = 31.4
"""AB magnitude of 1 nJy, as Rubin rounds it (exactly: 31.4001)."""
POGSON = 2.5 / np.log(10.0)


def asinh_magnitude(flux: ArrayLike, softening: ArrayLike) -> NDArray[np.float64]:
    """Give asinh magnitudes, ``31.4 - 1.0857 (asinh(f / 2b) + ln b)``.

    Parameters
    ----------
    flux : array_like, (n, bands)
        nJy.
    softening : array_like, (bands,)
        b in nJy, about the 1-sigma error of a faint source. For f >> b the result is the usual AB magnitude.

    Returns
    -------
    ndarray of float64, (n, bands)
        Magnitudes; NaN where the flux is NaN.
    """
    b = np.asarray(softening, dtype=np.float64)
    return ZERO_POINT - POGSON * (np.arcsinh(np.asarray(flux, dtype=np.float64) / (2.0 * b)) + np.log(b))


def asinh_magnitude_error(flux: ArrayLike, error: ArrayLike, softening: ArrayLike) -> NDArray[np.float64]:
    """Carry 1-sigma flux errors to asinh magnitudes: ``1.0857 e / sqrt(f^2 + 4 b^2)``, the derivative times the error.

    Parameters
    ----------
    flux, error : array_like, (n, bands)
        nJy.
    softening : array_like, (bands,)
        b in nJy.

    Returns
    -------
    ndarray of float64, (n, bands)
        Magnitudes; NaN where either is NaN.
    """
    b = np.asarray(softening, dtype=np.float64)
    return POGSON * np.asarray(error, dtype=np.float64) / np.hypot(np.asarray(flux, dtype=np.float64), 2.0 * b)


def deredden(flux: ArrayLike, ebv: ArrayLike, coefficients: ArrayLike) -> NDArray[np.float64]:
    """Give the flux that would be seen without the dust of the Galaxy: ``f 10^(0.4 A)``, ``A = coefficient x E(B-V)``.

    Works on errors as on fluxes, and on negative fluxes as on positive ones; a source brightens by A magnitudes.

    Parameters
    ----------
    flux : array_like, (n, bands)
    ebv : array_like, (n,)
        E(B-V) in magnitudes.
    coefficients : array_like, (bands,)
        A_band / E(B-V).

    Returns
    -------
    ndarray of float64, (n, bands)
    """
    absorbed = np.asarray(ebv, dtype=np.float64)[:, None] * np.asarray(coefficients, dtype=np.float64)
    return np.asarray(flux, dtype=np.float64) * 10.0 ** (0.4 * absorbed)
