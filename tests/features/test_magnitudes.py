"""Asinh magnitudes, their errors and dereddening."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymill.features.magnitudes import asinh_magnitude, asinh_magnitude_error, deredden


def test_a_bright_source_has_its_ab_magnitude():
    flux = 10.0 ** ((31.4 - np.array([[18.0, 20.0]])) / 2.5)
    assert asinh_magnitude(flux, [10.0, 10.0]) == pytest.approx(np.array([[18.0, 20.0]]), abs=1e-6)


def test_values_computed_by_hand():
    # b = 10 nJy: at no flux 31.4 - 1.0857362 ln 10 = 28.9; at f = 2b another 1.0857362 asinh(1) = 0.9569392 brighter.
    found = asinh_magnitude([[0.0], [20.0], [-20.0]], [10.0])[:, 0]
    assert found == pytest.approx([28.9, 28.9 - 0.9569392, 28.9 + 0.9569392], abs=1e-6)
    # At no flux, 5 nJy of error: 1.0857362 * 5 / 20.
    assert asinh_magnitude_error([[0.0]], [[5.0]], [10.0])[0, 0] == pytest.approx(0.2714341, abs=1e-6)
    # Bright: 1.0857362 e / f, here 1 %.
    assert asinh_magnitude_error([[1e6]], [[1e4]], [10.0])[0, 0] == pytest.approx(0.0108574, abs=1e-6)


def test_agrees_with_the_sdss_definition_of_a_luptitude():
    b, maggies = 1.2e-10, np.array([[3e-10], [1e-8], [-5e-11]])
    sdss = -2.5 / np.log(10) * (np.arcsinh(maggies / (2 * b)) + np.log(b))
    in_nJy = 10 ** (31.4 / 2.5)
    assert asinh_magnitude(maggies * in_nJy, [b * in_nJy]) == pytest.approx(sdss, abs=1e-9)


@given(st.floats(-1e30, 1e30), st.floats(1.0, 1e4))
def test_magnitudes_are_finite_and_fall_with_flux(flux, softening):
    fainter, brighter = asinh_magnitude([[flux], [flux + abs(flux) * 0.01 + softening]], [softening])[:, 0]
    assert np.isfinite([fainter, brighter]).all()
    assert brighter < fainter


def test_errors_agree_with_monte_carlo():
    generator = np.random.default_rng(3)
    softening, error = 15.0, 4.0
    for flux in (-20.0, 0.0, 30.0, 500.0):
        noisy = generator.normal(flux, error, (200_000, 1))
        predicted = asinh_magnitude_error([[flux]], [[error]], [softening])[0, 0]
        # The scatter of 2e5 draws is good to 0.2 %; what the linear term leaves out stays below 2 %.
        assert np.std(asinh_magnitude(noisy, [softening])) == pytest.approx(predicted, rel=0.02)


def test_dereddening_brightens_by_a_magnitudes_and_reddened_colours_become_bluer():
    ebv, coefficients = np.array([0.1]), [4.78, 3.65]
    flux = np.array([[1e6, 2e6]])
    before, after = (
        asinh_magnitude(flux, [10.0, 10.0]),
        asinh_magnitude(deredden(flux, ebv, coefficients), [10.0, 10.0]),
    )
    assert before - after == pytest.approx(np.array([[0.478, 0.365]]), abs=1e-6)
    assert after[0, 0] - after[0, 1] == pytest.approx(before[0, 0] - before[0, 1] - 0.113, abs=1e-6)


def test_dereddening_keeps_signal_to_noise_and_sign():
    flux, error = np.array([[-3.0]]), np.array([[2.0]])
    lit, noise = (deredden(array, [0.2], [3.0]) for array in (flux, error))
    assert lit[0, 0] < flux[0, 0]
    assert lit / noise == pytest.approx(flux / error)
