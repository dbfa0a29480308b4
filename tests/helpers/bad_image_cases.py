"""The cases of odd image tiles: the fault, and what becomes of the tile."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import numpy as np
from astropy.io import fits
from bad_images import (
    BANDS,
    ImageCase,
    as_integers,
    balanced,
    cards,
    content,
    cut_to,
    data,
    edited,
    everywhere,
    flipped,
    replaced,
    scaled,
)

BOMB = bytes(50_000_000)
FETCH = "fetch it again"
HEADER = "mend the header"


def remove(folder: Path) -> None:
    (folder / "g.fits").unlink()


def lead_nowhere(folder: Path) -> None:
    remove(folder)
    (folder / "g.fits").symlink_to("gone.fits")


def make_a_folder(folder: Path) -> None:
    remove(folder)
    (folder / "g.fits").mkdir()


def put_a_table(hdus: fits.HDUList) -> None:
    columns = [fits.Column("flux", "E", array=np.zeros(3))]
    hdus["IMAGE"] = fits.BinTableHDU.from_columns(columns, name="IMAGE")


def rename(hdus: fits.HDUList) -> None:
    hdus["IMAGE"].name = "SCI"


def drop_mask(hdus: fits.HDUList) -> None:
    del hdus["MASK"]


def quarantined(*rows: tuple[str, str, object, str, str]) -> tuple[ImageCase, ...]:
    return tuple(ImageCase(*row) for row in rows)


FILES = quarantined(
    (
        "empty",
        "an empty file",
        content(lambda _: b""),
        "expected a FITS file, found one that begins with b''",
        "correct the pattern",
    ),
    (
        "cut-in-header",
        "a file cut off in a header",
        content(lambda found: found[:4000]),
        "found 4,000: it was cut off",
        FETCH,
    ),
    (
        "cut-in-data",
        "a file cut off in its data",
        content(lambda found: found[:50_000]),
        "found 50,000: it was cut off",
        FETCH,
    ),
    ("cut-behind", "a file cut off behind the image", content(lambda found: found[:-2880]), "it was cut off", FETCH),
    (
        "gzip-cut",
        "gzip, cut off",
        content(lambda found: gzip.compress(found)[:9000]),
        "sound gzip or bzip2 file, found one that breaks off",
        FETCH,
    ),
    (
        "gzip-end",
        "gzip, cut off in its last bytes",
        content(lambda found: gzip.compress(found)[:-4]),
        "sound gzip or bzip2 file, found one that breaks off",
        FETCH,
    ),
    (
        "gzip-changed",
        "gzip, one bit changed",
        content(lambda found: flipped(gzip.compress(found, 0), 50_000)),
        "CRC check failed",
        FETCH,
    ),
    (
        "gzip-bomb",
        "gzip that unpacks to more than its headers say",
        content(lambda found: gzip.compress(found + BOMB, 1)),
        "expected the file to end at byte .* found more",
        FETCH,
    ),
    (
        "bzip2-bomb",
        "bzip2 that unpacks to more than its headers say",
        content(lambda found: bz2.compress(found + BOMB, 1)),
        "expected the file to end at byte .* found more",
        FETCH,
    ),
    (
        "gzip-giant",
        "gzip whose headers announce what no file of its size holds",
        content(
            lambda found: gzip.compress(
                found.replace(b"NAXIS1  =                   96", b"NAXIS1  =              1000000")
            )
        ),
        "bytes when unpacked, found headers that announce",
        "unpack it yourself if it is sound",
    ),
    (
        "giant",
        "a header that announces more than any tile holds",
        replaced("NAXIS1  =", "NAXIS1  =           9000000000"),
        "expected images of at most 536,870,912 pixels",
        "cut it into tiles, or fetch the file again",
    ),
    (
        "html",
        "an error page under the name of an image",
        content(lambda _: b"<html>404</html>" * 400),
        "expected a FITS file, found one that begins with b'<html>",
        "correct the pattern",
    ),
    (
        "folder",
        "a folder in place of a file",
        make_a_folder,
        "expected a file, found none that can be read",
        "correct the pattern, or put the file there",
    ),
    (
        "link",
        "a link that leads nowhere",
        lead_nowhere,
        "expected a file of tile=link that can be read, found none",
        "put it back, or mend the link",
    ),
    (
        "table",
        "a table where the image should be",
        edited(put_a_table),
        "expected an image, found an array of shape",
        "correct `hdu`",
    ),
    (
        "renamed",
        "no extension of the declared name",
        edited(rename),
        "expected an extension 'IMAGE', found 0 .empty., 1 'SCI'",
        "correct `hdu` or fetch the file again",
    ),
    (
        "no-mask",
        "a mask that is declared and not there",
        edited(drop_mask),
        "expected an extension 'MASK', found",
        "correct `hdu` or fetch the file again",
    ),
    (
        "datasum",
        "data that changed: `DATASUM`",
        content(lambda found: flipped(found, 20_000), checksum=True),
        "has DATASUM .* but its data add up to",
        "fetch the file again",
    ),
    (
        "checksum",
        "a header that changed: `CHECKSUM`",
        replaced("BUNIT   =", "BUNIT   = 'mJy'", checksum=True),
        "does not agree with its CHECKSUM",
        "fetch the file again",
    ),
    (
        "sums",
        "`CHECKSUM` right, `DATASUM` wrong",
        content(balanced, checksum=True),
        "has DATASUM .* but its data add up to",
        "fetch the file again",
    ),
)
PIXELS = quarantined(
    (
        "all-nan",
        "all pixels NaN",
        data("IMAGE", everywhere(np.nan), BANDS),
        "no pixel has a value in any band",
        "fetch its files again",
    ),
    (
        "all-infinite",
        "all pixels infinite",
        data("IMAGE", everywhere(np.inf), BANDS),
        "no pixel has a value in any band",
        "fetch its files again",
    ),
    (
        "all-zero",
        "all pixels zero",
        data("IMAGE", everywhere(0), BANDS),
        "all pixels of each band are alike",
        "fetch its files again",
    ),
    (
        "constant",
        "all pixels alike",
        data("IMAGE", everywhere(7), BANDS),
        "all pixels of each band are alike",
        "fetch its files again",
    ),
    ("bscale-0", "`BSCALE` of 0", cards(BSCALE=0.0), "all pixels of each band are alike", "fetch its files again"),
    (
        "one-pixel",
        "an image of one pixel",
        cut_to(1, 1, BANDS),
        "all pixels of each band are alike",
        "fetch its files again",
    ),
    (
        "cube",
        "an image of three axes",
        data("IMAGE", lambda pixels: np.stack([pixels] * 3)),
        r"found an array of shape .3, 96, 96.",
        "correct `hdu`",
    ),
    (
        "row",
        "an image of one axis",
        data("IMAGE", lambda pixels: pixels[0]),
        r"found an array of shape .96,.",
        "correct `hdu`",
    ),
    (
        "zero-weight",
        "variance 0 everywhere",
        data("VARIANCE", everywhere(0), BANDS),
        "no pixel that has a value has a weight",
        "fetch its files again",
    ),
    (
        "nan-weight",
        "variance NaN everywhere",
        data("VARIANCE", everywhere(np.nan), BANDS),
        "no pixel that has a value has a weight",
        "fetch its files again",
    ),
    (
        "negative-variance",
        "variance negative everywhere",
        data("VARIANCE", everywhere(-16), BANDS),
        "no pixel that has a value has a weight",
        "fetch its files again",
    ),
    (
        "variance-unit",
        "values of 1e-12, their variance in another unit",
        scaled(1e-12, 1),
        "to scatter as their variance says, found 1.*e-12",
        "give both in one unit",
    ),
    (
        "variance-shape",
        "a variance of another shape",
        data("VARIANCE", lambda pixels: pixels[:50]),
        r"g.fits .variance of band 'g'.: expected the shape of .* 96 x 96, found 50 x 96",
        "fetch both files again",
    ),
    (
        "mask-shape",
        "a mask of another shape",
        data("MASK", lambda pixels: pixels[:, :50]),
        r"g.fits .mask of band 'g'.: expected the shape of .* 96 x 96, found 96 x 50",
        "fetch both files again",
    ),
    (
        "mask-large",
        "a mask of more than 32 bits",
        data("MASK", lambda pixels: pixels + np.int64(2**40)),
        r"g.fits .mask of band 'g'.: expected a mask of 32 bits, found values from 1099511627776",
        "leave planes out",
    ),
    (
        "mask-float",
        "a mask of fractions",
        data("MASK", lambda pixels: pixels + 0.5),
        r"g.fits .mask of band 'g'.: expected a mask of integers",
        "store it as integers",
    ),
    (
        "psf-zero",
        "a PSF of zeros",
        data("PSF", everywhere(0)),
        r"g.fits .PSF of band 'g'.: expected a PSF of finite values and positive sum, found sum 0",
        "declare psf_fwhm_arcsec",
    ),
    (
        "psf-negative",
        "a PSF below zero",
        data("PSF", np.negative),
        "expected a PSF of finite values and positive sum, found sum -1",
        "declare psf_fwhm_arcsec",
    ),
    (
        "psf-even",
        "a PSF of even size",
        data("PSF", lambda image: image[:14, :14]),
        "expected the image of a PSF of odd size, k x k, found 14 x 14",
        "cut or pad it",
    ),
    (
        "psf-off",
        "a PSF off its middle",
        data("PSF", lambda image: np.roll(image, 4, axis=0)),
        "expected a PSF centred on its middle pixel, found the peak 4 px off",
        "centre it",
    ),
)
HEADERS = quarantined(
    (
        "no-wcs",
        "no WCS",
        cards(CTYPE1=None, CTYPE2=None),
        "expected a WCS, found none",
        "declare pixel_scale_arcsec and centre",
    ),
    (
        "spectrum",
        "a WCS that is not celestial",
        cards(CTYPE1="WAVE", CTYPE2="OFFSET"),
        "expected a celestial WCS .* found CTYPE 'WAVE' and 'OFFSET'",
        "write one into the header",
    ),
    (
        "projection",
        "a projection that nobody knows",
        cards(CTYPE1="RA---XYZ", CTYPE2="DEC--XYZ"),
        "XYZ in CTYPE1",
        HEADER,
    ),
    ("frame", "a frame that nobody knows", cards(RADESYS="MOON"), "found RA---TAN in 'MOON'", "write it in ICRS"),
    (
        "singular",
        "a singular matrix",
        cards(PC1_1=1e-4, PC1_2=1e-4, PC2_1=1e-4, PC2_2=1e-4),
        "expected a WCS that leads from every pixel to the sky and back",
        HEADER,
    ),
    ("no-reference", "no reference pixel", cards(CRPIX1=None), "CRPIX1 is 'missing'", HEADER),
    ("text-reference", "text for the reference position", cards(CRVAL1="abc"), "CRVAL1 is 'abc'", HEADER),
    (
        "twice",
        "a card of the WCS twice, of two values",
        replaced("MJDREF", "CRVAL1  =                 12.0"),
        "CRVAL1 is given as .* and as 12.0",
        HEADER,
    ),
    (
        "origin",
        "text for the origin in the tract",
        cards(LTV1="abc", LTV2=3.0),
        "expected headers that can be understood, found one that cannot .TypeError",
        HEADER,
    ),
    (
        "not-ascii",
        "bytes in the header that are no text",
        replaced("RADESYS", "RADESYS = '\u00e9'"),
        "expected headers that can be understood, found one that cannot .VerifyError: Unparsable card .RADESYS",
        HEADER,
    ),
    (
        "no-unit",
        "no unit, neither in the file nor declared",
        cards(BUNIT=None),
        "expected the unit of the pixels, found no BUNIT",
        "declare `unit`",
    ),
    (
        "counts",
        "counts without a zero point",
        cards(BUNIT="adu"),
        "found BUNIT 'adu', but no zero point",
        "declare `unit`",
    ),
    (
        "other-unit",
        "a unit that is none of flux",
        cards(BUNIT="furlong"),
        "expected BUNIT to be a unit of flux per pixel .* found 'furlong'",
        "declare `unit`",
    ),
)
LIKE_MISSING = "a tile; the band is missing"
KEPT = tuple(
    ImageCase(name, what, spoil, None, becomes)
    for name, what, spoil, becomes in (
        ("no-band", "a band that the tile has no file of", remove, LIKE_MISSING),
        ("nan-band", "a band of NaN", data("IMAGE", everywhere(np.nan)), LIKE_MISSING),
        ("constant-band", "a band whose pixels are all alike", data("IMAGE", everywhere(7)), LIKE_MISSING),
        ("weightless-band", "a band of no weight", data("VARIANCE", everywhere(np.inf)), LIKE_MISSING),
        (
            "small-band",
            "a band of another shape",
            cut_to(60, 60, ("g",)),
            "a tile; the band is NaN where it does not reach",
        ),
        ("tiny", "values of 1e-12, with a variance of 1e-24", scaled(1e-12, 1e-24), "a tile like any other"),
        (
            "one-plane",
            "an image of three axes, one of length 1",
            data("IMAGE", lambda pixels: pixels[None]),
            "a tile like any other",
        ),
        ("integers", "integers with `BSCALE`, `BZERO` and `BLANK`", as_integers, "a tile like any other"),
        (
            "masked",
            "a mask that is set everywhere",
            data("MASK", everywhere(1), BANDS),
            "sources with the flag `bad_pixel`",
        ),
        (
            "edge",
            "sources on the edge",
            data("IMAGE", lambda pixels: np.roll(pixels, -20, axis=1), BANDS),
            "sources with the flag `edge`",
        ),
        ("pole", "a tile about the pole", cards(CRVAL2=90.0), "a tile like any other"),
        ("meridian", "a tile across right ascension 0", cards(CRVAL1=0.0), "a tile like any other"),
    )
)
IMAGE_CASES = (*FILES, *PIXELS, *HEADERS, *KEPT)
