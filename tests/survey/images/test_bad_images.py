"""Images that cannot be used: every error names the file, what was expected, what was found and the mend."""

from __future__ import annotations

import bz2
import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from image_tiles import SHAPE, geometry, header, image_settings, noise, read, tan_wcs, write_exposure, write_fits

from skymill.survey.images.fits_files import FitsFile
from skymill.survey.images.tile import ImageError


def spoil(file: Path, change: Callable[[bytes], bytes]) -> None:
    file.write_bytes(change(file.read_bytes()))


def with_cards(**cards: Any) -> fits.Header:
    made = header()
    made.update({name: value for name, value in cards.items() if value is not None})
    for name, value in cards.items():
        if value is None:
            del made[name]
    return made


# Files


@pytest.mark.parametrize("length", [0, 1000, 2879, 2880, 4000, -2880])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, length: int) -> None:
    file = write_fits(tmp_path / "g.fits", noise())
    spoil(file, lambda content: content[:length])
    with pytest.raises(ImageError, match=r"g.fits: expected .* (it was cut off|begins with b''); (fetch|correct)"):
        read(tmp_path, image_settings())


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_packed_file_that_was_cut_off_is_refused(tmp_path: Path, pack: Any, share: float) -> None:
    file = write_fits(tmp_path / "g.fits", noise((200, 200)), header(tan_wcs((200, 200))))
    spoil(file, lambda content: pack(content)[: int(share * len(pack(content)))])
    with pytest.raises(ImageError, match=r"g.fits: expected a sound gzip or bzip2 file, found one that breaks off"):
        read(tmp_path, image_settings())


def test_a_packed_file_that_changed_is_refused(tmp_path: Path) -> None:
    file = write_fits(tmp_path / "g.fits", noise())
    spoil(file, lambda content: gzip.compress(content, 0))
    spoil(file, lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    with pytest.raises(ImageError, match=r"expected a sound gzip or bzip2 file, .*CRC"):
        read(tmp_path, image_settings())


def test_a_cut_behind_the_image_is_noticed_too(tmp_path: Path) -> None:
    file = write_exposure(tmp_path / "g.fits")
    spoil(file, lambda content: content[:-2880])
    with pytest.raises(ImageError, match=r"it was cut off; fetch it again"):
        read(tmp_path, image_settings(image={"file": "g.fits", "hdu": "IMAGE"}))


@pytest.mark.parametrize("content", [b"<html>404</html>" * 300, b"\x89PNG" + bytes(4000), b"PK\3\4" + bytes(4000)])
def test_what_is_no_fits_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "g.fits").write_bytes(content)
    with pytest.raises(ImageError, match=r"g.fits: expected a FITS file, found one that begins with .*; correct the"):
        read(tmp_path, image_settings())


def test_a_file_that_vanished_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone.fits: expected a file, found none that can be read"):
        FitsFile(tmp_path / "gone.fits")


def test_a_file_without_an_image_is_refused_with_what_it_has(tmp_path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.zeros(3))], name="CATALOGUE")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "g.fits")
    with pytest.raises(ImageError, match=r"expected an image, found 0 \(empty\), 1 'CATALOGUE' \(table\); correct"):
        read(tmp_path, image_settings())
    with pytest.raises(ImageError, match=r"expected an extension 'SCI', found 0 \(empty\), 1 'CATALOGUE'"):
        read(tmp_path, image_settings(image={"file": "g.fits", "hdu": "SCI"}))
    with pytest.raises(ImageError, match=r"expected an image, .* shape \(\)"):
        read(tmp_path, image_settings(image={"file": "g.fits", "hdu": 1}))


@pytest.mark.parametrize("axes", [{"NAXIS1": 100_000, "NAXIS2": 100_000}, {"NAXIS1": 2**40, "NAXIS2": 2**40}])
def test_a_header_that_announces_a_giant_is_refused(tmp_path: Path, axes: dict[str, int]) -> None:
    (tmp_path / "g.fits").write_bytes(giant(**axes).tostring().encode() + bytes(2880))
    with pytest.raises(ImageError, match=r"g.fits\[0\]: expected images of at most 536,870,912 pixels"):
        read(tmp_path, image_settings())


def giant(**axes: int) -> fits.Header:
    return fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, **axes, **header()})


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_bomb_unpacks_to_no_more_than_its_headers_announce(tmp_path: Path, pack: Any) -> None:
    file = write_fits(tmp_path / "g.fits", noise())
    spoil(file, lambda content: pack(content + bytes(50_000_000), 1))
    tracemalloc.start()
    with pytest.raises(ImageError, match=r"g.fits: expected the file to end at byte 5760 \(unpacked\), .* found more"):
        read(tmp_path, image_settings())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_a_bomb_in_a_tile_of_a_compressed_image_is_refused(tmp_path: Path) -> None:
    bomb = np.frombuffer(gzip.compress(bytes(280_000_000)), dtype=np.uint8)
    column = fits.Column("COMPRESSED_DATA", "PB()", array=np.array([bomb, bomb], dtype=object))
    table = fits.BinTableHDU.from_columns([column])
    table.header.update({"ZIMAGE": True, "ZCMPTYPE": "GZIP_1", "ZBITPIX": 32, "ZNAXIS": 2, "ZNAXIS1": 30, "ZNAXIS2": 2})
    table.header.update(header())
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "g.fits")
    with pytest.raises(
        ImageError, match=r"g.fits\[1\]: expected tiles of at most 240 bytes, found one of .* unpacks to more"
    ):
        read(tmp_path, image_settings())


def test_a_bomb_between_the_units_is_refused(tmp_path: Path) -> None:
    """A huge table before the image, in a file of a few kilobytes."""
    table = fits.Header({"XTENSION": "BINTABLE", "BITPIX": 8, "NAXIS": 2, "NAXIS1": 2**20, "NAXIS2": 2**20})
    table.update({"PCOUNT": 0, "GCOUNT": 1, "TFIELDS": 0})
    primary = fits.PrimaryHDU().header.tostring().encode()
    (tmp_path / "g.fits").write_bytes(gzip.compress(primary + table.tostring().encode() + bytes(10_000)))
    with pytest.raises(ImageError, match=r"expected at most .* bytes when unpacked, found headers that announce"):
        read(tmp_path, image_settings())


@pytest.mark.parametrize("part", ["header", "data"])
@pytest.mark.parametrize("kind", ["plain", "RICE_1"])
def test_a_file_that_does_not_agree_with_its_sums_is_refused(tmp_path: Path, part: str, kind: str) -> None:
    image = fits.ImageHDU(noise(), header(OBJECT="NGC 1")) if kind == "plain" else None
    image = image or fits.CompImageHDU(noise(), header(OBJECT="NGC 1"), compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(tmp_path / "g.fits", checksum=True)
    assert np.isfinite(read(tmp_path, image_settings()).pixels).all()
    if part == "header":
        spoil(tmp_path / "g.fits", lambda content: content.replace(b"NGC 1", b"NGC 7"))
    else:
        spoil(tmp_path / "g.fits", lambda content: content[:-2700] + bytes([content[-2700] ^ 4]) + content[-2699:])
    expected = "does not agree with its CHECKSUM" if part == "header" else "its data add up to"
    with pytest.raises(ImageError, match=rf"g.fits: extension 1 .* {expected}.*fetch the file again"):
        read(tmp_path, image_settings())


def test_sums_of_real_compressed_files_agree(data: Path) -> None:
    settings = image_settings(image={"file": "ticketdm26260.fits.fz"}, centre=(10.0, 0.0), pixel_scale_arcsec=0.2)
    assert np.isfinite(read(data / "images" / "lsst_fits_formats", settings).pixels).any()


@pytest.fixture(scope="module")
def compressed_image(tmp_path_factory: Any) -> Path:
    file = tmp_path_factory.mktemp("sound") / "g.fits"
    hdu = fits.CompImageHDU(noise(), header(), compression_type="GZIP_2", quantize_level=0, tile_shape=(12, 15))
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(file)
    return file


@given(st.integers(2880, 13_000), st.integers(1, 255))
def test_a_changed_byte_of_a_compressed_image_raises_an_image_error_or_nothing(
    tmp_path_factory: Any, compressed_image: Path, place: int, change: int
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    content = compressed_image.read_bytes()
    (folder / "g.fits").write_bytes(flipped(content, place % len(content), change))
    try:
        read(folder, image_settings())
    except ImageError as error:
        assert "g.fits" in str(error)


def flipped(content: bytes, place: int, change: int) -> bytes:
    return content[:place] + bytes([content[place] ^ change]) + content[place + 1 :]


# Shapes


@pytest.mark.parametrize("role", ["mask", "variance", "weight", "inverse_variance"])
def test_a_mask_or_variance_of_another_shape_is_refused(tmp_path: Path, role: str) -> None:
    write_fits(tmp_path / "g.fits", noise())
    write_fits(tmp_path / "other.fits", np.ones((25, 30), np.int32))
    named = role.replace("_", " ")
    message = (
        rf"other.fits \({named} of band 'g'\): expected the shape of .*g.fits\[0\], 24 x 30, found 25 x 30; correct"
    )
    with pytest.raises(ImageError, match=message):
        read(tmp_path, image_settings(**{role: {"file": "other.fits"}}))


def test_a_mask_of_another_shape_in_an_exposure_is_refused(tmp_path: Path) -> None:
    write_exposure(tmp_path / "g.fits")
    with fits.open(tmp_path / "g.fits") as opened:
        opened["MASK"].data = np.zeros((3, 3), np.int32)
        opened.writeto(tmp_path / "g.fits", overwrite=True)
    with pytest.raises(ImageError, match=r"g.fits \(mask of band 'g'\): expected the shape of .* found 3 x 3"):
        read(tmp_path, image_settings("exposure", unit=None))


def test_bands_of_different_shapes_are_laid_on_one_grid(tmp_path: Path) -> None:
    """Their WCS says how they lie; a smaller band leaves the rest empty."""
    write_fits(tmp_path / "i.fits", noise())
    write_fits(tmp_path / "g.fits", noise((20, 20)), header(tan_wcs((20, 20))))
    tile = read(tmp_path, image_settings(), ["g", "i"])
    assert tile.shape == SHAPE and np.isfinite(tile.pixels[0]).sum() == 400 and tile.resampled == ()


def test_bands_of_different_shapes_without_a_wcs_are_laid_about_one_centre(tmp_path: Path) -> None:
    for band, shape in {"g": (20, 20), "i": SHAPE}.items():
        fits.PrimaryHDU(noise(shape)).writeto(tmp_path / f"{band}.fits")
    tile = read(tmp_path, image_settings(centre=(150, 2), pixel_scale_arcsec=0.2), ["g", "i"])
    assert np.isfinite(tile.pixels[0, 2:22, 5:25]).all() and np.isnan(tile.pixels[0]).sum() == 720 - 400


def test_a_spectrum_or_a_cube_of_other_bands_is_refused(tmp_path: Path) -> None:
    write_fits(tmp_path / "g.fits", np.zeros((4, 24, 30), np.float32))
    message = r"g.fits\[0\]: expected an image, found an array of shape \(4, 24, 30\); correct `hdu`, the pattern"
    with pytest.raises(ImageError, match=message):
        read(tmp_path, image_settings())


# WCS


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"CTYPE1": None, "CTYPE2": None}, "expected a WCS, found none .*declare pixel_scale_arcsec and centre"),
        ({"CTYPE1": "WAVE", "CTYPE2": "OFFSET"}, "expected a celestial WCS .*found CTYPE 'WAVE' and 'OFFSET'"),
        ({"CTYPE1": "RA---TAN", "CTYPE2": "WAVE"}, "expected a celestial WCS"),
        ({"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"}, "expected a WCS that leads from every pixel"),
        ({"CDELT1": 0.0}, "expected a WCS that leads from every pixel .*mend the header"),
        ({"PC1_1": 0.0, "PC2_2": 0.0}, "expected a WCS that leads"),
        ({"CRVAL2": 95.0}, "expected a WCS that leads"),
        ({"CDELT1": 0.2, "CDELT2": 0.2, "PC1_1": 1.0, "PC2_2": 1.0}, "expected a WCS .* pixels are 720 arcsec wide"),
        ({"CRVAL1": "abc"}, "expected a WCS that leads .*CRVAL1 is 'abc'"),
        ({"CRPIX2": None}, "expected a WCS that leads .*CRPIX2 is 'missing'"),
        ({"RADESYS": "MOON"}, "expected a WCS in ICRS.*found RA---TAN in 'MOON'"),
        ({"RADESYS": "FK4", "EQUINOX": 1950.0}, "expected a WCS in ICRS.*found RA---TAN in FK4; write it in ICRS"),
    ],
)
def test_a_wcs_that_does_not_lead_to_the_sky_is_refused(tmp_path: Path, cards: dict[str, Any], message: str) -> None:
    write_fits(tmp_path / "g.fits", noise(), with_cards(**cards))
    with pytest.raises(ImageError, match=rf"g.fits\[0\]: {message}"):
        geometry(tmp_path, image_settings())


def test_a_wcs_that_is_broken_is_refused_though_a_centre_is_declared(tmp_path: Path) -> None:
    write_fits(tmp_path / "g.fits", noise(), with_cards(CDELT1=0.0))
    with pytest.raises(ImageError, match="expected a WCS that leads"):
        geometry(tmp_path, image_settings(centre=(1, 2), pixel_scale_arcsec=1))


def test_a_band_that_shows_another_field_is_refused(tmp_path: Path) -> None:
    far = tan_wcs()
    far.wcs.crval = [20.0, -60.0]
    write_fits(tmp_path / "g.fits", noise(), header(far))
    write_fits(tmp_path / "i.fits", noise())
    with pytest.raises(ImageError, match=r"g.fits\[0\]: expected it to overlap .*i.fits\[0\] of the same tile"):
        read(tmp_path, image_settings(), ["g", "i"])


# Units and masks


@pytest.mark.parametrize(
    ("cards", "keys", "message"),
    [
        ({}, {"unit": None}, "expected the unit of the pixels, found no BUNIT; declare `unit`"),
        ({"BUNIT": "adu"}, {"unit": None}, ".* found BUNIT 'adu', but no zero point; declare `unit`"),
        ({"BUNIT": "MJy/sr"}, {"unit": None}, "expected BUNIT to be a unit of flux .* found 'MJy/sr'; declare"),
        ({"BUNIT": "furlong"}, {"unit": None}, ".* found 'furlong'"),
        ({"BUNIT": "what ever"}, {"unit": None}, ".* found 'what ever'"),
        ({}, {"unit": "count", "zero_point": {"r": 27}}, "expected a zero_point of band 'g', found none; declare it"),
    ],
)
def test_a_unit_that_nothing_tells_is_not_guessed(tmp_path: Path, cards: Any, keys: Any, message: str) -> None:
    write_fits(tmp_path / "g.fits", noise(), header(**cards))
    with pytest.raises(ImageError, match=rf"g.fits\[0\]: {message}"):
        geometry(tmp_path, image_settings(**keys))


@pytest.mark.parametrize(
    ("mask", "cards", "message"),
    [
        (noise(), {}, "expected a mask of integers, bits per pixel, found .f4"),
        (np.full(SHAPE, 2**40), {}, "expected a mask of 32 bits, found values from 1099511627776"),
        (np.full(SHAPE, -1, np.int64), {}, "expected a mask of 32 bits, found values from -1"),
        (np.zeros(SHAPE, np.int32), {"MP_SAT": 40}, "expected MP_SAT to give one bit of 0 to 31, found 40"),
        (np.zeros(SHAPE, np.int32), {"MSKN0001": "SAT", "MSKM0001": 6}, "expected MSKM0001 to give one bit"),
    ],
)
def test_a_mask_that_is_none_is_refused(tmp_path: Path, mask: Any, cards: Any, message: str) -> None:
    write_fits(tmp_path / "g.fits", noise())
    write_fits(tmp_path / "m.fits", mask, header(**cards))
    with pytest.raises(ImageError, match=message):
        read(tmp_path, image_settings(mask={"file": "m.fits"}))


def test_more_planes_than_bits_are_refused(tmp_path: Path) -> None:
    for band in "gr":
        write_fits(tmp_path / f"{band}.fits", noise())
        cards = {f"MP_{band.upper()}{bit}": bit for bit in range(20)}
        write_fits(tmp_path / f"{band}.mask.fits", np.zeros(SHAPE, np.int32), header(**cards))
    with pytest.raises(ImageError, match="expected at most 32 mask planes in a tile's bands, found 'R12'"):
        read(tmp_path, image_settings(mask={"file": "{band}.mask.fits"}), ["g", "r"])


def test_a_mask_that_a_tile_lacks_is_an_error_of_the_tile(tmp_path: Path) -> None:
    for band in "gr":
        write_fits(tmp_path / f"{band}.fits", noise())
    write_fits(tmp_path / "g.mask.fits", np.zeros(SHAPE, np.int32))
    message = r"r.fits: expected a mask of band 'r' beside it \('\{band\}.mask.fits'\), found none; fetch it"
    with pytest.raises(ImageError, match=message):
        read(tmp_path, image_settings(mask={"file": "{band}.mask.fits"}), ["g", "r"])
