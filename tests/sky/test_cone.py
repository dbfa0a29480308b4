"""Cones cover what they must, at the poles, across RA 0 and at every size."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given
from hypothesis import strategies as st

from skymill.sky import ORDER, cone_ranges, in_cone, order29, separation_arcsec, unit_vectors

ra = st.floats(0, 360, exclude_max=True)
dec = st.one_of(st.floats(-90, 90), st.sampled_from([-90.0, 90.0, 0.0]))


def covered(ranges: np.ndarray, index: np.ndarray) -> np.ndarray:
    place = np.searchsorted(ranges[:, 0], index, side="right") - 1
    return (place >= 0) & (index < ranges[np.maximum(place, 0), 1])


@given(ra, dec, st.floats(1e-6, 179), st.floats(0, 1), st.floats(0, 360))
def test_every_position_of_a_cone_is_covered(ra, dec, radius, share, angle):
    centre = SkyCoord(ra, dec, unit="deg")
    inside = centre.directional_offset_by(angle * u.deg, share * radius * 0.999999 * u.deg)
    assert covered(cone_ranges(ra, dec, radius), order29([inside.ra.deg % 360], [inside.dec.deg])).all()


@pytest.mark.parametrize("radius", [60, 89, 90, 91, 130, 135, 150, 170, 179, 180])
@pytest.mark.parametrize("centre", [(0, 90), (0, 0), (45, 41.8), (53.1, -27.8), (301, 5)])
def test_wide_cones_cover_a_whole_sky_of_sources(centre, radius):
    random = np.random.default_rng(3)
    ra, dec = random.uniform(0, 360, 50_000), np.degrees(np.arcsin(random.uniform(-1, 1, 50_000)))
    inside = separation_arcsec(ra, dec, *centre) <= radius * 3600
    assert inside.mean() == pytest.approx((1 - np.cos(np.radians(radius))) / 2, abs=0.01)
    assert covered(cone_ranges(*centre, radius), order29(ra, dec)[inside]).all()


@pytest.mark.parametrize("radius", [0.0, 1e-13, 1e-10, 1e-7])
@pytest.mark.parametrize("ra", [0.0, 45.0, 90.0, 22.5, 359.9999999999])
@pytest.mark.parametrize("dec", [0.0, 90.0, -90.0, np.degrees(np.arcsin(2 / 3)), -np.degrees(np.arcsin(2 / 3))])
def test_tiny_cones_cover_their_centre_and_edge_where_pixels_meet(ra, dec, radius):
    edge = np.clip([dec - radius, dec, dec + radius], -90, 90)
    assert covered(cone_ranges(ra, dec, radius), order29(np.full(3, ra), edge)).all()


@given(ra, dec, st.floats(0, 180))
def test_ranges_are_sorted_and_disjoint(ra, dec, radius):
    ranges = cone_ranges(ra, dec, radius)
    assert np.all(ranges[:, 0] < ranges[:, 1])
    assert np.all(ranges[1:, 0] > ranges[:-1, 1])
    assert ranges[0, 0] >= 0
    assert ranges[-1, 1] <= 12 << 2 * ORDER


@pytest.mark.parametrize("radius", [0.01, 1.0, 20.0])
def test_cover_is_not_much_larger_than_the_cone(radius):
    area = np.diff(cone_ranges(123.0, -45.0, radius), axis=1).sum() / (12 << 2 * ORDER)
    assert area < 1.6 * (1 - np.cos(np.radians(radius))) / 2


@given(ra, dec, ra, dec)
def test_separation_agrees_with_astropy(ra1, dec1, ra2, dec2):
    expected = SkyCoord(ra1, dec1, unit="deg").separation(SkyCoord(ra2, dec2, unit="deg")).arcsec
    assert separation_arcsec(ra1, dec1, ra2, dec2) == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_vectors_have_unit_length_and_point_right():
    vectors = unit_vectors([0, 90, 12], [0, 0, 90])
    assert np.allclose(vectors, [[1, 0, 0], [0, 1, 0], [0, 0, 1]], atol=1e-15)


def test_in_cone_wraps_around_zero():
    assert in_cone([359.9, 0.1, 0.3], [0, 0, 0], 0.0, 0.0, 0.2).tolist() == [True, True, False]


def test_impossible_cones_are_refused():
    with pytest.raises(ValueError, match="dec=91"):
        cone_ranges(0, 91, 1)
    with pytest.raises(ValueError, match="found -1"):
        cone_ranges(0, 0, -1)
