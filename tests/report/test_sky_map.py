"""Maps show the right pixel in the right place."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from skymill.report.sky_map import Region, _cap, colour_scale, draw_sky_map, fields_of, region_of
from skymill.sky import at_order, order29, separation_arcsec


def marked(figure, axes):
    """Where the brightest colour of a figure is, in the coordinates of its axes."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba()).astype(int)
    yellow = (np.abs(image[..., :3] - [253, 231, 36]) < 12).all(axis=-1)
    inside = axes.get_window_extent()
    rows, columns = np.nonzero(yellow)
    y = image.shape[0] - rows
    within = (columns > inside.x0) & (columns < inside.x1) & (y > inside.y0) & (y < inside.y1)
    return axes.transData.inverted().transform([[columns[within].mean(), y[within].mean()]])[0], (
        columns[within].mean() - inside.x0
    ) / inside.width


def pixels_of(ra, dec, order):
    """The pixels of positions, and the value 1 for that of the last one, 0 for the others."""
    pixel = at_order(order29(np.asarray(ra, float), np.asarray(dec, float)), order)
    pixels = np.unique(pixel)
    return pixels, np.where(pixels == pixel[-1], 1.0, 0.0)


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
    if region.ra < 358 and abs(region.dec) < 80:
        assert np.all((ra[inside & (east > 0.1)] - region.ra) % 360 < 180)


@pytest.mark.parametrize(("ra", "dec"), [(184.0, 21.0), (176.0, 21.0), (180.0, 26.0), (180.0, 16.0)])
def test_a_field_has_east_to_the_left_and_north_up(ra, dec):
    pixels, values = pixels_of([176, 184, 180, 180, ra], [21, 21, 26, 16, dec], 6)
    (figure,) = draw_sky_map(pixels, values, 6, label="x")
    (east, north), across = marked(figure, figure.axes[0])
    region = region_of(pixels, 6)
    assert east == pytest.approx((ra - region.ra) * np.cos(np.radians(dec)), abs=0.9)
    assert north == pytest.approx(dec - region.dec, abs=0.9)
    assert (across < 0.4) if ra > 182 else (across > 0.6) if ra < 178 else 0.4 < across < 0.6


@pytest.mark.parametrize("ra", [120.0, 150.0, 210.0, 240.0])
def test_the_whole_sky_has_east_to_the_left_and_its_labels_agree(ra):
    around = np.arange(110.0, 255.0, 5.0)
    pixels, values = pixels_of([*around, ra], [*np.zeros(len(around)), 0.0], 4)
    (figure,) = draw_sky_map(pixels, values, 4, label="x")
    axes = figure.axes[0]
    assert axes.name == "mollweide"
    (horizontal, _), _ = marked(figure, axes)
    labels = {float(text.get_text().rstrip("°")): np.degrees(text.get_position()[0]) for text in axes.texts}
    assert sorted(labels) == [60, 120, 180, 240, 300]
    assert labels[120] > labels[180] > labels[240]
    expected = np.interp(ra, sorted(labels), [labels[name] for name in sorted(labels)])
    assert np.degrees(horizontal) == pytest.approx(expected, abs=4)


def test_labels_of_ra_keep_off_the_survey():
    ra = np.arange(0.0, 360.0, 2.0)
    pixels, values = pixels_of(ra, np.zeros(len(ra)), 4)
    (figure,) = draw_sky_map(pixels, values, 4, label="x")
    assert all(abs(np.degrees(text.get_position()[1])) > 29 for text in figure.axes[0].texts)


def test_fields_far_apart_get_a_figure_each_on_one_scale():
    index = order29(np.array([0.1, 0.5, 90.0, 90.2, 10.0, 200.0]), np.array([0.0, 0.2, 40.0, 40.1, -89.0, -89.5]))
    pixels = np.unique(at_order(index, 6))
    regions = fields_of(pixels, 6)
    assert len(regions) == 3
    assert all(region.radius < 5 for region in regions)
    figures = draw_sky_map(pixels, np.arange(1.0, len(pixels) + 1), 6, label="sources", log=True)
    assert len(figures) == 3
    assert len({figure.axes[0].images[0].get_clim() for figure in figures}) == 1


def test_without_pixels_there_is_no_map():
    assert draw_sky_map(np.empty(0, np.int64), np.empty(0), 6, label="x") == []


@pytest.mark.parametrize(("low", "high"), [(1.0, 12.0), (3.0, 40.0), (1.0, 1e3), (2e-3, 1e5)])
def test_a_logarithmic_scale_names_at_least_three_values(low, high):
    scale = colour_scale(np.geomspace(low, high, 500), log=True)
    assert len(scale.ticks) >= 3
    assert all(scale.norm.vmin <= tick <= scale.norm.vmax for tick in scale.ticks)


def test_one_strange_pixel_does_not_flatten_the_others():
    scale = colour_scale(np.concatenate([np.linspace(0.2, 0.3, 200), [1.0]]), log=False)
    assert scale.norm.vmax < 0.31
    assert scale.extend == "both"


def test_a_region_across_ra_zero_is_centred_there():
    pixels = np.unique(at_order(order29(np.array([359.5, 0.5]), np.array([1.0, 1.0])), 8))
    region = region_of(pixels, 8)
    assert min(region.ra, 360 - region.ra) < 0.5
    assert region.radius < 2


def test_a_region_at_a_pole_is_not_turned_by_chance():
    ra = np.array([10.0, 100.0, 190.0, 280.5])
    region = region_of(np.unique(at_order(order29(ra, np.full(4, -88.0)), 8)), 8)
    assert (region.ra, region.dec) == (0.0, -90.0)
    assert 2 < region.radius < 3
