"""Angles become degrees, right ascensions are wrapped by one turn and no more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymill.config.survey import AngleColumn
from skymill.sky import separation_arcsec
from skymill.survey.angles import degrees, positions


@pytest.mark.parametrize(("unit", "turn"), [("deg", 360.0), ("hourangle", 24.0), ("rad", 2 * np.pi)])
def test_a_quarter_turn_is_ninety_degrees(unit: str, turn: float) -> None:
    angle = degrees(np.array([turn / 4, np.nan, np.inf, 0]), AngleColumn(column="a", unit=unit))
    np.testing.assert_array_equal(angle, [90, np.nan, np.nan, 0])


def test_masked_angles_are_nan() -> None:
    masked = np.ma.MaskedArray([10, 20], mask=[False, True], dtype=">i4")
    np.testing.assert_array_equal(degrees(masked, AngleColumn(column="a", unit="deg")), [10, np.nan])


@given(st.floats(-360, 720, exclude_max=True), st.floats(-90, 90))
def test_wrapping_keeps_the_place_on_the_sky(ra: float, dec: float) -> None:
    place = positions(np.array([ra]), np.array([dec]))
    assert 0 <= place.ra[0] < 360 and not np.signbit(place.ra[0])
    assert place.wrapped[0] == (not 0 <= ra < 360)
    assert separation_arcsec(ra, dec, place.ra[0], place.dec[0]) < 1e-9


@given(st.floats().filter(lambda ra: not -360 <= ra < 720), st.floats(-90, 90))
def test_more_than_one_turn_is_no_angle(ra: float, dec: float) -> None:
    place = positions(np.array([ra]), np.array([dec]))
    assert place.missing[0] != place.ra_out_of_range[0]
    assert place.missing[0] == np.isnan(ra)


@given(st.floats(-90, 90))
def test_both_poles_belong_to_the_sky_and_nothing_beyond(dec: float) -> None:
    place = positions(np.zeros(3), np.array([dec, np.nextafter(90, 91), np.nextafter(-90, -91)]))
    assert place.dec_out_of_range.tolist() == [False, True, True]
