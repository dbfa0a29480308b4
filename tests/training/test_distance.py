"""The distance from the training rows, on made-up clouds and on real sources."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from skymill.models.distance import FARTHEST, TrainingDistance
from skymill.sky import at_order, order29
from skymill.training.distance import MOST_PATTERNS, fit_distance

Floats = NDArray[np.float32]


def cloud(n: int, seed: int) -> Floats:
    """Magnitudes g and r, their colour, and whether g is missing; g is missing in one row of ten."""
    random = np.random.default_rng(seed)
    g = random.normal(21, 1, n)
    r = g - random.normal(0.6, 0.2, n)
    rows = np.column_stack([g, r, g - r, np.zeros(n)])
    blind = np.flatnonzero(random.random(n) < 0.1)
    rows[blind[:, None], [0, 2]], rows[blind, 3] = np.nan, 1
    return rows.astype(np.float32)


INDICATOR = np.array([False, False, False, True])


def fitted(train: Floats, validation: Floats, quantile: float = 0.99) -> TrainingDistance:
    return fit_distance(train, validation, indicator=INDICATOR[: train.shape[1]], quantile=quantile)[0]


@pytest.fixture(scope="module")
def distance() -> TrainingDistance:
    return fitted(cloud(4000, 1), cloud(2000, 2))


@pytest.mark.parametrize("quantile", [0.9, 0.99])
def test_the_share_of_new_rows_outside_is_the_one_asked_for(quantile: float) -> None:
    new = fitted(cloud(4000, 1), cloud(4000, 2), quantile)(cloud(20000, 3)) > 1
    assert new.mean() == pytest.approx(1 - quantile, rel=0.35)  # three standard deviations of 40 validation rows


def test_the_limit_is_a_validation_row_and_the_fitted_rows_do_not_move_it() -> None:
    train, validation = cloud(4000, 1), cloud(99, 2)
    distance = fitted(train, validation, 0.95)
    ordered = np.sort(distance(validation))
    assert ordered[94] == pytest.approx(1.0) and ordered[95] > 1  # rank ceil(100 * 0.95) = 95
    assert np.sort(fitted(train, validation, 0.999)(validation))[-1] == pytest.approx(1.0)  # too few: the largest


def test_the_distance_is_that_of_a_loop_over_directions(distance: TrainingDistance) -> None:
    rows = cloud(50, 4) + np.float32(0.5)
    for row, found in zip(rows, distance(rows), strict=True):
        filled = np.where(np.isfinite(row), row, distance.imputation)
        scaled = (filled.astype(float) - distance.mean) / distance.scale
        ratios = [
            abs(sum(scaled * direction) - centre) / width
            for direction, centre, width in zip(distance.directions, distance.centre, distance.half_width, strict=True)
        ]
        assert found == pytest.approx(max(ratios) / distance.limit)


def test_an_impossible_colour_is_outside_although_each_feature_is_in_its_range() -> None:
    whole = [rows[rows[:, 3] == 0] for rows in (cloud(4000, 1), cloud(2000, 2))]
    distance = fitted(*whole)
    ordinary, impossible = np.float32([21, 20.4, 0.6, 0]), np.float32([21, 20.4, 0.1, 0])
    assert distance(ordinary[None])[0] < 1 < distance(impossible[None])[0]


def test_what_was_measured_counts_by_sets_that_occurred(distance: TrainingDistance) -> None:
    rows = np.float32([[np.nan, 20, np.nan, 1], [21, np.nan, np.nan, 0], [21, 20.4, np.inf, 0]])
    assert len(distance.patterns) == 2
    assert distance(rows).tolist() == [pytest.approx(distance(rows)[0]), np.inf, np.inf] and distance(rows)[0] < 1


def test_features_missing_at_random_make_no_new_row_infinite() -> None:
    random = np.random.default_rng(5)
    rows = random.normal(size=(3000, 12)).astype(np.float32)
    rows[random.random(rows.shape) < 0.3] = np.nan
    distance, told = fit_distance(rows[:2000], rows[2000:], indicator=np.zeros(12, bool), quantile=0.99)
    assert len(np.unique(np.isfinite(rows[:2000]), axis=0)) > MOST_PATTERNS
    assert told["patterns"] == 0 and np.isfinite(distance(rows)).all()


def test_patterns_that_validation_lacks_too_often_are_not_looked_at() -> None:
    train, validation = cloud(2000, 1), cloud(1000, 2)
    validation[:30, 2] = np.nan  # a set of measured features that no training row has, in 3 % of the rows
    distance, told = fit_distance(train, validation, indicator=INDICATOR, quantile=0.99)
    assert told["patterns"] == 0 and np.isfinite(distance(validation)).all()
    assert fit_distance(train, validation, indicator=INDICATOR, quantile=0.95)[1]["patterns"] == 2


def test_huge_values_have_a_finite_distance(distance: TrainingDistance) -> None:
    assert distance(np.full((1, 4), 3e38, np.float32)).tolist() == [FARTHEST]


def test_a_file_gives_the_same_distances(distance: TrainingDistance) -> None:
    again = TrainingDistance.from_dict(json.loads(json.dumps(distance.as_dict(), allow_nan=False)))
    np.testing.assert_array_equal(again(cloud(500, 6)), distance(cloud(500, 6)))


def sdss(data: Path) -> tuple[Floats, NDArray[np.str_], NDArray[np.int64]]:
    """Magnitudes and colours, classes, and a fold of sky (0 to 4) of each row."""
    table = pq.read_table(data / "catalogues/sgq_sdss17/sdss17_subset.parquet")
    mags = np.column_stack([table[band].to_numpy() for band in "ugriz"]).astype(np.float32)
    mags[np.abs(mags) > 100] = np.nan
    colours = np.column_stack([mags[:, blue] - mags[:, red] for blue, red in pairwise(range(5))])
    block = at_order(order29(table["alpha"].to_numpy(), table["delta"].to_numpy()), 4)
    return np.hstack([mags, colours]), np.array(table["class"].to_pylist()), block % 5


def test_real_sources_fainter_than_the_training_set_or_without_a_band_are_outside(data: Path) -> None:
    features, _, fold = sdss(data)
    r, train, validation, test = features[:, 2], fold < 3, fold == 3, fold == 4
    bright = r < np.nanquantile(r, 0.3)
    distance, _ = fit_distance(
        features[train & bright], features[validation & bright], indicator=np.zeros(9, bool), quantile=0.99
    )
    faint = test & (r > np.nanquantile(r, 0.3) + 1)
    assert (distance(features[test & bright]) > 1).mean() < 0.03
    assert (distance(features[faint]) > 1).mean() > 0.95
    blind = features[test & bright].copy()
    blind[:, [2, 5, 6]] = np.nan  # no r band
    assert (distance(blind) > 1).mean() > 0.99


def test_real_quasars_unknown_to_the_training_set_lie_within_its_range(data: Path) -> None:
    """What the flag cannot do: a new class among the known ones."""
    features, classes, fold = sdss(data)
    known, quasar = classes != "QSO", classes == "QSO"
    distance, _ = fit_distance(
        features[known & (fold < 3)], features[known & (fold == 3)], indicator=np.zeros(9, bool), quantile=0.99
    )
    assert (distance(features[quasar]) > 1).mean() < 0.1
