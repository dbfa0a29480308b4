"""Every unit becomes nJy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymill.config import Photometry
from skymill.survey.flux import fluxes

SDSS_U = 1.4e-10


def convert(values: Any, errors: Any = None, **keys: Any):
    photometry = Photometry(column="{band}", **({"unit": "nJy"} | keys))
    return fluxes(np.asanyarray(values), None if errors is None else np.asanyarray(errors), photometry, "u")


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("nJy", 2.0), ("uJy", 2e3), ("mJy", 2e6), ("Jy", 2e9), ("nanomaggy", 7262.0)],
)
def test_linear_units(unit: str, expected: float) -> None:
    found = convert([2.0], [1.0], unit=unit)
    np.testing.assert_allclose([found.flux[0], found.error[0]], [expected, expected / 2], rtol=1e-6)


@pytest.mark.parametrize("zero_point", [27.0, {"u": 27.0}])
def test_a_count_of_hsc_is_57_5_njy(zero_point: Any) -> None:
    assert convert([1.0], unit="count", zero_point=zero_point).flux[0] == pytest.approx(57.544, rel=1e-5)


def test_ab_magnitudes() -> None:
    found = convert([31.4, 23.9], [0.1, 0.1], unit="mag_ab")
    np.testing.assert_allclose(found.flux, [1, 1000], rtol=1e-6)
    np.testing.assert_allclose(found.error / found.flux, 0.1 / 1.0857, rtol=1e-4)


def test_the_offset_to_ab_scales_the_flux() -> None:
    shifted = convert([20.0], unit="mag_ab", ab_offset={"u": -0.04}).flux[0]
    assert shifted == pytest.approx(convert([19.96], unit="mag_ab").flux[0], rel=1e-6)


@given(st.floats(-1e5, 1e9))
def test_asinh_magnitudes_are_inverted(flux: float) -> None:
    ratio = flux / 10 ** (0.4 * 31.4)
    magnitude = -2.5 / np.log(10) * (np.arcsinh(ratio / (2 * SDSS_U)) + np.log(SDSS_U))
    found = convert([magnitude], unit="mag_asinh", softening={"u": SDSS_U}).flux[0]
    assert found == pytest.approx(flux, rel=1e-6, abs=1e-6)


def test_asinh_magnitudes_of_bright_sources_are_ordinary_ones() -> None:
    """SDSS gives 24.63 for u at zero flux (www.sdss4.org/dr17/algorithms/magnitudes, table of b)."""
    found = convert([24.63, 15.0], [0.1, 0.1], unit="mag_asinh", softening={"u": SDSS_U})
    assert abs(found.flux[0]) < 10
    assert found.flux[1] == pytest.approx(10 ** (0.4 * 16.4), rel=1e-5)
    assert found.error[1] / found.flux[1] == pytest.approx(0.1 / 1.0857, rel=1e-4)


@given(st.floats(20, 28), st.floats(1e-4, 1e-2))
def test_asinh_errors_are_the_derivative(magnitude: float, error: float) -> None:
    keys = {"unit": "mag_asinh", "softening": {"u": SDSS_U}}
    found = convert([magnitude], [error], **keys).error[0]
    step = 1e-4
    above, below = (float(convert([magnitude + sign * step], **keys).flux[0]) for sign in (1, -1))
    assert found == pytest.approx(abs(above - below) / (2 * step) * error, rel=2e-2)


def test_codes_are_told_apart() -> None:
    found = convert(
        [99.0, -9999.0, 20.0, 20.0], [0.1, 0.1, -9999.0, 0.0], unit="mag_ab", not_detected=[99.0], missing=[-9999.0]
    )
    np.testing.assert_array_equal(found.not_detected, [True, False, False, False])
    np.testing.assert_array_equal(np.isnan(found.flux), [False, True, False, False])
    assert found.flux[0] == 0
    np.testing.assert_array_equal(np.isnan(found.error), [True, True, True, True])


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4", "i4"])
def test_a_code_is_recognised_in_any_width(dtype: str) -> None:
    assert np.isnan(convert(np.array([-9999], dtype=dtype), missing=[-9999.0]).flux[0])


def test_a_code_stored_in_float32_and_widened_is_recognised() -> None:
    assert np.isnan(convert(np.array([98.99], "f4").astype("f8"), missing=[98.99]).flux[0])


def test_negative_fluxes_are_kept_and_what_is_no_number_is_nan() -> None:
    values = np.ma.MaskedArray([-5.0, np.nan, np.inf, 1e300, 7.0], mask=[False] * 4 + [True])
    found = convert(values, np.ones(5))
    np.testing.assert_array_equal(found.flux, np.array([-5, np.nan, np.nan, np.nan, np.nan], "f4"))
    np.testing.assert_array_equal(found.error, np.array([1, np.nan, np.nan, np.nan, np.nan], "f4"))


def test_a_masked_code_is_missing_and_not_undetected() -> None:
    found = convert(np.ma.MaskedArray([99.0], mask=[True]), not_detected=[99.0])
    assert np.isnan(found.flux[0]) and not found.not_detected[0]
