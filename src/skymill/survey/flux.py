"""Fluxes and magnitudes of any unit to nJy."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from skymill.config.survey import Photometry


AB_ZERO_POINT = 31.4
"""AB magnitude of 1 nJy (Oke & Gunn 1983: m = 8.90 - 2.5 log10(f/Jy))."""
NJY_PER_UNIT = {"nJy": 1.0, "uJy": 1e3, "mJy": 1e6, "Jy": 1e9, "nanomaggy": 3631.0}
POGSON = 2.5 / np.log(10.0)


class Fluxes(NamedTuple):
    """Fluxes of one band, each (n,)."""

    flux: NDArray[np.float32]  # nJy, NaN = not measured
    error: NDArray[np.float32]  # nJy, NaN = not known
    not_detected: NDArray[np.bool_]


def fluxes(
    values: NDArray[np.generic], errors: NDArray[np.generic] | None, photometry: Photometry, band: str
) -> Fluxes:
    """Convert one band's columns to nJy.

    Parameters
    ----------
    values, errors : array or masked array, (n,)
        In the unit of `photometry`; `errors` None where the survey gives none.
    photometry : Photometry
    band : str

    Returns
    -------
    Fluxes
        A code of `photometry.missing`, an empty, NaN, infinite or overflowing value gives NaN. A code of
        `photometry.not_detected` gives flux 0 and error NaN. An error that is not positive and finite gives NaN.
    """
    raw = np.ma.getdata(values)
    not_detected = is_code(raw, photometry.not_detected) & ~np.ma.getmaskarray(values)
    value = cleaned(values, photometry.missing)
    error = np.full(len(value), np.nan) if errors is None else cleaned(errors, photometry.missing)
    value[not_detected] = np.nan
    with np.errstate(over="ignore", invalid="ignore"):
        flux64, error64 = _convert(value, error, photometry, band)
        flux, flux_error = flux64.astype(np.float32), error64.astype(np.float32)
    flux[~np.isfinite(flux)] = np.nan
    flux[not_detected] = 0.0
    flux_error[~(np.isfinite(flux_error) & (flux_error > 0) & np.isfinite(flux)) | not_detected] = np.nan
    return Fluxes(flux, flux_error, not_detected)


def cleaned(values: NDArray[np.generic], codes: list[float]) -> NDArray[np.float64]:
    """Give values as float64 with NaN for what is empty, infinite or a code."""
    raw = np.ma.getdata(values)
    clean = np.array(raw, dtype=np.float64)
    clean[np.ma.getmaskarray(values) | ~np.isfinite(clean) | is_code(raw, codes)] = np.nan
    return clean


def is_code(values: NDArray[np.generic], codes: list[float]) -> NDArray[np.bool_]:
    """Tell which values are one of the codes, to float32 precision: 98.99 may have been stored either way."""
    if not codes:
        return np.zeros(len(values), dtype=bool)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.isin(np.asarray(values, dtype=np.float32), np.asarray(codes, dtype=np.float32))


def _convert(
    value: NDArray[np.float64], error: NDArray[np.float64], photometry: Photometry, band: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    offset = 10.0 ** (-0.4 * photometry.ab_offset.get(band, 0.0))
    if photometry.unit == "mag_ab":
        flux, error = ab_flux(value, error)
    elif photometry.unit == "mag_asinh":
        assert photometry.softening is not None  # the configuration demands it
        flux, error = asinh_flux(value, error, photometry.softening[band])
    else:
        factor = _linear_factor(photometry, band)
        flux, error = value * factor, error * factor
    return flux * offset, error * offset


def ab_flux(magnitude: NDArray[np.float64], error: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Invert m = 31.4 - 2.5 log10(f/nJy); errors to first order."""
    flux = 10.0 ** (0.4 * (AB_ZERO_POINT - magnitude))
    return flux, flux * error / POGSON


def asinh_flux(
    magnitude: NDArray[np.float64], error: NDArray[np.float64], softening: float
) -> tuple[NDArray[np.float64], ...]:
    """Invert an asinh magnitude (Lupton, Gunn & Szalay 1999, AJ 118, 1406): f = 2 b f0 sinh(-m / 1.0857 - ln b)."""
    scale = 2.0 * softening * 10.0 ** (0.4 * AB_ZERO_POINT)
    argument = -magnitude / POGSON - np.log(softening)
    return scale * np.sinh(argument), scale * np.cosh(argument) * error / POGSON


def _linear_factor(photometry: Photometry, band: str) -> float:
    if photometry.unit != "count":
        return NJY_PER_UNIT[photometry.unit]
    zero_point = photometry.zero_point
    magnitude = zero_point[band] if isinstance(zero_point, dict) else zero_point
    assert magnitude is not None  # the configuration demands it
    return float(10.0 ** (0.4 * (AB_ZERO_POINT - magnitude)))
