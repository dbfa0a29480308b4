"""The strip around a tile holds all that is near it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skymill.sky import Tile, border_ranges, order29, tile_centres, tile_range


@settings(deadline=None)  # the first call loads cdshealpix
@given(st.integers(0, 10), st.floats(0, 1, exclude_max=True), st.floats(-4, 1), st.integers(0, 2**32 - 1))
def test_the_strip_holds_every_place_near_the_tile_and_none_in_it(order, where, log_width, seed):
    tile, width = Tile(order, int(where * 12 * 4**order)), 10.0**log_width
    ranges = border_ranges(tile, width)
    start, stop = tile_range(tile)
    assert (ranges[:, 0] < ranges[:, 1]).all() and (ranges[:-1, 1] <= ranges[1:, 0]).all()
    assert ((ranges[:, 1] <= start) | (ranges[:, 0] >= stop)).all()
    rng = np.random.default_rng(seed)
    inside = start + (rng.random(200) * (stop - start)).astype(np.int64)
    ra, dec = tile_centres(29, inside)
    # A step of less than the width from a place in the tile, in any direction, on the sphere.
    step, angle = np.radians(width * rng.random(200)), rng.uniform(0, 2 * np.pi, 200)
    longitude, latitude = np.radians(ra), np.radians(dec)
    sine = np.sin(latitude) * np.cos(step) + np.cos(latitude) * np.sin(step) * np.cos(angle)
    east = np.arctan2(np.sin(angle) * np.sin(step) * np.cos(latitude), np.cos(step) - np.sin(latitude) * sine)
    there = order29(np.degrees(longitude + east) % 360, np.degrees(np.arcsin(np.clip(sine, -1, 1))))
    outside = there[(there < start) | (there >= stop)]
    place = np.searchsorted(ranges[:, 1], outside, side="right")
    assert (np.append(ranges[:, 0], np.iinfo(np.int64).max)[place] <= outside).all()


def test_a_strip_wider_than_a_field_is_refused():
    with pytest.raises(ValueError, match="width of up to 10 degrees, found 30"):
        border_ranges(Tile(0, 0), 30)
