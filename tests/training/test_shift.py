"""How the survey differs from the training rows: by hand, by scipy, and on real data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import ks_2samp, wasserstein_distance

from skymill.sky import at_order, order29
from skymill.training.arrays import Rows
from skymill.training.shift import compare, feature_shifts
from skymill.training.survey_sample import SurveySample

ORDER = 4


def test_a_feature_by_hand():
    """A shift by one of four even values: a quarter of each lies beyond the other, and every value moves by one."""
    train = np.array([[0], [1], [2], [3], [np.nan]], "f4")
    survey = np.array([[1], [2], [3], [4]], "f4")
    [one] = feature_shifts(train, survey, ["x"])
    assert one["ks"] == pytest.approx(0.25)
    assert one["spread"] == pytest.approx(1.5 / 1.349)
    assert one["distance"] == pytest.approx(1.349 / 1.5)
    assert one["measured"] == {"train": 0.8, "survey": 1.0}


def test_features_equal_scipy_and_the_worst_comes_first():
    generator = np.random.default_rng(0)
    train, survey = generator.normal(size=(700, 3)).astype("f4"), generator.normal(size=(900, 3)).astype("f4")
    survey[:, 1] += 1
    survey[generator.random(900) < 0.2, 2] = np.inf
    found = feature_shifts(train, survey, ["same", "moved", "lost"])
    assert [one["name"] for one in found] == ["moved", "lost", "same"]
    for one in found:
        column = ["same", "moved", "lost"].index(one["name"])
        there = survey[np.isfinite(survey[:, column]), column].astype(float)
        assert one["ks"] == pytest.approx(ks_2samp(train[:, column].astype(float), there).statistic)
        expected = wasserstein_distance(train[:, column].astype(float), there)
        assert one["distance"] * one["spread"] == pytest.approx(expected)
    assert found[1]["measured"]["survey"] == pytest.approx(np.isfinite(survey[:, 2]).mean())


def test_what_is_never_measured_or_never_varies_has_no_distance():
    train = np.column_stack([np.ones(20), np.full(20, np.nan), np.arange(20) == 0]).astype("f4")
    survey = np.column_stack([np.ones(30), np.ones(30), np.arange(30) < 15]).astype("f4")
    found = {one["name"]: one for one in feature_shifts(train, survey, ["constant", "lost", "rare"])}
    assert (found["constant"]["ks"], found["constant"]["distance"]) == (0.0, None)
    assert (found["lost"]["ks"], found["lost"]["distance"]) == (None, None)
    assert found["lost"]["measured"] == {"train": 0.0, "survey": 1.0}
    assert found["rare"]["distance"] == pytest.approx(0.45 / np.std(train[:, 2]))


def sdss(data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes and colours of SDSS17, and `_healpix_29`."""
    table = pq.read_table(data / "catalogues" / "sgq_sdss17/sdss17_subset.parquet")
    columns = {name: column.to_numpy() for name, column in zip(table.column_names, table.columns)}
    magnitudes = np.stack([columns[band] for band in "ugriz"], axis=1)
    good = (magnitudes > 0).all(axis=1)
    features = np.hstack([magnitudes, magnitudes[:, :-1] - magnitudes[:, 1:]])[good].astype("f4")
    return features, order29(columns["alpha"][good], columns["delta"][good])


NAMES = [*"ugriz", "u_g", "g_r", "r_i", "i_z"]


def compared(data: Path, chance: np.ndarray) -> dict:
    """Take rows of SDSS17 to learn from, each with its own chance, and compare them with all the others."""
    features, healpix29 = sdss(data)
    learned = np.random.default_rng(2).random(len(features)) < chance
    block = at_order(healpix29, ORDER)
    magnitude = features[:, 2]
    train = Rows(
        np.arange(learned.sum()), features[learned], np.zeros(learned.sum(), int), magnitude[learned], block[learned]
    )
    rest = ~learned
    survey = SurveySample(
        np.flatnonzero(rest), healpix29[rest], features[rest], magnitude[rest], magnitude[rest] > 20, int(rest.sum())
    )
    return compare(train, survey, [{"name": name} for name in NAMES], order=ORDER, seed=1)


def test_rows_taken_at_random_from_real_data_are_like_the_rest(data: Path):
    features, _ = sdss(data)
    found = compared(data, np.full(len(features), 0.3))
    assert found["two_sample"]["near_chance"]
    assert max(one["ks"] for one in found["features"]) < 0.05


def test_bright_rows_of_real_data_are_told_from_the_rest_by_magnitudes(data: Path):
    """Targets as spectroscopy takes them: the fainter, the fewer. Magnitudes give it away, and more than colours."""
    features, _ = sdss(data)
    found = compared(data, 0.6 / (1 + np.exp(1.5 * (features[:, 2] - 19))))
    assert not found["two_sample"]["near_chance"] and found["two_sample"]["auc"] > 0.7
    assert found["features"][0]["name"] in "griz"
    assert found["features"][0]["ks"] > 0.3


def test_the_share_outside_is_told_by_magnitude_with_intervals(data: Path):
    features, _ = sdss(data)
    outside = compared(data, np.full(len(features), 0.3))["outside"]
    assert outside["overall"]["low"] < outside["overall"]["value"] < outside["overall"]["high"]
    bins = outside["by_magnitude"]
    assert sum(one["n"] * one["share"]["value"] for one in bins) == pytest.approx(
        sum(one["n"] for one in bins) * outside["overall"]["value"]
    )
    assert all(one["share"]["value"] == 0 for one in bins if one["high"] <= 20)
    assert all(one["share"]["value"] == 1 for one in bins if one["low"] > 20)
