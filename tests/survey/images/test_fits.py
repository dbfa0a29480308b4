"""FITS images of every kind: the same pixels come out, native and in nJy."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from image_tiles import SHAPE, geometry, header, image_settings, noise, read, tan_wcs, write_fits

from skymill.survey.images.celestial import pixel_scale_arcsec
from skymill.survey.images.files import list_tiles
from skymill.survey.images.fits_files import FitsFile
from skymill.survey.images.layout import read_geometry, read_tile

COUNTS = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE).astype(np.int32) - 300
"""Integers, which no compression changes."""


def compressed(path: Path, pixels: np.ndarray, kind: str, **keys: Any) -> Path:
    hdu = fits.CompImageHDU(pixels, header(), compression_type=kind, **keys)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    return path


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_files_may_be_packed(tmp_path: Path, pack: Any) -> None:
    file = write_fits(tmp_path / "g.fits", COUNTS)
    file.write_bytes(pack(file.read_bytes()))
    np.testing.assert_array_equal(read(tmp_path, image_settings()).pixels[0], COUNTS)


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1"])
def test_images_may_be_compressed_in_tiles(tmp_path: Path, kind: str) -> None:
    compressed(tmp_path / "g.fits", COUNTS, kind, tile_shape=(12, 15))
    np.testing.assert_array_equal(read(tmp_path, image_settings()).pixels[0], COUNTS)


@pytest.mark.parametrize("kind", ["RICE_1", "HCOMPRESS_1"])
def test_quantised_images_come_back_to_within_their_quanta(tmp_path: Path, kind: str) -> None:
    compressed(tmp_path / "g.fits", noise(), kind, quantize_level=32)
    np.testing.assert_allclose(read(tmp_path, image_settings()).pixels[0], noise(), rtol=0, atol=0.1)


@pytest.mark.parametrize("dtype", [">i2", ">i4", ">i8", ">f4", ">f8", "u1", ">u2", ">u4"])
def test_all_number_types_leave_as_native_float32(tmp_path: Path, dtype: str) -> None:
    stored = (np.abs(COUNTS) % 120).astype(dtype)
    write_fits(tmp_path / "g.fits", stored)
    tile = read(tmp_path, image_settings())
    assert tile.pixels.dtype == np.dtype("=f4") and tile.pixels.dtype.isnative and tile.pixels.flags.c_contiguous
    assert tile.inverse_variance.dtype == np.dtype("=f4") and tile.mask.dtype == np.dtype("=u4")
    np.testing.assert_array_equal(tile.pixels[0], stored)


def test_scaled_integers_are_scaled_and_blank_ones_are_empty(tmp_path: Path) -> None:
    hdu = fits.PrimaryHDU(COUNTS.astype(">i2"), header())
    hdu.header.update(BSCALE=0.5, BZERO=10.0, BLANK=-300)
    hdu.writeto(tmp_path / "g.fits", output_verify="ignore")
    stored = fits.getdata(tmp_path / "g.fits")
    tile = read(tmp_path, image_settings())
    np.testing.assert_array_equal(tile.pixels[0], stored.astype(np.float32))
    assert np.isnan(tile.pixels[0, 0, 0]) and tile.inverse_variance[0, 0, 0] == 0
    assert tile.pixels[0, 0, 1] == 0.5 * -299 + 10


@pytest.mark.parametrize("hdu", [2, "SCI", "sci,1", "{band}_sci"])
def test_extensions_are_found_by_number_and_name(tmp_path: Path, hdu: str | int) -> None:
    images = [fits.ImageHDU(COUNTS + shift, header(), name) for shift, name in ((1, "g_sci"), (2, "SCI"), (3, "ERR"))]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "all.fits")
    settings = image_settings(image={"file": "all.fits", "hdu": hdu})
    shift = 1 if hdu == "{band}_sci" else 2
    np.testing.assert_array_equal(read(tmp_path, settings).pixels[0], COUNTS + shift)


def test_one_file_may_hold_all_bands(tmp_path: Path) -> None:
    cube = np.stack([COUNTS, COUNTS + 1000, COUNTS + 2000])
    write_fits(tmp_path / "all.fits", cube)
    tile = read(tmp_path, image_settings(image={"file": "all.fits"}), ["g", "r", "i"])
    np.testing.assert_array_equal(tile.pixels, cube)
    assert tile.name == "tile=all" and tile.resampled == ()


def test_a_real_cube_of_five_bands_with_its_psf(data: Path) -> None:
    blend = image_settings(image={"file": "Cut_HSC1.fits"}, psf={"file": "PSF_HSC.fits"}, unit="count", zero_point=27.0)
    tile = read(data / "images" / "scarlet_blends", blend, list("grizy"))
    stored = fits.getdata(data / "images" / "scarlet_blends" / "Cut_HSC1.fits")
    np.testing.assert_allclose(tile.pixels, stored * 57.544, rtol=1e-5)
    assert pixel_scale_arcsec(tile.wcs) == pytest.approx(0.168, rel=0.01)
    assert all(0.5 < psf.fwhm_px * 0.168 < 0.8 and psf.image.sum() == pytest.approx(1) for psf in tile.psf.values())


# Noise


def noise_tile(folder: Path, role: str, values: np.ndarray, **keys: Any) -> Any:
    write_fits(folder / "g.fits", COUNTS)
    write_fits(folder / "g.noise.fits", values)
    return read(folder, image_settings(**{role: {"file": "{band}.noise.fits"}}, **keys))


ODD = np.full(SHAPE, 4.0)
ODD[0, :6] = [np.nan, np.inf, -np.inf, 0, -1, 1e300]


def test_a_variance_that_is_not_finite_and_positive_gives_no_weight(tmp_path: Path) -> None:
    tile = noise_tile(tmp_path, "variance", ODD, unit="nanomaggy")
    assert tile.noise_known
    np.testing.assert_array_equal(tile.inverse_variance[0, 0, :6], 0)
    np.testing.assert_allclose(tile.inverse_variance[0, 1], 1 / (4 * 3631.0**2), rtol=1e-6)


def test_an_inverse_variance_stands_in_the_inverse_square_of_the_unit(tmp_path: Path) -> None:
    tile = noise_tile(tmp_path, "inverse_variance", ODD, unit="count", zero_point={"g": 27.0})
    assert tile.noise_known and tile.inverse_variance[0, 0, 5] == np.finfo(np.float32).max
    np.testing.assert_array_equal(tile.inverse_variance[0, 0, :5], 0)
    np.testing.assert_allclose(tile.inverse_variance[0, 1], 4 / 57.544**2, rtol=1e-5)


def test_weights_are_relative_and_the_noise_is_then_not_known(tmp_path: Path) -> None:
    tile = noise_tile(tmp_path, "weight", ODD, unit="nanomaggy")
    assert not tile.noise_known
    np.testing.assert_array_equal(tile.inverse_variance[0, 0, :5], 0)
    np.testing.assert_array_equal(tile.inverse_variance[0, 1], 4)


def test_without_any_the_weights_are_one(tmp_path: Path) -> None:
    write_fits(tmp_path / "g.fits", COUNTS)
    tile = read(tmp_path, image_settings())
    assert not tile.noise_known and (tile.inverse_variance == 1).all()


# Values


def test_pixels_without_a_value_are_nan_and_have_no_weight(tmp_path: Path) -> None:
    pixels = noise()
    pixels[0, :3] = [np.nan, np.inf, -np.inf]
    write_fits(tmp_path / "g.fits", pixels)
    tile = read(tmp_path, image_settings())
    assert np.argwhere(np.isnan(tile.pixels[0])).tolist() == [[0, 0], [0, 1], [0, 2]]
    np.testing.assert_array_equal(tile.inverse_variance[0] == 0, np.isnan(tile.pixels[0]))


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_very_small_and_very_large_values_survive(tmp_path: Path, scale: float) -> None:
    write_fits(tmp_path / "g.fits", noise().astype(np.float64) * scale)
    write_fits(tmp_path / "v.fits", np.full(SHAPE, scale**2))
    tile = read(tmp_path, image_settings(variance={"file": "v.fits"}))
    np.testing.assert_allclose(tile.pixels[0], noise() * scale, rtol=1e-6)
    np.testing.assert_allclose(tile.inverse_variance[0], scale**-2, rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, 0.0, 7.0])
def test_empty_and_constant_images_are_simply_read(tmp_path: Path, value: float) -> None:
    write_fits(tmp_path / "g.fits", np.full(SHAPE, value, dtype=np.float32))
    write_fits(tmp_path / "w.fits", np.zeros(SHAPE))
    tile = read(tmp_path, image_settings(inverse_variance={"file": "w.fits"}))
    np.testing.assert_array_equal(tile.pixels[0], np.full(SHAPE, value))
    assert not tile.inverse_variance.any()


def test_a_band_that_the_tile_lacks_is_empty(tmp_path: Path) -> None:
    write_fits(tmp_path / "g.fits", COUNTS)
    write_fits(tmp_path / "i.fits", COUNTS)
    tile = read(tmp_path, image_settings(), ["g", "r", "i"])
    assert tile.bands == ("g", "r", "i") and tile.resampled == ()
    assert np.isnan(tile.pixels[1]).all() and not tile.inverse_variance[1].any() and not tile.mask[1].any()
    assert geometry(tmp_path, image_settings(), ["g", "r", "i"]).bands == ("g", "i")


# Units


@pytest.mark.parametrize(
    ("bunit", "keys", "factor"),
    [
        (None, {"unit": "nJy"}, 1),
        (None, {"unit": "nanomaggy"}, 3631),
        (None, {"unit": "count", "zero_point": 27.0}, 57.544),
        (None, {"unit": "count", "zero_point": {"g": 22.5, "r": 1.0}}, 3630.78),
        ("nJy", {"unit": None}, 1),
        ("nanomaggy", {"unit": None}, 3631),
        ("nanomaggies", {"unit": None}, 3631),
        ("uJy", {"unit": None}, 1000),
        ("1e-9 Jy", {"unit": None}, 1),
        ("adu", {"unit": "count", "zero_point": 27.0}, 57.544),
        ("adu", {"unit": "nJy"}, 1),
    ],
)
def test_the_unit_is_declared_or_read(tmp_path: Path, bunit: str | None, keys: dict[str, Any], factor: float) -> None:
    write_fits(tmp_path / "g.fits", COUNTS, header(**({"BUNIT": bunit} if bunit else {})))
    np.testing.assert_allclose(read(tmp_path, image_settings(**keys)).pixels[0], COUNTS * factor, rtol=1e-5)


def test_counts_with_fluxmag0_in_the_header_need_no_declaration(tmp_path: Path) -> None:
    write_fits(tmp_path / "g.fits", COUNTS, header(BUNIT="adu", FLUXMAG0=10 ** (0.4 * 27)))
    np.testing.assert_allclose(read(tmp_path, image_settings(unit=None)).pixels[0], COUNTS * 57.544, rtol=1e-5)


# Masks


def test_bits_without_a_name_are_bad_and_named_ones_are_not(tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, np.int16)
    mask[2, 3], mask[4, 5], mask[6, 7] = 0b1, 0b10, 0b1000
    write_fits(tmp_path / "g.fits", COUNTS)
    write_fits(tmp_path / "m.fits", mask)
    keys = {"mask_bits": {"SAT": 0, "GHOST": 1}, "mask": {"file": "m.fits"}}
    tile = read(tmp_path, image_settings(**keys))
    assert tile.planes == {"SAT": 0, "GHOST": 1, "BIT_3": 3}
    assert np.argwhere(tile.having("saturated")).tolist() == [[0, 2, 3]]
    assert np.argwhere(tile.plane("GHOST")).tolist() == [[0, 4, 5]]
    assert np.argwhere(tile.having("bad")).tolist() == [[0, 6, 7]]


def test_planes_of_the_same_name_get_the_same_bit_in_all_bands(tmp_path: Path) -> None:
    for band, cards in {"g": {"MP_SAT": 1, "MP_CR": 3}, "r": {"MP_CR": 1, "MP_SAT": 0, "MP_STREAK": 3}}.items():
        write_fits(tmp_path / f"{band}.fits", COUNTS)
        mask = np.zeros(SHAPE, np.int32)
        mask[1, 1], mask[2, 2] = 1 << cards["MP_SAT"], 1 << cards["MP_CR"]
        mask[3, 3] = 1 << cards.get("MP_STREAK", 30)
        write_fits(tmp_path / f"{band}.mask.fits", mask, header(**cards))
    tile = read(tmp_path, image_settings(mask={"file": "{band}.mask.fits"}), ["g", "r"])
    assert tile.planes == {"SAT": 1, "CR": 3, "BIT_30": 30, "STREAK": 0}
    assert np.argwhere(tile.plane("SAT")).tolist() == [[0, 1, 1], [1, 1, 1]]
    assert np.argwhere(tile.plane("CR")).tolist() == [[0, 2, 2], [1, 2, 2]]
    assert np.argwhere(tile.plane("STREAK")).tolist() == [[1, 3, 3]]


# Real files


def test_a_real_image_with_weights_and_without_a_wcs(data: Path) -> None:
    settings = image_settings(
        image={"file": "galaxies.fits"}, weight={"file": "galaxies.weight.fits.gz"}, unit="count", zero_point=25.0,
        centre=(10.0, -30.0), pixel_scale_arcsec=0.27,
    )  # fmt: skip
    folder = data / "images" / "small_references"
    tile = read(folder, settings)
    np.testing.assert_array_equal(tile.inverse_variance[0], fits.getdata(folder / "galaxies.weight.fits.gz"))
    assert not tile.noise_known and pixel_scale_arcsec(tile.wcs) == pytest.approx(0.27)
    np.testing.assert_allclose(tile.wcs.all_pix2world([[511.5, 511.5]], 0), [[10.0, -30.0]], atol=1e-9)
    east, north = tile.wcs.all_pix2world([[500.0, 511.5], [511.5, 520.0]], 0)
    assert east[0] > 10.0 and north[1] > -30.0


def test_real_frames_on_one_grid_are_not_resampled(data: Path) -> None:
    settings = image_settings(image={"file": "reprojected_sdss_{band}.fits.bz2"}, unit=None)
    tile = read(data / "images" / "small_references", settings, ["g", "r", "i"])
    assert tile.resampled == () and tile.shape == (496, 682) and np.isfinite(tile.pixels).mean() > 0.9


def test_real_decam_exposures_with_weights_and_masks(data: Path) -> None:
    """Three exposures far apart on the mosaic, TPV distortions, 101 x 101 pixels of one galaxy."""
    exposure = "images/decam/CP/V4.8.2a/{night}/c4d_{exposure}_oo@_{band}_ls9.{ccd}.fits"
    roles = {"image": "i", "inverse_variance": "w", "mask": "d"}
    settings = image_settings(
        **{role: {"file": exposure.replace("@", letter)} for role, letter in roles.items()},
        unit="count", zero_point=25.0,
    )  # fmt: skip
    folder = data / "images" / "decam_legacypipe" / "testcase9"
    tiles = list_tiles(folder, settings, list("grz"))
    assert [list(tile.files["image"]) for tile in tiles] == [["z"], ["g"], ["r"]]
    places = [read_geometry(tile, folder, settings, list("grz")).wcs.all_pix2world(50, 50, 0) for tile in tiles]
    assert np.ptp(places, axis=0).max() * 3600 < 2  # they show the same galaxy
    tile = read_tile(tiles[0], folder, settings, list("grz"))
    assert tile.noise_known and (tile.inverse_variance[2] > 0).mean() > 0.9


def test_the_geometry_of_a_packed_frame_is_read_without_unpacking_it(data: Path) -> None:
    file = FitsFile(data / "images" / "sdss_stripe82_94_1_12" / "frame-r-000094-1-0012.fits.bz2")
    assert file.find().shape == (1489, 2048) and len(file._bytes) < 100_000


def test_distortions_are_kept_in_the_header_of_the_geometry(data: Path) -> None:
    settings = image_settings(image={"file": "HSC-0908120-056-small.fits"})
    found = geometry(data / "images" / "lsst_fits_formats", settings)
    assert "A_ORDER" in found.header and found.origin == (100, 100)


def test_frames_in_another_order_of_bands_give_the_same_pixels(tmp_path: Path) -> None:
    write_fits(tmp_path / "g.fits", noise(seed=1))
    write_fits(tmp_path / "i.fits", noise(seed=2), header(tan_wcs(shift=(0.4, 0.4))))
    one, other = (read(tmp_path, image_settings(), bands) for bands in (["g", "i"], ["i", "g"]))
    np.testing.assert_array_equal(one.pixels, other.pixels[::-1])
