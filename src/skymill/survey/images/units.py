"""How many nJy a unit of the pixels is: declared, or read, never guessed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from skymill.config.images import ImageSettings
from skymill.survey.flux import AB_ZERO_POINT, NJY_PER_UNIT
from skymill.survey.images.tile import ImageError

SPELLINGS = {"nanomaggies": "nanomaggy", "nmgy": "nanomaggy", "nanojansky": "nJy", "counts": "count"}
"""Names in use that astropy does not know."""


def nJy_per_unit(
    settings: ImageSettings, band: str, where: str, *, bunit: Any = None, count_nJy: float | None = None
) -> float:
    """Give the factor that turns pixels into nJy.

    Parameters
    ----------
    settings : ImageSettings
        Its `unit` and `zero_point` go before what the file says.
    band : str
    where : str
        File and extension, for messages.
    bunit : str, optional
        The unit that the file tells.
    count_nJy : float, optional
        Flux of one count, as the file tells it.

    Raises
    ------
    ImageError
        If neither says, or the file's unit is not one of flux.
    """
    if settings.unit == "count":
        return _count_nJy(settings.zero_point, band, where)
    if settings.unit is not None:
        return NJY_PER_UNIT[settings.unit]
    text = str(bunit if bunit is not None else "").strip()
    factor = _flux_nJy(text, where) if text else None
    if factor is not None:
        return factor
    if count_nJy is not None:
        return count_nJy
    found = f"BUNIT {text!r}, but no zero point" if text else "no BUNIT"
    raise ImageError(
        f"{where}: expected the unit of the pixels, found {found}; declare `unit` (nJy, nanomaggy, or count with "
        "zero_point)"
    )


def fluxmag0_nJy(fluxmag0: Any) -> float | None:
    """Give the flux of one count from the counts of AB magnitude 0; None where they are not known."""
    known = isinstance(fluxmag0, int | float) and math.isfinite(fluxmag0) and fluxmag0 > 0
    return 10.0 ** (0.4 * AB_ZERO_POINT) / fluxmag0 if known else None


def _count_nJy(zero_point: float | Mapping[str, float] | None, band: str, where: str) -> float:
    """Flux of one count: 10^(0.4 (31.4 - zero point)); 57.544 nJy for the 27.0 of HSC and DP0.2."""
    magnitude = zero_point.get(band) if isinstance(zero_point, Mapping) else zero_point
    if magnitude is None:
        raise ImageError(f"{where}: expected a zero_point of band '{band}', found none; declare it")
    return float(10.0 ** (0.4 * (AB_ZERO_POINT - magnitude)))


def _flux_nJy(text: str, where: str) -> float | None:
    """A unit of flux in nJy; None for counts, which need a zero point."""
    from astropy import units

    try:
        unit = units.Unit(SPELLINGS.get(text.lower(), text))
    except ValueError:
        unit = None
    if unit is not None and unit.is_equivalent(units.nJy):
        factor = float(unit.to(units.nJy))
    elif unit is not None and unit.is_equivalent(units.mgy):
        factor = float(unit.to(units.nmgy)) * NJY_PER_UNIT["nanomaggy"]
    elif unit in (units.ct, units.adu, units.DN, units.electron):
        return None
    else:
        factor = math.nan
    if not (math.isfinite(factor) and factor > 0):
        raise ImageError(
            f"{where}: expected BUNIT to be a unit of flux per pixel (nJy, nanomaggy, Jy) or counts, found {text!r}; "
            "declare `unit` (nJy, nanomaggy, or count with zero_point), or convert the pixels"
        )
    return factor
