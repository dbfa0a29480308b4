"""Shares of pixels in circles and ellipses, against exact areas."""

from __future__ import annotations

import numpy as np
import pytest
import sep
from hypothesis import given
from hypothesis import strategies as st

from skymill.features.measuring.apertures import Aperture, circle, ellipse, elliptical_radius, offsets

OFFSET = st.floats(-0.5, 0.5)


@pytest.mark.parametrize(("radius", "within"), [(1.0, 0.05), (1.5, 0.03), (3.0, 2e-3), (5.0, 2e-3), (17.0, 1e-4)])
def test_area_of_a_circle(radius: float, within: float):
    dx, dy = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 300))
    area = circle(dx, dy, radius).share.sum(axis=(1, 2))
    assert area == pytest.approx(np.full(300, np.pi * radius**2), rel=within)


@pytest.mark.parametrize("radius", [3.0, 5.0, 7.0])
def test_light_of_a_star_in_a_circle_is_sep_s_exact_sum(radius: float):
    dx, dy = np.random.default_rng(2).uniform(-0.5, 0.5, (2, 200))
    aperture = circle(dx, dy, radius)
    x, y = offsets(dx, dy, aperture.half)
    star = np.exp(-(x * x + y * y) / 4.5).astype(np.float32)
    size = star.shape[1]
    rows = aperture.half + dy + size * np.arange(len(dx))
    exact, _, _ = sep.sum_circle(star.reshape(-1, size), aperture.half + dx, rows, radius, subpix=0)
    assert np.einsum("nij,nij->n", star, aperture.share) == pytest.approx(exact, rel=1e-3)


@given(dx=OFFSET, dy=OFFSET, major=st.floats(1.5, 4), ratio=st.floats(0.3, 1), angle=st.floats(-1.5, 1.5))
def test_area_of_an_ellipse(dx: float, dy: float, major: float, ratio: float, angle: float):
    minor, cosine, sine = major * ratio, np.cos(angle), np.sin(angle)
    form = np.array(
        [
            [cosine**2 / major**2 + sine**2 / minor**2],
            [sine**2 / major**2 + cosine**2 / minor**2],
            [cosine * sine * (1 / major**2 - 1 / minor**2)],
        ],
        dtype=np.float32,
    )
    x, y = offsets(np.array([dx]), np.array([dy]), 20)
    area = ellipse(x, y, form, np.array([3.5])).share.sum()
    assert area == pytest.approx(np.pi * major * minor * 3.5**2, rel=0.01 if minor >= 0.75 else 0.02)
    assert elliptical_radius(x, y, form).shape == (1, 41, 41)


def test_pixels_of_others_are_replaced_by_their_mirror_images():
    usable = np.ones((1, 3, 3), dtype=bool)
    usable[0, 0, 0] = False
    share = np.full((1, 3, 3), 0.5, dtype=np.float32)
    counts = Aperture(share).effective(usable)
    expected = np.full((3, 3), 0.5)
    expected[0, 0], expected[2, 2] = 0.0, 1.0
    assert np.array_equal(counts[0], expected)


def test_where_a_pixel_and_its_mirror_image_are_lost_there_is_nothing():
    usable = np.ones((1, 3, 3), dtype=bool)
    usable[0, 0, 0] = usable[0, 2, 2] = False
    counts = Aperture(np.ones((1, 3, 3), dtype=np.float32)).effective(usable)
    assert counts.sum() == 7
