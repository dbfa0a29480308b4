"""Counts, depth and turn-over are those that a few sources give by hand."""

from __future__ import annotations

import numpy as np
import pytest
from image_rows import BANDS, flux_of, tile_rows

from skymill.report.images.statistics import COUNT_EDGES, SurveyStatistics, histogram_median, turnover


def count_at(counts: list[int], magnitude: float) -> int:
    return counts[int(np.searchsorted(COUNT_EDGES, magnitude, side="right")) - 1]


def test_only_sources_of_five_sigma_that_belong_to_the_tile_are_counted():
    magnitudes = np.array([20.1, 20.1, 20.1, 22.6])
    error = flux_of(magnitudes) / np.array([5.1, 4.9, 5.1, 100])
    statistics = SurveyStatistics(BANDS)
    statistics.add(tile_rows([0, 1, 2, 3], flux=flux_of(magnitudes), error=error, detect_isPrimary=[1, 1, 0, 1]))
    for band in BANDS:
        counts = statistics.as_dict()["counts"]["bands"][band]["psf"]
        assert (count_at(counts, 20.1), count_at(counts, 22.6), sum(counts)) == (1, 1, 2)
    assert (statistics.n_detected, statistics.n_primary) == (4, 3)


def test_depth_is_five_times_the_median_error_of_faint_sources():
    error = np.array([10.0, 12.0, 14.0, 500.0])
    statistics = SurveyStatistics(BANDS)
    statistics.add(tile_rows(range(4), flux=[20.0, 30.0, 0.0, 1e6], error=error))  # the last is of 2000 sigma
    expected = 31.4 - 2.5 * np.log10(5 * 12.0)
    facts = statistics.as_dict()
    assert facts["tile_depths"]["tile=a"] == pytest.approx([expected] * 2)
    assert facts["counts"]["bands"]["i"]["depth_5_sigma"] == pytest.approx(expected, abs=0.006)
    assert facts["counts"]["bands"]["i"]["depth_sources"] == 3


def test_tiles_add_up_and_their_order_does_not_matter():
    rng = np.random.default_rng(1)
    tiles = [tile_rows(range(50), name=f"tile={k}", flux=flux_of(rng.uniform(18, 26, 50)), error=rng.uniform(5, 50, 50),
                       first_id=100 * k, extendedness=rng.random(50)) for k in range(3)]  # fmt: skip
    there, back = SurveyStatistics(BANDS), SurveyStatistics(BANDS)
    for tile in tiles:
        there.add(tile)
    for tile in reversed(tiles):
        back.add(tile)
    assert there.as_dict() == back.as_dict()
    magnitudes = 31.4 - 2.5 * np.log10(np.concatenate([tile.flux["kronFlux"][:, 1] for tile in tiles]))
    point = np.concatenate([tile.values["extendedness"] for tile in tiles]) < 0.5
    facts = there.as_dict()["star_galaxy"]
    assert facts["band"] == "i"
    assert facts["point"] == np.histogram(magnitudes[point], COUNT_EDGES)[0].tolist()
    assert facts["extended"] == np.histogram(magnitudes[~point], COUNT_EDGES)[0].tolist()


def test_turnover_is_the_middle_of_the_fullest_three_bins():
    counts = np.zeros(len(COUNT_EDGES) - 1, int)
    counts[20:25] = [10, 30, 31, 32, 5]
    assert turnover(counts) == pytest.approx((COUNT_EDGES[22] + COUNT_EDGES[23]) / 2)
    assert turnover(counts // 10) is None


def test_nothing_has_no_depth():
    statistics = SurveyStatistics(BANDS)
    statistics.add(tile_rows([]))
    facts = statistics.as_dict()
    assert facts["tile_depths"]["tile=a"] == [None, None]
    assert facts["counts"]["bands"]["g"]["depth_5_sigma"] is None
    assert histogram_median(np.zeros(5, np.int64)) is None
