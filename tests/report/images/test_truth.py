"""Completeness, purity, blends and pulls are those that a few sources give by hand."""

from __future__ import annotations

import numpy as np
import pytest
from image_rows import BANDS, flux_of, tile_rows, true_sources

from skymill.report.images.residuals import moments, shares, truth_facts
from skymill.report.images.truth import EDGES, SEPARATIONS, TruthStatistics, asked, match_tile
from skymill.survey.flags import DEBLENDED, EDGE, SATURATED
from skymill.training.matching import NONE


def facts_of(tile, truth):
    statistics = TruthStatistics(BANDS)
    statistics.add(tile, truth, match_tile(tile, truth, BANDS))
    return truth_facts(statistics)


def in_bin(curve, value, edges=EDGES):
    place = int(np.searchsorted(edges, value, side="right")) - 1
    return curve["hits"][place], curve["n"][place]


def test_completeness_counts_owned_usable_sources_and_those_that_stand_alone():
    truth = true_sources(
        [0, 10, 20, 30, 40],
        22.2,
        [True] * 3,
        mine=[1, 1, 1, 0, 1],
        usable=[1, 1, 1, 1, 0],
        neighbour_distance=[9, 9, 1, 9, 9],
    )
    facts = facts_of(tile_rows([0.4, 10.6, 20.1]), truth)  # the second lies beyond the radius of 0.5
    assert in_bin(facts["completeness"], 22.2) == (2, 3)
    assert in_bin(facts["completeness_alone"], 22.2) == (1, 2)
    assert facts["not_usable"] == 1


def test_purity_is_asked_of_some_detections_and_counted_by_their_own_magnitude():
    tile = tile_rows([0, 10, 20, 30], flux=flux_of([21.2, 21.2, 21.2, 23.2]), flags=[0, 0, EDGE.mask, DEBLENDED.mask])
    facts = facts_of(tile, true_sources([0, 20, 30], 22.2, [True, True, True, False]))
    assert in_bin(facts["purity"], 21.2) == (2, 3)
    assert in_bin(facts["purity_unflagged"], 21.2) == (1, 2)
    assert in_bin(facts["purity"], 23.2) == (0, 0)
    expected = 1 - np.exp(-3 * np.pi * 0.25 / 10_000)  # three circles of half an arcsecond on 10,000 square arcsec
    assert facts["real_by_chance"] == pytest.approx(expected)


def test_detections_at_the_border_saturated_ones_and_artefacts_are_not_asked():
    classes = np.zeros((21, 31), np.uint8)
    classes[10, 14] = 3
    tile = tile_rows([1, 8, 9, 14, 10, 29], centre_y=10, flags=[0, 0, SATURATED.mask, 0, 0, 0],
                     detect_isPrimary=[1, 1, 1, 1, 0, 1])  # fmt: skip
    assert asked(tile, classes, 2.0).tolist() == [False, True, False, False, False, False]


def test_a_pair_is_recovered_when_both_have_a_detection():
    # At 0.5 arcsec one detection for both, at 1.4 two; a pair of one bright and one faint source is none.
    truth = true_sources([0, 0.5, 10, 11.4, 20, 21], [20, 20, 20, 20, 20, 29], [True] * 4)
    tile = tile_rows([0.25, 10, 11.4, 20], flux=[0.0, 0.0, 0.0, 0.0], error=10.0)  # faint: 20 sigma are 200 nJy
    pairs = facts_of(tile, truth)["pairs"]
    assert in_bin(pairs, 0.5, SEPARATIONS) == (0, 1)
    assert in_bin(pairs, 1.4, SEPARATIONS) == (1, 1)
    assert sum(pairs["n"]) == 2


def test_a_pair_belongs_to_the_tile_that_owns_the_brighter_source():
    truth = true_sources([0, 1.4, 10, 11.4], [20, 21, 20, 21], [True], mine=[1, 0, 0, 1])
    pairs = facts_of(tile_rows([0.0], flux=0.0), truth)["pairs"]
    assert sum(pairs["n"]) == 1


def test_star_and_galaxy_calls_are_counted_by_what_is_true():
    truth = true_sources([0, 10, 20, 30], 22.2, [True] * 4, point_fraction=[1, 1, 0.2, 0])
    facts = facts_of(tile_rows([0, 10, 20, 30], extendedness=[0.1, 0.8, 0.9, np.nan]), truth)
    assert in_bin(facts["stars_called_point"], 22.2) == (1, 2)
    assert in_bin(facts["others_called_extended"], 22.2) == (1, 1)  # what has no extendedness is not called anything


def test_pulls_of_known_noise_are_found_again():
    rng = np.random.default_rng(3)
    n, sigma, true = 4000, 10.0, flux_of(23.0)
    flux = true + sigma * (0.3 + 1.1 * rng.standard_normal((n, 2)))
    tile = tile_rows(10 * np.arange(n), flux=flux, error=sigma)
    isolated = facts_of(tile, true_sources(10 * np.arange(n), 23.0, [True] * n))["isolated"]
    for band in range(2):
        pulls = isolated["psf"][BANDS[band]]["pulls"]
        by_hand = (flux[:, band] - true) / sigma
        near = by_hand[np.abs(by_hand) <= 5]
        assert pulls["n"] == n
        assert pulls["outliers"] == n - len(near)
        assert pulls["mean"] == pytest.approx(near.mean())
        assert pulls["width"] == pytest.approx(near.std(ddof=1))
        residual = -2.5 * np.log10(flux[:, band] / true)
        assert isolated["psf"][BANDS[band]]["residual"]["median"] == pytest.approx(np.median(residual))
    assert isolated["kron"]["i"]["pulls"]["n"] == 0  # all are point sources
    assert [each["n"] for each in isolated["psf"]["i"]["bins"] if each["n"]] == [n]


def test_flagged_crowded_and_faint_sources_are_not_isolated():
    x = 10.0 * np.arange(6)
    tile = tile_rows(x, flags=[0, EDGE.mask, DEBLENDED.mask, 0, 0, 0], error=[10, 10, 10, 10, 10, 1e6])
    truth = true_sources(x, 23.0, [True] * 6, neighbour_distance=[9, 9, 9, 1, 9, 9], own_share=[1, 1, 1, 1, 0.5, 1])
    assert facts_of(tile, truth)["isolated"]["n"] == 2


def test_a_tile_without_detections_is_incomplete_and_one_without_truth_impure():
    facts = facts_of(tile_rows([]), true_sources([0], 22.2, []))
    assert in_bin(facts["completeness"], 22.2) == (0, 1)
    facts = facts_of(tile_rows([0], flux=flux_of(22.2)), true_sources([], [], [True]))
    assert in_bin(facts["purity"], 22.2) == (0, 1)


def test_shares_have_wilson_intervals_and_empty_bins_have_none():
    found = shares(np.array([8, 0, 0]), np.array([10, 5, 0]))
    middle, half = (0.8 + 0.05) / 1.1, np.sqrt(0.16 / 10 + 1 / 400) / 1.1
    assert found["share"] == [0.8, 0.0, None]
    assert found["low"][0] == pytest.approx(middle - half)
    assert found["high"][0] == pytest.approx(middle + half)
    assert found["high"][1] == pytest.approx(1 / 6)  # of 0 among n: z^2 / (n + z^2)
    assert (found["low"][2], found["high"][2]) == (None, None)


def test_few_pulls_tell_no_mean():
    assert moments(np.array([1.0, 2.0, np.nan, 9.0])) == {"n": 3, "outliers": 1, "mean": None, "width": None}


def test_a_source_has_no_partner_where_nothing_is_near():
    tile, truth = tile_rows([5.0]), true_sources([0.0], 22.0, [True])
    assert match_tile(tile, truth, BANDS).tolist() == [NONE]
