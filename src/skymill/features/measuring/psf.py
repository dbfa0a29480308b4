"""The profile of a point source at any position between pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skymill.survey.images.tile import Psf

SIGMA_TO_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))
SPLINE = 5
"""Degree of the splines that images of the point-spread function are interpolated with."""
TAPS = 4
"""Coefficients on each side that make a value of a spline that is moved by at most a pixel."""


def is_usable(psf: Psf | None) -> bool:
    """Say whether a point-spread function is there and makes sense."""
    if psf is None or not (np.isfinite(psf.fwhm_px) and psf.fwhm_px > 0):
        return False
    return psf.image is None or bool(np.isfinite(psf.image).all() and psf.image.sum() > 0)


def profiles(psf: Psf, dx: NDArray[np.float64], dy: NDArray[np.float64], half: int) -> NDArray[np.float32]:
    """Give the share of a point source's flux that falls into each pixel around it.

    A Gaussian is taken at the pixels' centres: the width of a point-spread function is that of stars on the image, what
    the pixels do to it included. An image of it is interpolated by splines.

    Parameters
    ----------
    psf : Psf
    dx, dy : ndarray of float64, (n,)
        Offset of the source from the middle pixel.
    half : int
        Pixels on each side of the middle one.

    Returns
    -------
    ndarray of float32, (n, 2 half + 1, 2 half + 1)
    """
    pixels = np.arange(-half, half + 1)
    if psf.image is None:
        x, y = _gaussian(pixels - dx[:, None], psf.fwhm_px), _gaussian(pixels - dy[:, None], psf.fwhm_px)
        return y[:, :, None] * x[:, None, :]
    return shifted(np.asarray(psf.image / psf.image.sum(), dtype=np.float32)[None], dx, dy, half)


def shifted(
    images: NDArray[np.float32], dx: NDArray[np.float64], dy: NDArray[np.float64], half: int | None = None
) -> NDArray[np.float32]:
    """Move images by parts of a pixel.

    Parameters
    ----------
    images : ndarray of float32, (n or 1, k, k)
        k odd; one image serves all.
    dx, dy : ndarray of float64, (n,)
        By how much, px; at most one.
    half : int, optional
        Half-width of what is given back; that of the images if not given.

    Returns
    -------
    ndarray of float32, (n, 2 half + 1, 2 half + 1)
    """
    from scipy.ndimage import spline_filter1d

    reach = images.shape[1] // 2
    half = reach if half is None else half
    coefficients = images
    for axis in (1, 2):
        coefficients = spline_filter1d(coefficients, SPLINE, axis, output=np.float32, mode="constant")
    margin = max(half + TAPS - reach, 0)
    coefficients = np.pad(coefficients, [(0, 0), (margin, margin), (margin, margin)])
    first = reach + margin - half - TAPS
    inner = coefficients[:, first : first + 2 * (half + TAPS) + 1, first : first + 2 * (half + TAPS) + 1]
    size = 2 * half + 1
    windows = np.lib.stride_tricks.sliding_window_view(inner, (size, size), axis=(1, 2))  # (n, taps, taps, k, k)
    weights = _spline(dy)[:, ::-1, None] * _spline(dx)[:, None, ::-1]  # (n, taps, taps)
    moved = weights.reshape(len(dx), 1, -1) @ windows.reshape(len(images), -1, size * size)
    return moved.reshape(len(dx), size, size).astype(np.float32, copy=False)


def _spline(shift: NDArray[np.float64]) -> NDArray[np.float32]:
    """Give the weights of the coefficients on both sides with which a spline is moved by at most a pixel, (n, taps)."""
    from scipy.interpolate import BSpline

    support = (SPLINE + 1) / 2
    basis = BSpline.basis_element(np.arange(-support, support + 1), extrapolate=False)
    weights: NDArray[np.float32] = np.nan_to_num(basis(np.arange(-TAPS, TAPS + 1) - shift[:, None])).astype(np.float32)
    return weights


def _gaussian(offset: NDArray[np.float64], fwhm_px: float) -> NDArray[np.float32]:
    value = np.exp(-0.5 * np.square(offset * (SIGMA_TO_FWHM / fwhm_px)))
    total = value.sum(axis=1, keepdims=True)
    return (value / total).astype(np.float32)
