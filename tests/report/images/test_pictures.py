"""Pictures show what is there: colours, masks, borders."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from astropy.wcs import WCS
from matplotlib.image import imread

from skymill.report.images.pictures import (
    ARTEFACT_GREY,
    MASKED,
    SKY,
    Look,
    crosshair,
    factor_for,
    instances,
    noise_of,
    outlined,
    png_uri,
    reduced,
    shown_bands,
    with_masks,
)
from skymill.survey.images.tile import TilePixels


def tile_of(pixels, mask=None) -> TilePixels:
    bands = tuple("gri"[: len(pixels)])
    pixels = np.asarray(pixels, np.float32)
    mask = np.zeros(pixels.shape, np.uint32) if mask is None else mask
    planes, roles = {"SAT": 0, "CR": 1}, {"saturated": ("SAT",), "cosmic_ray": ("CR",)}
    return TilePixels("tile=a", bands, pixels, np.ones_like(pixels), mask, planes, roles, WCS(naxis=2))


@pytest.fixture
def sky() -> np.ndarray:
    """Three bands of noise, of 1, 2 and 4 nJy."""
    return np.random.default_rng(2).standard_normal((3, 64, 64)) * np.array([1, 2, 4])[:, None, None]


@pytest.mark.parametrize(
    ("bands", "expected"),
    [
        ("ugrizy", "irg"),
        ("gri", "irg"),
        ("ugz", "zgu"),
        ("rz", "zrr"),
        ("i", "iii"),
        (["F606W", "F814W", "F160W"], ["F160W", "F814W", "F606W"]),
    ],
)
def test_the_bands_nearest_to_i_r_g_are_red_green_blue(bands, expected):
    assert shown_bands(list(bands)) == tuple(expected)


def test_noise_is_that_of_the_sky_and_one_where_there_is_none(sky):
    sky[:, :4] = 1e5
    sky[:, 5] = np.nan
    assert noise_of(sky[1]) == pytest.approx(2.0, rel=0.1)
    assert noise_of(np.full((3, 3), np.nan)) == noise_of(np.zeros((3, 3))) == 1.0


def test_sources_of_the_usual_colour_are_grey_a_redder_one_is_red_and_nothing_is_black(sky):
    sky[:, 8:32, 8:32] += 1000 * np.array([1, 2, 3])[:, None, None]  # what most sources look like
    sky[:, 40:44, 40:44] += 1000 * np.array([1, 2, 9])[:, None, None]
    sky[:, 60] = np.nan
    tile = tile_of(sky)
    look = Look.of(tile)
    drawn = look.draw(tile.pixels)
    assert look.bands == ("i", "r", "g")
    usual, red = drawn[20, 20].astype(int), drawn[42, 42].astype(int)
    assert np.ptp(usual) <= 10
    assert red[0] > red[1] + 50
    assert drawn[60].max() == 0
    assert drawn[0].mean() < 60 < usual.mean()


def test_blocks_are_averaged_without_what_has_no_value():
    pixels = np.arange(12, dtype=np.float32).reshape(1, 2, 6)
    pixels[0, 0, 0] = np.nan
    pixels[0, :, 4:] = np.nan
    small = reduced(pixels, 2)
    assert small[0, 0, 0] == pytest.approx((1 + 6 + 7) / 3)
    assert small[0, 0, 1] == pytest.approx((2 + 3 + 8 + 9) / 4)
    assert np.isnan(small[0, 0, 2])
    assert reduced(np.ones((1, 5, 7), np.float32), 2).shape == (1, 2, 3)


def test_no_picture_is_larger_than_asked():
    assert [factor_for((n, 10), 640) for n in (10, 640, 641, 4096)] == [1, 1, 2, 7]
    assert all(-(-n // factor_for((n, n), 640)) <= 640 for n in range(1, 5000, 37))


def test_a_block_is_coloured_where_any_of_its_pixels_is_masked(sky):
    mask = np.zeros(sky.shape, np.uint32)
    mask[2, 5, 9], mask[0, 20, 20] = 1, 2
    picture = np.zeros((32, 32, 3), np.uint8)
    drawn, roles = with_masks(picture, tile_of(sky, mask), (2, 1, 0), 2)
    assert roles == ["cosmic_ray", "saturated"]
    assert tuple(drawn[2, 4]) == MASKED["saturated"]
    assert tuple(drawn[10, 10]) == MASKED["cosmic_ray"]
    assert (drawn.reshape(-1, 3).any(axis=1)).sum() == 2
    assert with_masks(picture, tile_of(sky, mask), (1,), 2)[1] == []  # a band that is not shown


def test_instances_have_colours_of_their_own():
    labels = np.array([[0, 1, 1], [0, 2, 3]], np.int32)
    classes = np.array([[0, 1, 2], [3, 3, 1]], np.uint8)
    drawn = instances(labels, classes, artefact=3)
    assert (drawn[0, 0] == SKY).all()
    assert (drawn[1, :2] == ARTEFACT_GREY).all()
    assert (drawn[0, 1] == drawn[0, 2]).all()
    assert (drawn[0, 1] != drawn[1, 2]).any()


def test_borders_are_drawn_between_sources_and_nowhere_else():
    labels = np.array([[0, 0, 0, 0], [0, 1, 2, 0], [0, 0, 0, 0]], np.int32)
    colours = np.array([[9, 9, 9], [255, 0, 0], [0, 255, 0]], np.uint8)
    drawn = outlined(np.full((3, 4, 3), 7, np.uint8), labels, colours, 4)
    assert drawn.shape == (12, 16, 3)
    assert (drawn[5:7, 5:7] == 7).all()  # the inside of source 1
    assert (drawn[4:8, 4] == [255, 0, 0]).all()
    assert (drawn[4:8, 11] == [0, 255, 0]).all()
    assert (drawn[:4] == 7).all()  # the sky


def test_a_png_holds_the_picture_with_its_first_row_at_the_bottom():
    picture = np.random.default_rng(0).integers(0, 255, (5, 4, 3)).astype(np.uint8)
    kind, content = png_uri(picture).split(",")
    assert kind == "data:image/png;base64"
    read = imread(io.BytesIO(base64.b64decode(content)), format="png")
    assert (np.rint(read[::-1, :, :3] * 255) == picture).all()


def test_ticks_leave_the_source_itself_alone():
    marked = crosshair(np.zeros((49, 49, 3), np.uint8), 24, 24)
    rows, columns = np.nonzero(marked[..., 0])
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == {(24, k) for k in range(15, 20)} | {
        (k, 24) for k in range(15, 20)
    }
