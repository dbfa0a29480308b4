"""Where a tile's pixels lie on the sky: the WCS of a header, checked, and in ICRS."""

from __future__ import annotations

import math
import re

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, NoConvergence
from numpy.typing import NDArray

from skymill.config.images import ImageSettings
from skymill.survey.images.tile import ImageError

OF_WCS = re.compile(r"(CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA)[12]|(CD|PC|PV)[12]_[0-9]+|LONPOLE|LATPOLE|RADESYS|EQUINOX")
"""Cards that say where pixels are."""
CELESTIAL = ("RA--", "DEC-", "GLON", "GLAT")
ZENITHAL = ("TAN", "SIN", "ARC", "ZEA", "STG", "ZPN", "TPV", "AZP", "SZP", "AIR")
"""Projections about a point, whose reference is the native pole (Calabretta & Greisen 2002, section 5.1)."""
ROUND_TRIP_px = 0.1
LARGEST_SCALE_arcsec = 300.0
"""Of a pixel; more is a scale in another unit, or none (the default is a degree)."""


def celestial_wcs(header: fits.Header | None, shape: tuple[int, int], settings: ImageSettings, where: str) -> WCS:
    """Give the celestial WCS of an image, in ICRS.

    Parameters
    ----------
    header : Header or None
        Of the image; None where the file has none.
    shape : (int, int)
        Rows and columns.
    settings : ImageSettings
        `pixel_scale_arcsec` and `centre` lay out pixels that have no WCS.
    where : str
        File and extension, for messages.

    Raises
    ------
    ImageError
        If there is no WCS, or one that is not celestial, cannot be inverted over the image, or is in another frame than
        ICRS, FK5 or Galactic.
    """
    types = [str((header or {}).get(f"CTYPE{axis}", "")).strip() for axis in (1, 2)]
    if header is None or not any(types):
        return laid_out(shape, settings, where)
    if not all(each[:4] in CELESTIAL for each in types):
        raise ImageError(
            f"{where}: expected a celestial WCS on the first two axes, found CTYPE {' and '.join(map(repr, types))}; "
            "write one into the header, or take the CTYPE cards out and declare pixel_scale_arcsec and centre"
        )
    try:
        _check_cards(header)
        wcs = WCS(header, naxis=2)
        _check(wcs, shape)
    except (ValueError, KeyError, TypeError, MemoryError, NoConvergence) as error:
        raise ImageError(
            f"{where}: expected a WCS that leads from every pixel to the sky and back, found one that does not "
            f"({str(error).strip().splitlines()[-1]}); mend the header"
        ) from error
    return in_icrs(wcs, where)


def laid_out(shape: tuple[int, int], settings: ImageSettings, where: str) -> WCS:
    """Lay pixels around the declared centre, north up and east left.

    Raises
    ------
    ImageError
        If none is declared.
    """
    if settings.centre is None or settings.pixel_scale_arcsec is None:
        raise ImageError(
            f"{where}: expected a WCS, found none (no CTYPE1); write one into the header, or declare "
            "pixel_scale_arcsec and centre"
        )
    scale = settings.pixel_scale_arcsec / 3600
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = settings.centre
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    wcs.wcs.cdelt = [-scale, scale]
    wcs.wcs.radesys = "ICRS"
    return header_wcs(header_text(wcs))


def in_icrs(wcs: WCS, where: str) -> WCS:
    """Bring a WCS to ICRS: exact, for the frames differ by a rotation, which moves the reference point and the pole.

    The native coordinates of a zenithal projection stay as they are; `CRVAL` becomes that of ICRS, and `LONPOLE` the
    native longitude of the ICRS pole (Calabretta & Greisen 2002, A&A 395, 1077, equation 5).

    Raises
    ------
    ImageError
        If the frame is another than ICRS, FK5 or Galactic, or the projection is not zenithal.
    """
    from astropy.coordinates import FK5, ICRS, Galactic, SkyCoord
    from astropy.wcs.utils import wcs_to_celestial_frame

    try:
        frame = wcs_to_celestial_frame(wcs)
    except ValueError:
        frame = None
    if isinstance(frame, ICRS):
        return header_wcs(header_text(wcs))
    if not isinstance(frame, FK5 | Galactic) or wcs.wcs.ctype[0][5:8] not in ZENITHAL:
        named = repr(wcs.wcs.radesys) if frame is None else type(frame).__name__
        raise ImageError(
            f"{where}: expected a WCS in ICRS, or a zenithal one (TAN, ...) in FK5 or Galactic coordinates, found "
            f"{wcs.wcs.ctype[0]} in {named}; write it in ICRS"
        )
    reference = SkyCoord(*wcs.wcs.crval, unit="deg", frame=frame)
    pole = SkyCoord(0, 90, unit="deg", frame=ICRS()).transform_to(frame).spherical
    longitude = pole.lon.rad - reference.spherical.lon.rad
    pole_dec, reference_dec = pole.lat.rad, reference.spherical.lat.rad
    native = math.atan2(
        -math.cos(pole_dec) * math.sin(longitude),
        math.sin(pole_dec) * math.cos(reference_dec)
        - math.cos(pole_dec) * math.sin(reference_dec) * math.cos(longitude),
    )
    rotated = wcs.deepcopy()
    rotated.wcs.lonpole = wcs.wcs.lonpole + math.degrees(native)
    rotated.wcs.latpole = 90.0
    rotated.wcs.crval = [reference.icrs.ra.deg, reference.icrs.dec.deg]
    rotated.wcs.ctype = [f"{axis}{projection[4:]}" for axis, projection in zip(("RA--", "DEC-"), wcs.wcs.ctype)]
    rotated.wcs.radesys, rotated.wcs.equinox = "ICRS", math.nan
    rotated.wcs.set()
    return header_wcs(header_text(rotated))


def header_text(wcs: WCS) -> str:
    """Give a WCS as the text of a FITS header, distortions included."""
    return str(wcs.to_header_string(relax=True))


def header_wcs(text: str) -> WCS:
    """Give the WCS of a FITS header's text."""
    return WCS(fits.Header.fromstring(text), naxis=2)


def pixel_scale_arcsec(wcs: WCS) -> float:
    """Give the square root of a pixel's area at the reference point."""
    return float(math.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix))) * 3600)


def corners_and_middle(shape: tuple[int, int]) -> NDArray[np.float64]:
    """Give nine pixels over an image, (9, 2) as (x, y)."""
    rows, columns = (np.linspace(0, length - 1, 3) for length in shape)
    return np.array([(x, y) for y in rows for x in columns])


def _check_cards(header: fits.Header) -> None:
    """Ask for the reference point, and for each card once: wcslib takes 0 for what is missing or no number."""
    for card in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2"):
        if not isinstance(header.get(card), int | float):
            raise ValueError(f"{card} is {header.get(card, 'missing')!r}")
    for card in dict.fromkeys(filter(OF_WCS.fullmatch, header)):
        values = [header[card, number] for number in range(header.count(card))]
        if any(value != values[0] for value in values):
            raise ValueError(f"{card} is given as {' and as '.join(map(repr, values))}")


def _check(wcs: WCS, shape: tuple[int, int]) -> None:
    """Hold a WCS against the round trip of some pixels."""
    if not wcs.has_celestial:
        raise ValueError(f"no pair of celestial axes in {list(wcs.wcs.ctype)}")
    pixels = corners_and_middle(shape)
    sky = wcs.all_pix2world(pixels, 0)
    if not np.isfinite(sky).all():
        raise ValueError("some pixels are nowhere on the sky")
    if not 0 < pixel_scale_arcsec(wcs) <= LARGEST_SCALE_arcsec:
        raise ValueError(f"its pixels are {pixel_scale_arcsec(wcs):.3g} arcsec wide")
    back = wcs.all_world2pix(sky, 0)
    if not np.abs(back - pixels).max() < ROUND_TRIP_px:
        raise ValueError(f"pixels come back {np.abs(back - pixels).max():.2g} px from where they were")
