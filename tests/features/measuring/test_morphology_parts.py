"""The parts of morphology against values worked out by hand, photutils, astropy and slow references."""

from __future__ import annotations

import math

import numpy as np
import pytest
from astropy.stats import sigma_clipped_stats
from hypothesis import given, settings
from hypothesis import strategies as st
from photutils.aperture import EllipticalAperture
from photutils.background import ModeEstimatorBackground
from skimage.transform import rotate

from skymill.features.measuring.morphology.apertures import along_rows, aperture_sums
from skymill.features.measuring.morphology.asymmetry import OUTSIDE, Turning, asymmetry_about, most_symmetric
from skymill.features.measuring.morphology.extent import sky_threshold
from skymill.features.measuring.morphology.light import gini, m20
from skymill.features.measuring.morphology.stamps import elongation, find_skybox, moments_about

angles = st.floats(-math.pi, math.pi)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 1, 1, 1], 0.0),
        ([0, 0, 0, 5], 1.0),
        ([1, 2, 3, 4], 1 / 3),  # (-3 - 2 + 3 + 12) / (3 * 10)
        ([4, -1, 3, -2], 1 / 3),
        ([1, 3], 0.5),
    ],
)
def test_gini_of_known_pixels(values, expected):
    assert gini(np.array(values, float)) == pytest.approx(expected)


@pytest.mark.parametrize("values", [[], [3.0], [0.0, 0.0]])
def test_gini_of_too_little(values):
    assert math.isnan(gini(np.array(values)))


def test_m20_of_known_pixels():
    """Five pixels in a row, the brightest, 4 of 10, two from the middle: it alone holds the brightest fifth."""
    image = np.zeros((3, 7))
    image[1, 1:6] = [4, 1, 0.5, 1, 3.5]
    centroid = (4 * 1 + 1 * 2 + 0.5 * 3 + 1 * 4 + 3.5 * 5) / 10
    squares = [value * (x - centroid) ** 2 for x, value in zip(range(1, 6), image[1, 1:6])]
    assert m20(image, image > 0) == pytest.approx(math.log10(squares[0] / sum(squares)))


def test_m20_needs_flux_and_extent():
    image = np.zeros((5, 5))
    assert math.isnan(m20(image, image == 0))
    image[2, 2] = 1
    assert math.isnan(m20(image, image > 0))


@pytest.fixture(scope="module")
def speckled() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    good = random.random((23, 31)) > 0.1
    return np.where(good, random.normal(size=good.shape), 0.0), good.astype(float)


@settings(max_examples=300)
@given(x=st.floats(-12, 43), y=st.floats(-12, 35), a=st.floats(0.05, 40), ratio=st.floats(0.02, 1), angle=angles)
def test_sums_over_ellipses_are_those_of_photutils(speckled, x, y, a, ratio, angle):
    image, good = speckled
    found = aperture_sums(along_rows(image, good), (x, y, a, a * ratio, math.cos(angle), math.sin(angle)))
    aperture = EllipticalAperture((x, y), a, a * ratio, theta=angle)
    expected = [aperture.do_photometry(array, method="exact")[0][0] for array in (image, good)]
    np.testing.assert_allclose(found, np.nan_to_num(expected), atol=1e-8)


@pytest.mark.parametrize("radius", [0.3, 0.5, 2.0, 7.25, 11.0])
@pytest.mark.parametrize("x", [15.0, 15.5, 14.2])
def test_areas_of_circles_are_exact(x, radius):
    sums = along_rows(np.ones((31, 31)), np.ones((31, 31)))
    flux, area = aperture_sums(sums, (x, 15.0, radius, radius, 1.0, 0.0))
    assert flux == pytest.approx(math.pi * radius**2, rel=1e-12)
    assert area == pytest.approx(flux)


def slow_asymmetry(image: np.ndarray, good: np.ndarray, x: float, y: float, radius: float, sky: float) -> float:
    """By scikit-image and photutils, on the whole image."""
    turned = rotate(image, 180, center=(x, y))
    both = (good > 0) & ~rotate(good == 0, 180, center=(x, y))
    aperture = EllipticalAperture((x, y), radius, radius)
    light, difference, area = (
        aperture.do_photometry(np.where(both, values, 0.0), method="exact")[0][0]
        for values in (np.abs(image), np.abs(turned - image), np.ones_like(image))
    )
    return (difference - area * sky) / light


off_grid = st.floats(0.01, 0.24) | st.floats(0.26, 0.49)
"""Centres from which no pixel is turned to just between two, or to just the border, where rounding would decide."""


@settings(max_examples=100)
@given(x=st.integers(0, 61), y=st.integers(0, 45), dx=off_grid, dy=off_grid, radius=st.floats(2, 40), sky=st.just(0.3))
def test_asymmetry_is_that_of_the_slow_reference(speckled, x, y, dx, dy, radius, sky):
    image, good = speckled
    x, y = x / 2 + dx, y / 2 + dy
    turning = Turning(image, good, image[::-1, ::-1].copy(), good[::-1, ::-1].copy(), sky)
    assert asymmetry_about(turning, x, y, radius) == pytest.approx(
        slow_asymmetry(image, good, x, y, radius, sky), abs=1e-8
    )


def test_asymmetry_about_a_centre_outside_drives_back(speckled):
    turning = Turning(*speckled, *speckled, 0.0)
    assert asymmetry_about(turning, -0.1, 5.0, 3.0) == asymmetry_about(turning, 5.0, 23.0, 3.0) == OUTSIDE


@pytest.mark.parametrize(("x", "y"), [(30.0, 30.0), (29.3, 31.8), (34.5, 26.25)])
def test_the_centre_of_a_symmetric_source_is_found(x, y):
    rows, columns = np.mgrid[:61, :61]
    image = np.exp(-0.5 * ((columns - x) ** 2 + 2 * (rows - y) ** 2) / 6.0**2)
    good = np.ones_like(image)
    turning = Turning(image, good, image[::-1, ::-1].copy(), good, 0.0)
    found_x, found_y, _ = most_symmetric(turning, x + 1.3, y - 0.9, 20.0)
    assert (found_x, found_y) == pytest.approx((x, y), abs=0.01)


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 400), outliers=st.integers(0, 30))
def test_the_sky_is_clipped_as_astropy_and_photutils_do(seed, n, outliers):
    random = np.random.default_rng(seed)
    sky = np.concatenate([random.normal(3, 1, n), random.uniform(0, 100, outliers)])
    mode = ModeEstimatorBackground(median_factor=2.5, mean_factor=1.5)
    mean, median, sigma = sigma_clipped_stats(sky, sigma=3, maxiters=None, cenfunc=mode)
    assert sky_threshold(np.sort(sky)) == pytest.approx(2.5 * median - 1.5 * mean + sigma, rel=1e-9)


@given(ratio=st.floats(0.2, 1), angle=angles)
def test_shape_of_an_ellipse_from_its_moments(ratio, angle):
    rows, columns = np.mgrid[:81, :81] - 40
    along = columns * np.cos(angle) + rows * np.sin(angle)
    across = rows * np.cos(angle) - columns * np.sin(angle)
    image = np.exp(-0.5 * (along**2 + (across / ratio) ** 2) / 8.0**2)
    found, direction = elongation(moments_about(image, np.ones_like(image), 40.0, 40.0))
    assert found == pytest.approx(1 / ratio, rel=1e-3)
    if ratio < 0.9:
        assert math.sin(direction - angle) == pytest.approx(0, abs=1e-3)


def test_a_line_of_pixels_has_a_width():
    image = np.zeros((9, 9))
    image[4, 2:7] = 1
    found, direction = elongation(moments_about(image, np.ones_like(image), 4.0, 4.0))
    assert 1 < found < 10 and direction == 0


def test_the_box_of_sky_is_the_first_and_largest_without_sources_and_masked_pixels():
    labels, masked = np.zeros((60, 70), np.int32), np.zeros((60, 70), bool)
    assert find_skybox(labels, masked) == (0, 0, 32)
    labels[0, 10] = 3
    assert find_skybox(labels, masked) == (0, 11, 32)
    masked[20, :] = True
    assert find_skybox(labels, masked) == (21, 0, 32)
    masked[::3, :] = True
    assert find_skybox(labels, masked) == (1, 0, 2)
    assert find_skybox(labels, np.ones_like(masked)) == (0, 0, 0)
