"""Stamps equal those of a slow reference that goes pixel by pixel, and those of astropy on a real image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from skymill.survey.images.cutting import cutouts
from skymill.survey.images.tile import TilePixels

LAYERS = ("pixels", "inverse_variance", "mask")
NO_DATA, SATURATED, DETECTED = 1, 2, 4


def make_tile(pixels: np.ndarray, inverse_variance: np.ndarray | None = None, mask: np.ndarray | None = None):
    return TilePixels(
        name="patch",
        bands=tuple(f"band{number}" for number in range(len(pixels))),
        pixels=pixels,
        inverse_variance=np.ones_like(pixels) if inverse_variance is None else inverse_variance,
        mask=np.zeros(pixels.shape, np.uint32) if mask is None else mask,
        planes={"NO_DATA": 0, "SAT": 1, "DETECTED": 2},
        roles={"no_data": ("NO_DATA", "UNMASKEDNAN"), "saturated": ("SAT",)},
        wcs=WCS(naxis=2),
    )


def random_tile(bands: int, ny: int, nx: int, seed: int = 1) -> TilePixels:
    random = np.random.default_rng(seed)
    shape = (bands, ny, nx)
    weights = random.choice(np.array([0, 0.5, 2], np.float32), shape)
    return make_tile(
        random.normal(size=shape).astype(np.float32), weights, random.integers(0, 8, shape).astype(np.uint32)
    )


def slow_stamp(tile: TilePixels, x: float, y: float, size: int) -> dict[str, Any]:
    """One stamp, pixel by pixel."""
    shape = (len(tile.bands), size, size)
    found = {
        "pixels": np.full(shape, np.nan, np.float32),
        "inverse_variance": np.zeros(shape, np.float32),
        "mask": np.full(shape, NO_DATA, np.uint32),
    }
    weighted, masked = np.zeros(len(tile.bands)), np.zeros(len(tile.bands))
    ny, nx = tile.shape
    for i in range(size):
        for j in range(size):
            row, column = np.floor(y + 0.5) + i - size // 2, np.floor(x + 0.5) + j - size // 2
            if not (0 <= row < ny and 0 <= column < nx):
                continue
            for layer in LAYERS:
                found[layer][:, i, j] = getattr(tile, layer)[:, int(row), int(column)]
            weighted += found["inverse_variance"][:, i, j] > 0
            masked += (found["mask"][:, i, j] & (NO_DATA | SATURATED)) != 0
    return {**found, "coverage_frac": weighted / size**2, "masked_frac": masked / size**2}


def all_stamps(tile: TilePixels, x: Any, y: Any, size: int, **options: Any) -> dict[str, np.ndarray]:
    """All batches, copied and joined."""
    names = (*LAYERS, "coverage_frac", "masked_frac")
    batches = [
        {name: np.copy(getattr(batch, name)) for name in names} | {"sources": np.r_[batch.sources]}
        for batch in cutouts(tile, x, y, size, what=LAYERS, **options)
    ]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


position = st.floats(-30, 40) | st.integers(-30, 40).map(lambda n: n + 0.5) | st.sampled_from([np.nan, np.inf, -1e300])


@given(
    st.integers(1, 9),
    st.integers(1, 14),
    st.integers(1, 14),
    st.lists(st.tuples(position, position), min_size=1, max_size=9),
    st.integers(1, 17),
    st.integers(1, 5),
)
def test_stamps_are_those_of_the_slow_reference(bands, ny, nx, positions, size, batch):
    tile = random_tile(bands, ny, nx, seed=97 * ny + nx)
    x, y = np.array(positions).T
    found = all_stamps(tile, x, y, size, batch=batch)
    expected = [slow_stamp(tile, *source, size) for source in positions]
    np.testing.assert_array_equal(found.pop("sources"), np.arange(len(positions)))
    for name, values in found.items():
        wanted = np.stack([stamp[name] for stamp in expected]).astype(values.dtype)
        np.testing.assert_allclose(values, wanted, rtol=1e-6, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("size", [1, 2, 5, 6])
@pytest.mark.parametrize(("x", "column"), [(7.0, 7), (7.49, 7), (7.5, 8), (6.5, 7), (-0.2, 0), (15.49, 15)])
def test_the_pixel_that_holds_the_source_is_at_half_the_size(size, x, column):
    tile = random_tile(2, 16, 16)
    (batch,) = cutouts(tile, [x], [3.0], size)
    np.testing.assert_array_equal(batch.pixels[0, :, size // 2, size // 2], tile.pixels[:, 3, column])


def test_a_source_wholly_outside_has_a_stamp_of_nan_and_no_coverage():
    (batch,) = cutouts(random_tile(3, 20, 20), [-9.0, 10.0, 1e9, np.nan], [10.0, 30.0, -1e9, 5.0], 8, what=LAYERS)
    assert np.isnan(batch.pixels).all()
    assert not batch.inverse_variance.any() and not batch.coverage_frac.any() and not batch.masked_frac.any()
    assert (batch.mask == NO_DATA).all()


def test_fractions_are_those_of_a_stamp_counted_by_hand():
    weights, mask = np.ones((2, 10, 10), np.float32), np.zeros((2, 10, 10), np.uint32)
    weights[0, 4, :] = 0
    mask[1, 0, 0] = SATURATED | NO_DATA
    mask[1, 9, 9] = DETECTED
    (batch,) = cutouts(make_tile(np.zeros_like(weights), weights, mask), [4.0, 0.0], [4.0, 0.0], 4)
    np.testing.assert_allclose(batch.coverage_frac, [[12 / 16, 1], [4 / 16, 4 / 16]])
    np.testing.assert_allclose(batch.masked_frac, [[0, 0], [0, 1 / 16]])


def test_a_band_that_is_missing_has_no_coverage():
    tile = random_tile(3, 20, 20)
    tile.pixels[1], tile.inverse_variance[1] = np.nan, 0
    (batch,) = cutouts(tile, [10.0], [10.0], 8)
    assert np.isnan(batch.pixels[0, 1]).all() and not np.isnan(batch.pixels[0, [0, 2]]).any()
    assert batch.coverage_frac[0, 1] == 0 and (batch.coverage_frac[0, [0, 2]] > 0).all()


def test_a_batch_lies_in_the_buffer_of_the_one_before():
    batches = cutouts(random_tile(2, 20, 20), np.arange(7.0), np.arange(7.0), 4, batch=3)
    first, second, last = batches
    assert np.shares_memory(first.pixels, second.pixels)
    assert [len(batch.pixels) for batch in (first, second, last)] == [3, 3, 1]
    assert first.inverse_variance is None and first.mask is None


def test_with_two_buffers_a_batch_stays_while_the_next_is_cut():
    tile, places = random_tile(2, 20, 20), np.arange(9.0)
    whole = all_stamps(tile, places, places, 4)
    batches = cutouts(tile, places, places, 4, batch=3, what=LAYERS, buffers=2)
    first, second = next(batches), next(batches)
    np.testing.assert_array_equal(first.pixels, whole["pixels"][:3])
    np.testing.assert_array_equal(first.mask, whole["mask"][:3])
    third = next(batches)
    np.testing.assert_array_equal(second.pixels, whole["pixels"][3:6])
    assert np.shares_memory(first.pixels, third.pixels) and not np.shares_memory(first.pixels, second.pixels)


def test_the_tile_stays_as_it_is():
    tile = random_tile(2, 20, 20)
    before = [getattr(tile, layer).copy() for layer in LAYERS]
    for batch in cutouts(tile, [3.0, 19.0], [3.0, 0.0], 8, what=LAYERS):
        batch.pixels[:] = 0
    for layer, values in zip(LAYERS, before):
        np.testing.assert_array_equal(getattr(tile, layer), values)


def test_no_sources_make_no_batch():
    assert list(cutouts(random_tile(1, 5, 5), [], [], 3)) == []


def test_stamps_of_galaxies_of_a_real_image_are_those_of_astropy(data: Path):
    files = [data / f"images/small_references/reprojected_sdss_{band}.fits.bz2" for band in "gri"]
    tile = make_tile(np.stack([fits.getdata(file) for file in files]).astype(np.float32))
    ny, nx = tile.shape
    x, y = np.random.default_rng(2).uniform([0, 0], [nx, ny], (50, 2)).T
    size = 33
    found = all_stamps(tile, x, y, size, batch=16)
    for source, place in enumerate(zip(x, y)):
        for band, image in enumerate(tile.pixels):
            stamp = Cutout2D(image, place, size, mode="partial", fill_value=np.nan)
            np.testing.assert_array_equal(found["pixels"][source, band], stamp.data)
        inside = np.isfinite(Cutout2D(np.zeros((ny, nx)), place, size, mode="partial", fill_value=np.nan).data)
        np.testing.assert_allclose(found["coverage_frac"][source], inside.mean(), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"x": [1.0, 2.0]}, r"patch: expected x and y of one shape"),
        ({"x": 1.0, "y": 1.0}, r"expected x and y of one shape \(n,\), found \(\)"),
        ({"size": 0}, "found 0, 64 and 1"),
        ({"batch": 0}, "found 3, 0 and 1"),
        ({"buffers": 0}, "found 3, 64 and 0"),
        ({"what": ("pixel",)}, "expected any of pixels, inverse_variance, mask, found pixel"),
    ],
)
def test_what_cannot_be_cut_is_told_at_the_call(change, match):
    with pytest.raises(ValueError, match=match):
        cutouts(**({"tile": random_tile(1, 5, 5), "x": [1.0], "y": [1.0], "size": 3} | change))
