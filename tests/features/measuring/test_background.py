"""Sky and noise."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import deep_field
from tiles import make_tile

from skymill.features.measuring.background import correlated_noise, subtract_background
from skymill.features.measuring.detection import bright_pixels


def noise(shape: tuple[int, int] = (400, 500), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_a_slope_is_taken_away():
    y, x = np.mgrid[:400, :500]
    sky = subtract_background(make_tile(50 + 0.02 * x - 0.01 * y + noise()), 64, 3.5)
    inner = sky.pixels[0, 32:-32, 32:-32]
    assert abs(inner.mean()) < 0.02
    assert inner.std() == pytest.approx(1.0, rel=0.02)
    assert sky.background["r"] == pytest.approx(53, abs=0.3)


def test_the_noise_of_each_mesh_is_measured_where_it_is_not_given():
    sigma = np.where(np.arange(500) < 250, 2.0, 5.0)
    sky = subtract_background(make_tile(sigma * noise(), noise_known=False), 50, 3.5)
    measured = 1 / np.sqrt(sky.weight[0])
    assert np.median(measured[:, :200]) == pytest.approx(2.0, rel=0.05)
    assert np.median(measured[:, 300:]) == pytest.approx(5.0, rel=0.05)


def test_white_noise_is_not_correlated_and_smooth_noise_is():
    from scipy.ndimage import uniform_filter

    masked = np.zeros((400, 500), dtype=bool)
    white, smooth = noise().astype(np.float32), uniform_filter(noise(), 2).astype(np.float32)
    assert correlated_noise(white, np.ones_like(white), masked, 4) == pytest.approx(1.0, abs=0.03)
    weight = np.full_like(smooth, 1 / smooth.var())
    assert correlated_noise(smooth, weight, masked, 4) == pytest.approx(
        1.75, abs=0.1
    )  # 1 + 2 (3/4) (1/2), in both axes


def test_pixels_without_weight_have_none_afterwards():
    pixels, weight = noise(), np.ones((400, 500))
    pixels[10, 20], pixels[30, 40], weight[50:60] = np.nan, np.inf, 0
    sky = subtract_background(make_tile(pixels, weight), 64, 3.5)
    lost = ~np.isfinite(pixels) | (weight == 0)
    assert np.array_equal(sky.weight[0] == 0, lost)
    assert (sky.pixels[0][lost] == 0).all()
    assert np.isfinite(sky.pixels).all()


@pytest.mark.parametrize("share", [0.45, 0.3, 0.12, 0.02])
def test_few_pixels_of_sky_are_enough(share: float):
    generator = np.random.default_rng(4)
    weight = (generator.uniform(size=(400, 500)) < share).astype(float)
    sky = subtract_background(make_tile(50 + noise(), weight), 100, 3.5)
    assert sky.background["r"] == pytest.approx(50, abs=0.1)


def test_a_deep_field_s_background_leaves_its_sources_out():
    tile = deep_field(side=512, seed=3, sky=50.0).tile
    bright = bright_pixels(tile, 128, 3.6)
    assert bright.mean() > 0.4  # more than sep takes a mesh with
    assert subtract_background(tile, 128, 3.6, bright).background["i"] == pytest.approx(50.0, abs=0.15)
    assert subtract_background(tile, 128, 3.6).background["i"] > 50.15


def test_odd_sides_and_first_looks():
    tile = make_tile(noise((101, 99)))
    assert bright_pixels(tile, 32, 3.5).shape == (101, 99)
