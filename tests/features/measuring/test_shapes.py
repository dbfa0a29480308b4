"""Adaptive moments."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import atmosphere, psf_image

from skymill.features.measuring.shapes import adaptive_moments, moments, psf_moments
from skymill.survey.images.tile import Psf


def gaussian(x: float, y: float, xx: float, yy: float, xy: float, half: int = 20) -> np.ndarray:
    column, row = np.meshgrid(np.arange(-half, half + 1) - x, np.arange(-half, half + 1) - y)
    inverse = np.linalg.inv([[xx, xy], [xy, yy]])
    power = inverse[0, 0] * column**2 + inverse[1, 1] * row**2 + 2 * inverse[0, 1] * column * row
    return np.exp(-0.5 * power).astype(np.float32)


def start(n: int = 1, size: float = 2.0) -> np.ndarray:
    first = np.zeros((5, n))
    first[2:4] = size
    return first


@given(
    x=st.floats(-1, 1),
    y=st.floats(-1, 1),
    major=st.floats(1.2, 3.5),
    ratio=st.floats(0.5, 1),
    angle=st.floats(0, np.pi),
)
def test_a_gaussian_has_its_own_moments(x: float, y: float, major: float, ratio: float, angle: float):
    cosine, sine, minor = np.cos(angle), np.sin(angle), max(1.0, major * ratio)
    xx, yy = major**2 * cosine**2 + minor**2 * sine**2, major**2 * sine**2 + minor**2 * cosine**2
    xy = (major**2 - minor**2) * cosine * sine
    state, failed, _ = adaptive_moments(gaussian(x, y, xx, yy, xy)[None], start())
    assert not failed[0]
    assert state[:, 0] == pytest.approx([x, y, xx, yy, xy], abs=0.01 * xx + 0.01)


def test_a_position_that_is_fixed_stays():
    state, failed, _ = adaptive_moments(gaussian(0.8, -0.6, 3, 3, 0)[None], start(), fixed=True)
    assert not failed[0]
    assert state[:2, 0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "light",
    [np.zeros((1, 17, 17)), -gaussian(0, 0, 2, 2, 0, 8)[None], np.eye(17)[None] * 0 + 1.0],
    ids=["nothing", "hole", "flat"],
)
def test_what_has_no_shape_fails(light: np.ndarray):
    _, failed, _ = adaptive_moments(light.astype(np.float32), start())
    assert failed[0]


def test_a_source_that_outgrows_the_stamp_is_told_apart():
    _, failed, larger = adaptive_moments(gaussian(0, 0, 40, 40, 0, 8)[None], start())
    assert failed[0] and larger[0]
    _, failed, larger = adaptive_moments(np.zeros((1, 17, 17), dtype=np.float32), start())
    assert failed[0] and not larger[0]


def test_moments_do_not_depend_on_the_scale_of_the_light():
    image = gaussian(0.2, 0.1, 3, 2, 0.4)
    for scale in (1e-12, 1.0, 1e8):
        assert moments(image * np.float32(scale), 3.5) == pytest.approx(moments(image, 3.5), rel=1e-4)


def test_psf_moments_of_a_width_and_of_an_image():
    assert psf_moments(Psf(3.5)) == pytest.approx([(3.5 / 2.3548) ** 2] * 2 + [0.0], rel=1e-3)
    xx, yy, xy = psf_moments(Psf(3.6, psf_image(atmosphere(0.7))))
    assert xx == pytest.approx(yy, rel=1e-3)
    assert xy == pytest.approx(0, abs=1e-3)
    assert xx == pytest.approx(2.825, rel=0.01)  # as GalSim's FindAdaptiveMom has it


def test_galsim_s_adaptive_moments_are_the_same():
    import galsim

    galaxy = galsim.Convolve(galsim.Exponential(half_light_radius=0.5).shear(e1=0.3, e2=-0.1), atmosphere(0.7))
    image = galaxy.drawImage(nx=81, ny=81, scale=0.2)
    theirs = galsim.hsm.FindAdaptiveMom(image)
    xx, yy, xy = moments(image.array.astype(np.float32), 3.5)
    assert np.sqrt(np.sqrt(xx * yy - xy**2)) == pytest.approx(theirs.moments_sigma, rel=3e-3)
    assert (xx - yy) / (xx + yy) == pytest.approx(theirs.observed_shape.e1, abs=3e-3)
    assert 2 * xy / (xx + yy) == pytest.approx(theirs.observed_shape.e2, abs=3e-3)
