"""Tiles as windows of one grid."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from skymill.config.images import RenderSettings
from skymill.survey import rendered
from skymill.survey.rendered import grid
from skymill.survey.rendered.grid import Window


def test_names_run_row_by_row():
    assert rendered.tile_names(RenderSettings(tiles=(3, 2))) == ["x0y0", "x1y0", "x2y0", "x0y1", "x1y1", "x2y1"]


def test_unknown_tile_is_refused_with_those_there_are(small):
    with pytest.raises(KeyError, match="no tile 'x9y9' among 2 x 2: x0y0, x1y0, x0y1, x1y1"):
        rendered.tile_geometry(small, "x9y9")


def test_more_overlap_than_half_a_tile_is_refused():
    with pytest.raises(ValidationError, match="overlap_px must be at most half of tile_px, 128; found 129"):
        RenderSettings(tile_px=256, overlap_px=129)


@given(
    ra=st.floats(0, 359.99),
    dec=st.floats(-90, 90),
    x=st.floats(0, 1023),
    y=st.floats(0, 1023),
    name=st.sampled_from(rendered.tile_names(RenderSettings())),
)
def test_positions_go_to_the_sky_and_back(ra, dec, x, y, name):
    wcs = WCS(fits.Header.fromstring(rendered.tile_geometry(RenderSettings(centre=(ra, dec)), name).header))
    assert np.allclose(wcs.wcs_world2pix(*wcs.wcs_pix2world(x, y, 0), 0), (x, y), atol=1e-5)


def test_tiles_say_the_same_of_the_sky_they_share(small):
    left, right = (WCS(fits.Header.fromstring(rendered.tile_geometry(small, name).header)) for name in ("x0y0", "x1y0"))
    step = small.tile_px - small.overlap_px
    assert np.allclose(left.wcs_pix2world(step + 10, 20, 0), right.wcs_pix2world(10, 20, 0), rtol=0, atol=1e-10)


def test_north_is_up_east_is_left_at_a_fifth_of_an_arcsec(small):
    wcs = WCS(fits.Header.fromstring(rendered.tile_geometry(small, "x1y1").header))
    (ra, dec), (left_ra, _), (_, upper_dec) = (wcs.wcs_pix2world(x, y, 0) for x, y in ((5, 5), (4, 5), (5, 6)))
    assert (left_ra - ra) * np.cos(np.radians(dec)) * 3600 == pytest.approx(0.2, rel=1e-4)
    assert (upper_dec - dec) * 3600 == pytest.approx(0.2, rel=1e-4)


def test_geometry_is_that_of_the_rendered_tile(small, tiles):
    geometry = rendered.tile_geometry(small, "x1y0")
    assert geometry.shape == tiles["x1y0"].shape
    assert WCS(fits.Header.fromstring(geometry.header)).wcs.compare(tiles["x1y0"].wcs.wcs)


def test_centre_is_the_mosaics_middle(small):
    whole = grid.mosaic(small)
    assert np.allclose(grid.sky_positions(small, (whole.nx - 1) / 2, (whole.ny - 1) / 2), small.centre)


def test_windows_that_do_not_meet_have_nothing_in_common():
    assert Window(0, 0, 10, 10).common(Window(10, 0, 5, 5)) is None
    assert Window(0, 0, 10, 10).common(Window(8, -3, 5, 5)) == (slice(0, 2), slice(8, 10))
