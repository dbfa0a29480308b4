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
AB_FLUX_nJy = 3.631e12
"""Flux of AB magnitude 0."""
LSST_SOFTENING_nJy = {"u": 27.5, "g": 8.3, "r": 7.6, "i": 14.4, "z": 27.5, "y": 83.0}
"""1.042 times the error of a point source in the ten-year coadds, 5-sigma depths 26.1, 27.4, 27.5, 26.8, 26.1, 24.9
(Ivezic et al. 2019, ApJ 873, 111, table 2); 1.042 is the choice of Lupton et al. 1999, section 3."""


class Fluxes(NamedTuple):
    """Fluxes of one band, each (n,)."""

    flux: NDArray[np.float32]  # nJy, NaN = not measured
    error: NDArray[np.float32]  # nJy, NaN = not known
    not_detected: NDArray[np.bool_]


def softening_nJy(photometry: Photometry) -> dict[str, float]:
    """Give the softening of asinh magnitudes per band: the survey's own, else that of LSST after ten years."""
    if photometry.softening is None:
        return dict(LSST_SOFTENING_nJy)
    return {band: b * AB_FLUX_nJy for band, b in photometry.softening.items()}


def fluxes(
    values: NDArray[np.generic], errors: NDArray[np.generic] | None, photometry: Photometry, band: str
) -> Fluxes:
    """Convert one band's columns to nJy.

    Parameters
    ----------
    values, errors : array or masked array, (n,)
        In the unit of `photometry`; `errors` are inverse variances where it says so, None where the survey gives none.
    photometry : Photometry
    band : str

    Returns
    -------
    Fluxes
        A code of `photometry.missing`, an empty, NaN, infinite or overflowing value gives NaN. A code of
        `photometry.not_detected` gives flux 0 and error NaN. An error that is not positive and finite gives NaN; an
        inverse variance of 0 means that nothing was observed, and gives NaN for both.
    """
    raw = np.ma.getdata(values)
    not_detected = is_code(raw, photometry.not_detected) & ~np.ma.getmaskarray(values)
    value = cleaned(values, photometry.missing)
    error = np.full(len(value), np.nan) if errors is None else cleaned(errors, photometry.missing)
    value[not_detected] = np.nan
    if photometry.inverse_variance:
        value[error == 0] = np.nan
        with np.errstate(divide="ignore", invalid="ignore"):
            error = 1.0 / np.sqrt(error)
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
    factor = unit_factor(photometry, band)
    if factor is not None:
        return value * factor, error * factor
    if photometry.unit == "mag_ab":
        flux, error = ab_flux(value, error)
    else:
        assert photometry.softening is not None  # the configuration demands it
        flux, error = asinh_flux(value, error, photometry.softening[band])
    offset = _ab_ratio(photometry, band)
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


def unit_factor(photometry: Photometry, band: str) -> float | None:
    """Give the nJy of one unit of a flux, its offset to AB included; None where the column holds magnitudes."""
    if photometry.unit.startswith("mag"):
        return None
    return _linear_factor(photometry, band) * _ab_ratio(photometry, band)


def _ab_ratio(photometry: Photometry, band: str) -> float:
    return float(10.0 ** (-0.4 * photometry.ab_offset.get(band, 0.0)))


def _linear_factor(photometry: Photometry, band: str) -> float:
    if photometry.unit != "count":
        return NJY_PER_UNIT[photometry.unit]
    zero_point = photometry.zero_point
    magnitude = zero_point[band] if isinstance(zero_point, dict) else zero_point
    assert magnitude is not None  # the configuration demands it
    return float(10.0 ** (0.4 * (AB_ZERO_POINT - magnitude)))
