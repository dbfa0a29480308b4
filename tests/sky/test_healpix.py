"""HEALPix indices agree with another implementation, and tiles nest."""

from __future__ import annotations

import astropy.units as u
import cdshealpix.nested
import numpy as np
from astropy.coordinates import Latitude, Longitude
from hypothesis import given
from hypothesis import strategies as st

from skymill.sky import ORDER, Tile, at_order, order29, separation_arcsec, tile_centres, tile_range

positions = st.tuples(st.floats(0, 360, exclude_max=True), st.floats(-90, 90))


@given(st.lists(positions, min_size=1, max_size=20))
def test_order29_and_cdshealpix_both_give_a_pixel_around_the_point(points):
    """At an edge the two may round to either side: pixels are 0.4 mas wide, and both centres are near."""
    ra, dec = np.array(points).T
    ours = order29(ra, dec)
    assert ours.dtype == np.int64
    theirs = cdshealpix.nested.lonlat_to_healpix(Longitude(ra, u.deg), Latitude(dec, u.deg), ORDER)
    for pixels in (ours, theirs.astype(np.int64)):
        assert separation_arcsec(ra, dec, *tile_centres(ORDER, pixels)).max() < 1e-3


@given(positions, st.integers(0, 29))
def test_a_position_lies_in_its_tile_range(point, order):
    index = order29(*np.array([point]).T)
    tile = Tile(order, int(at_order(index, order)[0]))
    first, stop = tile_range(tile)
    assert first <= index[0] < stop
    assert str(tile) == f"Norder={order}/Npix={tile.pixel}"


def test_centres_lie_in_their_pixels():
    pixels = np.arange(12 * 4**3)
    assert np.array_equal(at_order(order29(*tile_centres(3, pixels)), 3), pixels)


def test_known_pixels_of_order_zero():
    # The four base pixels of the northern cap are centred at ra 45, 135, 225, 315.
    assert at_order(order29([45, 135, 225, 315], [60] * 4), 0).tolist() == [0, 1, 2, 3]


def test_big_endian_positions_give_the_same_index():
    ra, dec = np.array([10.0, 200.0]), np.array([-5.0, 80.0])
    assert np.array_equal(order29(ra.astype(">f8"), dec.astype(">f8")), order29(ra, dec))
