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


@pytest.mark.parametrize(("ra", "side"), [(31.0, "left"), (29.0, "right")])
def test_east_is_left_in_a_field(ra, side):
    lone = at_order(order29(np.array([ra, 30.0]), np.array([20.0, 20.0])), 8)
    [axes, _] = draw_sky_map(np.sort(lone), np.where(np.sort(lone) == lone[0], 1.0, 0.0), 8, label="").axes
    assert place_of(axes, 1.0)[0] * (-1 if side == "left" else 1) > 0


@pytest.mark.parametrize("ra", [90.0, 300.0])
def test_a_lone_pixel_stands_where_mollweide_puts_it(ra):
    values = np.zeros(12 * 4**4)
    values[at_order(order29(np.array([ra]), np.array([40.0])), 4)] = 1
    axes = draw_sky_map(np.arange(len(values)), values, 4, label="").axes[0]
    left = -((ra + 180) % 360 - 180)  # degrees from the middle; east is left
    expected = axes.transData.transform(np.radians([left, 40.0])) - axes.transData.transform([0, 0])
    assert np.allclose(place_of(axes, 1.0), expected, atol=10)


def place_of(axes, value):
    """The middle of the cells of a value, in pixels of the figure from the middle of the map."""
    [mesh] = [each for each in axes.collections if each.get_array() is not None]
    cells = np.asarray(mesh.get_array()).reshape(mesh.get_coordinates().shape[0] - 1, -1) == value
    corners = mesh.get_coordinates()
    middles = (corners[:-1, :-1] + corners[1:, 1:]) / 2
    return (axes.transData.transform(middles[cells]) - axes.transData.transform([0, 0])).mean(axis=0)


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
