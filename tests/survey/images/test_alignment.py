"""Bands on different grids are brought to one: positions, fluxes, noise, masks."""

from __future__ import annotations

import bz2
import io
import warnings
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sep
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st
from image_tiles import header, image_settings, noise, read, tan_wcs, write_fits

from skymill.survey.images.alignment import grid_band, pixel_map, resampled, shifted
from skymill.survey.images.bands import Grid
from skymill.survey.images.gate import BandPixels
from skymill.survey.images.tile import ImageError, TilePixels

SIZE = 201


def grid(size: int = SIZE, **turn: Any) -> Grid:
    return Grid("here", tan_wcs((size, size), **turn), (size, size))


def band(pixels: np.ndarray, weight: float = 4.0) -> BandPixels:
    weights = np.where(np.isnan(pixels), 0, weight).astype(np.float32)
    return BandPixels(pixels.astype(np.float32), weights, np.zeros(pixels.shape, np.uint32))


def gaussian(size: int = SIZE, sigma: float = 2.5) -> np.ndarray:
    offset = np.arange(size) - (size - 1) / 2
    profile = np.exp(-(offset**2) / 2 / sigma**2)
    return 1000 * np.outer(profile, profile)


def circle(x: float, y: float, radius: float, size: int = SIZE) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


# The real frame


@pytest.fixture(scope="module")
def stars(sdss: TilePixels) -> np.ndarray:
    """Isolated bright sources of the i band, which is not resampled, (2, n) as (x, y)."""
    image = np.ascontiguousarray(sdss.pixels[sdss.bands.index("i")])
    background = sep.Background(image)
    found = sep.extract(image - background.back(), 10, err=background.globalrms, minarea=8)
    apart = np.hypot(*(found[axis][:, None] - found[axis] for axis in "xy")) + 1e9 * np.eye(len(found))
    ny, nx = sdss.shape
    inner = (found["x"] > 40) & (found["x"] < nx - 40) & (found["y"] > 40) & (found["y"] < ny - 40)
    bright = found["flux"] > 40 * background.globalrms * np.sqrt(found["npix"])
    chosen = found[(apart.min(1) > 25) & inner & bright & (found["flag"] == 0)]
    assert len(chosen) > 60
    return np.stack([chosen["x"], chosen["y"]])


@pytest.fixture(scope="module")
def own_g(data: Path) -> tuple[np.ndarray, WCS]:
    """The g band as it is in its file, in nJy."""
    file = data / "images" / "sdss_stripe82_94_1_12" / "frame-g-000094-1-0012.fits.bz2"
    with fits.open(io.BytesIO(bz2.decompress(file.read_bytes()))) as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return (opened[0].data * 3631.0).astype(np.float32), WCS(opened[0].header)


def centroids(image: np.ndarray, x: np.ndarray, y: np.ndarray, window_px: float) -> np.ndarray:
    return np.stack(sep.winpos(np.nan_to_num(image), x, y, window_px)[:2])


def test_the_other_bands_are_resampled_and_it_is_recorded(sdss: TilePixels) -> None:
    assert sdss.resampled == ("g", "r", "z") and not sdss.noise_known
    assert np.isfinite(sdss.pixels[sdss.bands.index("i")]).all()


def test_star_centroids_agree_between_bands_to_a_tenth_of_a_pixel(sdss: TilePixels, stars: np.ndarray) -> None:
    """In windows of 3 px: smaller ones see how much less round the PSF of i is (0.1 px at 1.4 px)."""
    places = [centroids(image, *stars, 3.0) for image in sdss.pixels]
    for one, other in combinations(places, 2):
        assert np.abs(np.median(one - other, axis=1)).max() < 0.1


def test_stars_come_where_the_headers_say_and_keep_their_flux(
    sdss: TilePixels, stars: np.ndarray, own_g: tuple[np.ndarray, WCS]
) -> None:
    own, wcs = own_g
    common = np.nan_to_num(sdss.pixels[sdss.bands.index("g")])
    on_own = centroids(own, *wcs.all_world2pix(*sdss.wcs.all_pix2world(*stars, 0), 0), 1.4)
    expected = np.stack(sdss.wcs.all_world2pix(*wcs.all_pix2world(*on_own, 0), 0))
    fluxes = sep.sum_circle(own, *on_own, 6.0, subpix=0)[0]
    bright = fluxes > 300 * sep.Background(own).globalrms
    assert bright.sum() > 25
    off = np.hypot(*(centroids(common, *expected, 1.4) - expected))[bright]
    assert np.percentile(off, 95) < 0.01
    change = sep.sum_circle(common, *expected, 6.0, subpix=0)[0][bright] / fluxes[bright] - 1
    assert abs(np.median(change)) < 0.001 and np.percentile(np.abs(change), 90) < 0.005


# Which grid


@pytest.mark.parametrize(
    ("bands", "present", "declared", "chosen"),
    [
        ("ugriz", "ugriz", None, "i"),
        ("ugriz", "ugrz", None, "r"),
        ("jhk", "jhk", None, "h"),
        ("jhk", "k", None, "k"),
        ("ugriz", "ugriz", "g", "g"),
        ("ugriz", "uriz", "g", "i"),
    ],
)
def test_the_common_grid_is_that_of_i_else_r_else_the_middle_band(
    bands: str, present: str, declared: str | None, chosen: str
) -> None:
    assert grid_band(image_settings(grid=declared), list(bands), list(present)) == chosen


def test_a_grid_of_no_band_is_refused() -> None:
    with pytest.raises(ImageError, match="grid: expected one of the bands g, r, found 'y'"):
        grid_band(image_settings(grid="y"), ["g", "r"], ["g"])


@given(st.integers(-40, 40), st.integers(-40, 40))
def test_whole_pixels_are_shifted_and_none_is_interpolated(dy: int, dx: int) -> None:
    size = 31
    own = band(noise((size, size)))
    where = pixel_map(grid(size), grid(size, shift=(-dx, -dy))) if max(abs(dx), abs(dy)) < size else None
    assert where is None or where.shift == (dy, dx)
    moved = shifted(own, (dy, dx), (size, size))
    for y in range(0, size, 7):
        for x in range(0, size, 5):
            inside = 0 <= y + dy < size and 0 <= x + dx < size
            np.testing.assert_equal(moved.pixels[y, x], own.pixels[y + dy, x + dx] if inside else np.float32(np.nan))
            assert moved.inverse_variance[y, x] == (4 if inside else 0)


@pytest.mark.parametrize(("offset", "same"), [(0.005, True), (0.02, False)])
def test_grids_that_agree_to_a_hundredth_of_a_pixel_are_one(offset: float, same: bool) -> None:
    assert (pixel_map(grid(), grid(shift=(offset, 0))).shift == (0, 0)) == same
    turned = grid(turn_deg=np.degrees(offset / (SIZE / 2)))  # the corners are off by it
    assert (pixel_map(grid(), turned).shift == (0, 0)) == same


def test_grids_apart_on_the_sky_are_refused() -> None:
    far = tan_wcs((SIZE, SIZE))
    far.wcs.crval = [330.0, -40.0]
    with pytest.raises(ImageError, match="here: expected it to overlap there of the same tile"):
        pixel_map(grid(), Grid("there", far, (SIZE, SIZE)))
    with pytest.raises(ImageError, match="expected it to overlap"):
        pixel_map(grid(), grid(shift=(5000, 0)))


# Resampling

TURNS = [{"shift": (0.5, 0.3)}, {"scale_arcsec": 0.27, "turn_deg": 20}, {"scale_arcsec": 0.16, "shift": (3.2, 1.7)}]


@pytest.mark.parametrize("turn", TURNS)
def test_it_gives_what_reproject_gives(turn: dict[str, Any]) -> None:
    from reproject import reproject_interp

    own, target = grid(), grid(**turn)
    pixels = gaussian() + noise((SIZE, SIZE))
    found = resampled(band(pixels), pixel_map(own, target)).pixels
    expected = reproject_interp(
        (pixels, own.wcs), target.wcs, shape_out=target.shape, order="bicubic", return_footprint=False
    )
    ratio = np.linalg.det(target.wcs.pixel_scale_matrix) / np.linalg.det(own.wcs.pixel_scale_matrix)
    both = np.isfinite(found) & np.isfinite(expected)
    assert both.mean() > 0.5 and (np.isfinite(found) == np.isfinite(expected)).mean() > 0.99
    np.testing.assert_allclose(found[both], expected[both] * ratio, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("turn", TURNS)
def test_the_flux_of_a_source_and_the_variance_of_a_sky_area_are_kept(turn: dict[str, Any]) -> None:
    own, target = grid(), grid(**turn)
    found = resampled(band(gaussian()), pixel_map(own, target))
    assert np.nansum(found.pixels) == pytest.approx(gaussian().sum(), rel=1e-4)
    x, y = target.wcs.all_world2pix(*own.wcs.all_pix2world(100, 100, 0), 0)
    scale = turn.get("scale_arcsec", 0.2) / 0.2
    inside = circle(x, y, 30 / scale)
    assert (1 / found.inverse_variance[inside]).sum() == pytest.approx(np.pi * 30**2 / 4.0, rel=0.01)


def test_errors_of_apertures_are_right_though_pixels_are_correlated() -> None:
    target = grid(shift=(0.5, 0.5))
    where = pixel_map(grid(), target)
    inside = circle(100, 100, 8)
    sums = [resampled(band(noise((SIZE, SIZE), seed), 1.0), where).pixels[inside].sum() for seed in range(200)]
    weights = resampled(band(noise((SIZE, SIZE)), 1.0), where).inverse_variance[inside]
    assert np.std(sums) == pytest.approx(np.sqrt((1 / weights).sum()), rel=0.15)


def test_an_empty_pixel_empties_its_place_only_and_spoils_its_neighbours_weight() -> None:
    pixels = noise((SIZE, SIZE))
    pixels[100, 100] = np.nan
    found = resampled(band(pixels), pixel_map(grid(), grid(shift=(0.4, 0.3))))
    inner = np.s_[5:-5, 5:-5]
    assert np.argwhere(np.isnan(found.pixels[inner])).tolist() == [[95, 95]]
    assert {tuple(place) for place in np.argwhere(found.inverse_variance[inner] == 0)} == {
        (95, 95), (95, 96), (96, 95), (96, 96)
    }  # fmt: skip


def test_a_mask_is_that_of_the_nearest_pixel() -> None:
    own = band(noise((SIZE, SIZE)))
    own.mask[50, 60] = 0b101
    found = resampled(own, pixel_map(grid(), grid(shift=(2.3, -0.2))))
    assert np.argwhere(found.mask).tolist() == [[50, 62]] and found.mask[50, 62] == 0b101


def test_a_band_without_any_value_stays_without() -> None:
    found = resampled(band(np.full((SIZE, SIZE), np.nan)), pixel_map(grid(), grid(shift=(0.5, 0))))
    assert np.isnan(found.pixels).all() and not found.inverse_variance.any()


# A tile of bands on two grids


def test_a_tile_brings_its_bands_together_and_says_so(tmp_path: Path) -> None:
    shape = (61, 71)
    star = np.zeros(shape)
    star += 100 * np.exp(-((np.arange(71) - 35) ** 2)[None] / 8 - ((np.arange(61) - 30) ** 2)[:, None] / 8)
    write_fits(tmp_path / "i.fits", star, header(tan_wcs(shape)))
    write_fits(tmp_path / "g.fits", star, header(tan_wcs(shape, shift=(0.37, 0.21))))
    write_fits(tmp_path / "r.fits", np.pad(star, 4), header(tan_wcs((69, 79))))  # four pixels more on each side
    tile = read(tmp_path, image_settings(psf_fwhm_arcsec=0.8), ["g", "r", "i"])
    assert tile.resampled == ("g",) and tile.shape == shape
    np.testing.assert_array_equal(tile.pixels[1], tile.pixels[2])
    g = np.nan_to_num(tile.pixels[0])
    assert (g.sum() / star.sum(), (g * np.arange(71)).sum() / g.sum(), (g.sum(1) * np.arange(61)).sum() / g.sum()) == (
        pytest.approx((1, 35 - 0.37, 30 - 0.21), rel=1e-3)
    )
    assert {name: psf.fwhm_px for name, psf in tile.psf.items()} == pytest.approx({"g": 4, "r": 4, "i": 4})
