"""Sound image tiles, and how they are spoilt; the cases stand in `bad_image_cases`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

BANDS = ("g", "r")
SIZE = 96
SCALE_ARCSEC = 0.2
FWHM_PX = 4.0
NOISE_nJy = 4.0
PLACES = [(x, y) for y in (20, 48, 76) for x in (20, 48, 76)]
"""Columns and rows of a sound tile's sources."""
FLUX_nJy = 2000.0
APART_DEG = 0.05
"""Distance of neighbouring tiles, which do not overlap."""

BLANK = -(2**31)

Spoil = Callable[[Path], None]
"""Changes a sound tile's folder of `g.fits` and `r.fits`."""


@dataclass(frozen=True)
class ImageCase:
    """An image tile that is odd in one way.

    Attributes
    ----------
    name : str
        Of the tile.
    what : str
        The fault, for people.
    spoil : callable
    refused : str or None
        What the reason of the quarantine says, as a regular expression; None where the tile is measured.
    said : str
        The mend that the reason names; of a tile that is measured, what it becomes.
    """

    name: str
    what: str
    spoil: Spoil
    refused: str | None
    said: str


def tile_wcs(ra: float, dec: float) -> WCS:
    """A gnomonic WCS about the middle of a tile."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(SIZE + 1) / 2, (SIZE + 1) / 2]
    wcs.wcs.cd = np.array([[-1.0, 0.0], [0.0, 1.0]]) * SCALE_ARCSEC / 3600
    wcs.wcs.radesys = "ICRS"
    return wcs


def sound_pixels(seed: int = 1) -> np.ndarray:
    """Nine point sources on noise, (SIZE, SIZE), nJy."""
    image = np.random.default_rng(seed).normal(0, NOISE_nJy, (SIZE, SIZE))
    for x, y in PLACES:
        image += FLUX_nJy * gaussian(SIZE, x, y)
    return image.astype(np.float32)


def gaussian(size: int, x: float, y: float) -> np.ndarray:
    """A point source of flux 1."""
    row, column = np.mgrid[:size, :size]
    sigma = FWHM_PX / 2.3548
    return np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)


def write_sound_tile(folder: Path, ra: float, dec: float) -> None:
    """Write a file a band: image, variance, mask and PSF."""
    folder.mkdir(parents=True)
    header = tile_wcs(ra, dec).to_header()
    header["BUNIT"] = "nJy"
    for seed, band in enumerate(BANDS):
        hdus = [
            fits.PrimaryHDU(),
            fits.ImageHDU(sound_pixels(seed), header, "IMAGE"),
            fits.ImageHDU(np.full((SIZE, SIZE), NOISE_nJy**2, np.float32), header, "VARIANCE"),
            fits.ImageHDU(np.zeros((SIZE, SIZE), np.int32), header, "MASK"),
            fits.ImageHDU(gaussian(15, 7, 7).astype(np.float32), name="PSF"),
        ]
        hdus[3].header["MP_BAD"] = 0
        fits.HDUList(hdus).writeto(folder / f"{band}.fits")


def edited(change: Callable[[fits.HDUList], Any], bands: tuple[str, ...] = ("g",), *, checksum: bool = False) -> Spoil:
    """Change what the files of some bands hold."""

    def spoil(folder: Path) -> None:
        for band in bands:
            with fits.open(folder / f"{band}.fits", memmap=False, lazy_load_hdus=False) as hdus:
                change(hdus)
                hdus.writeto(folder / f"{band}.fits", overwrite=True, checksum=checksum)

    return spoil


def cards(**values: Any) -> Spoil:
    """Change cards of the images' headers; None takes one out."""

    def change(hdus: fits.HDUList) -> None:
        for name, value in values.items():
            if value is None:
                del hdus["IMAGE"].header[name]
            else:
                hdus["IMAGE"].header[name] = value

    return edited(change, BANDS)


def data(name: str, change: Callable[[np.ndarray], np.ndarray], bands: tuple[str, ...] = ("g",)) -> Spoil:
    """Change what an extension holds."""

    def replace(hdus: fits.HDUList) -> None:
        hdus[name].data = change(hdus[name].data)

    return edited(replace, bands)


def cut_to(rows: int, columns: int, bands: tuple[str, ...]) -> Spoil:
    """Leave the first rows and columns of image, variance and mask."""

    def change(hdus: fits.HDUList) -> None:
        for name in ("IMAGE", "VARIANCE", "MASK"):
            hdus[name].data = hdus[name].data[:rows, :columns]

    return edited(change, bands)


def content(change: Callable[[bytes], bytes], *, checksum: bool = False) -> Spoil:
    """Change the bytes of the file of band g, after sums were written if asked."""

    def spoil(folder: Path) -> None:
        if checksum:
            edited(lambda hdus: None, checksum=True)(folder)
        (folder / "g.fits").write_bytes(change((folder / "g.fits").read_bytes()))

    return spoil


def replaced(old: str, new: str, *, checksum: bool = False) -> Spoil:
    """Write another card over one of the image's header in band g; a card is named by how it begins."""

    def change(found: bytes) -> bytes:
        start = found.index(old.encode(), found.index(b"XTENSION"))
        return found[:start] + new.ljust(80).encode("latin-1") + found[start + 80 :]

    return content(change, checksum=checksum)


def flipped(found: bytes, place: int) -> bytes:
    """Change the lowest bit of one byte."""
    return found[:place] + bytes([found[place] ^ 1]) + found[place + 1 :]


def balanced(found: bytes) -> bytes:
    """Move one from a word of the image's header to one of its data: the sum of both together stays."""
    header, pixels = (
        found.index(b"Image extension"),
        found.index(b"END ", found.index(b"XTENSION")) // 2880 * 2880 + 2880,
    )
    last = next(place for place in range(pixels + header % 4, len(found), 4) if found[place] < 255)
    changed = bytearray(found)
    changed[header] -= 1
    changed[last] += 1
    return bytes(changed)


def everywhere(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """Give one value to all pixels."""
    return lambda pixels: np.full_like(pixels, value)


def scaled(factor: float, of_variance: float) -> Spoil:
    """Multiply image and variance of both bands."""

    def change(hdus: fits.HDUList) -> None:
        hdus["IMAGE"].data *= np.float32(factor)
        hdus["VARIANCE"].data *= np.float32(of_variance)

    return edited(change, BANDS)


def as_integers(folder: Path) -> None:
    """Store the images as scaled integers with BLANK, which is the value of one pixel."""

    def change(hdus: fits.HDUList) -> None:
        image = hdus["IMAGE"]
        stored = np.round((image.data - 1) / 0.01).astype(np.int32)
        stored[5, 6] = BLANK
        hdus["IMAGE"] = fits.ImageHDU(stored, image.header)

    edited(change, BANDS)(folder)
    for band in BANDS:
        with fits.open(folder / f"{band}.fits", mode="update", do_not_scale_image_data=True) as hdus:
            hdus["IMAGE"].header.update(BSCALE=0.01, BZERO=1.0, BLANK=BLANK)
