"""A map of pixels gives back what was put in, and coarser ones hold the weighted means."""

from __future__ import annotations

import hpgeom
import numpy as np
import pytest

from skymill.sky import PixelMap, order29


def test_a_position_has_the_value_of_its_pixel():
    sky = PixelMap(4, np.array([5, 900, 2000]), np.array([1.0, 2.0, 3.0]), np.ones(3))
    ra, dec = hpgeom.pixel_to_angle(16, np.array([900, 5, 6, 3000, 2000]), lonlat=True)
    assert sky.at(order29(ra, dec)) == pytest.approx(np.array([2.0, 1.0, np.nan, np.nan, 3.0]), nan_ok=True)


def test_a_map_without_pixels_has_no_value():
    empty = PixelMap(4, np.empty(0, np.int64), np.empty(0), np.empty(0))
    assert np.isnan(empty.at(np.array([7, 8]))).all()


def test_values_of_one_pixel_are_averaged_by_weight_and_nan_counts_for_nothing():
    sky = PixelMap.merged(
        2, np.array([7, 3, 7, 7, 9]), np.array([1.0, 5, 4, np.nan, np.nan]), np.array([1.0, 2, 3, 9, 9])
    )
    assert sky.pixels.tolist() == [3, 7, 9]
    assert sky.values == pytest.approx(np.array([5.0, 3.25, np.nan]), nan_ok=True)
    assert sky.weights.tolist() == [2, 4, 0]


def test_a_coarser_map_has_the_mean_of_four():
    fine = PixelMap(3, np.arange(40, 48), np.arange(8.0), np.arange(1.0, 9.0))
    sky = fine.coarser()
    assert (sky.order, sky.pixels.tolist(), sky.weights.tolist()) == (2, [10, 11], [10, 26])
    assert sky.values == pytest.approx(np.array([(2 + 6 + 12) / 10, (4 * 5 + 5 * 6 + 6 * 7 + 7 * 8) / 26]))
