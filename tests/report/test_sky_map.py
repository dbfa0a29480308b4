"""Maps show the right pixel in the right place."""

from __future__ import annotations

import numpy as np
import pytest

from skymill.report.sky_map import Region, _cap, draw_sky_map, fields_of, region_of
from skymill.sky import at_order, order29, separation_arcsec


@pytest.mark.parametrize("region", [Region(0.0, 0.0, 5.0), Region(123.0, -89.9, 10.0), Region(359.0, 60.0, 30.0)])
def test_the_projection_keeps_distance_and_direction(region):
    ra, dec, east, north = _cap(region)
    radius = np.hypot(east, north)
    inside = radius < region.radius
    # Lambert's radius is the chord, so distances are those of the sphere to second order.
    expected = 2 * np.degrees(np.arcsin(np.radians(radius) / 2))
    found = separation_arcsec(ra, dec, region.ra, region.dec) / 3600
    assert np.allclose(found[inside], expected[inside], atol=1e-6)
    up = (np.abs(east) < 0.1) & (north > 0) & (dec < 89) & (region.dec + north < 89)
    assert np.all(dec[up] > region.dec - 0.01)


def test_fields_far_apart_get_a_panel_each():
    index = order29(np.array([0.1, 0.5, 90.0, 90.2, 10.0, 200.0]), np.array([0.0, 0.2, 40.0, 40.1, -89.0, -89.5]))
    pixels = np.unique(at_order(index, 6))
    regions = fields_of(pixels, 6)
    assert len(regions) == 3
    assert all(region.radius < 5 for region in regions)
    figure = draw_sky_map(pixels, np.arange(1.0, len(pixels) + 1), 6, label="sources", log=True)
    assert len(figure.axes) == 4  # three fields and the colour bar


def test_the_whole_sky_is_drawn_in_mollweide():
    pixels = np.arange(12 * 4**3)
    figure = draw_sky_map(pixels, np.ones(len(pixels)), 3, label="sources")
    assert figure.axes[0].name == "mollweide"


def test_a_region_across_ra_zero_is_centred_there():
    pixels = np.unique(at_order(order29(np.array([359.5, 0.5]), np.array([1.0, 1.0])), 8))
    region = region_of(pixels, 8)
    assert min(region.ra, 360 - region.ra) < 0.5
    assert region.radius < 2
