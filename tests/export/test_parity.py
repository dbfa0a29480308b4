"""The probe holds every kind of row, and the gate measures what it says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from skymill.config import ParitySettings
from skymill.export.parity import ParityError, compare
from skymill.export.probe import Probe, make_probe
from skymill.features import negative_flux_features

NAMES = ["a", "b"]
NEAR = (np.full(4, 0.5), np.full(4, 0.5, np.float32))


def small_probe() -> Probe:
    return Probe(np.arange(8, dtype=np.float32).reshape(4, 2), np.array([0, 1, 0, -1]), np.array(["held out"] * 4))


def negative(lab) -> np.ndarray:
    return negative_flux_features(lab.recipe, lab.features, rows=50, seed=0)


def test_rows_of_negative_flux_are_fainter_than_no_flux_at_all(lab):
    features, labels = lab.sources(300, seed=1)
    probe = make_probe(features, labels, negative(lab), rows=300)
    rows = probe.features[probe.origin == "negative flux"]
    nothing = 31.4 - 2.5 * np.log10(8.0)  # of a softening of 8 nJy: asinh(0) = 0
    assert len(rows) == 50 and (rows[:, :2] > nothing).all() and (rows[:, 4] == 0).all()


def test_few_rows_are_topped_up_and_many_are_thinned(lab):
    features, labels = lab.sources(300, seed=1)
    probe = make_probe(features, labels, negative(lab), rows=1_000)
    counts = dict(zip(*np.unique(probe.origin, return_counts=True)))
    assert counts["held out"] == 300 and counts["perturbed"] == 700
    assert make_probe(features, labels, negative(lab), rows=100).origin.tolist().count("held out") == 100
    assert (probe.labels >= 0).sum() == 300


def test_hard_rows_hold_every_hard_value_in_every_feature(lab):
    features, labels = lab.sources(300, seed=1)
    probe = make_probe(features, labels, negative(lab), rows=300)
    hard = probe.features[np.char.startswith(probe.origin, "one ")]
    for column in hard.T:
        assert np.isnan(column).any() and (column == np.inf).any() and (column == -np.inf).any()
        assert (column > 3e38).any() and (column < -3e38).any() and (column == 0).any()
    assert np.isnan(probe.features[probe.origin == "all NaN"]).all()


def test_the_same_rows_are_chosen_every_time(lab):
    features, labels = lab.sources(200, seed=1)
    for one, two in zip(
        make_probe(features, labels, negative(lab), rows=500), make_probe(features, labels, negative(lab), rows=500)
    ):
        np.testing.assert_array_equal(one, two)


def test_nothing_to_compare_is_an_error():
    with pytest.raises(ValueError, match="no held-out row"):
        make_probe(np.empty((0, 2), np.float32), np.empty(0, np.int64), np.empty((0, 2), np.float32), rows=10)


def test_difference_flips_and_ece_are_what_they_say():
    fitted = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]])
    onnx = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.5, 0.5]], np.float32)
    parity = compare(small_probe(), fitted, onnx, distances=NEAR, features=NAMES)
    assert parity.max_probability_difference == pytest.approx(0.3, abs=1e-6)
    assert parity.flip_rate == 0.25
    assert parity.ece_fitted == pytest.approx((0.1 + 0.2 + 0.4) / 3)
    assert parity.ece_onnx == pytest.approx((0.1 + 0.2 + 0.7) / 3, abs=1e-6)
    assert parity.worst[0]["row"] == 2 and parity.worst[0]["features"] == {"a": 4.0, "b": 5.0}


@pytest.mark.parametrize("side", ["fitted", "onnx"])
def test_a_nan_is_never_within_the_limits(side):
    sides = {"fitted": np.full((4, 2), 0.5), "onnx": np.full((4, 2), 0.5, np.float32)}
    sides[side][3] = np.nan
    parity = compare(small_probe(), sides["fitted"], sides["onnx"], distances=NEAR, features=NAMES)
    assert parity.max_probability_difference == np.inf and parity.flip_rate == 0.25
    with pytest.raises(ParityError, match=r"row 3 \(held out\): fitted .* difference inf; a=6, b=7"):
        parity.check(ParitySettings(max_probability_difference=1.0), model="m")


@pytest.mark.parametrize(
    ("fitted", "exported", "difference"),
    [(0.5, 0.502, 0.002), (100.0, 100.2, 0.002), (np.inf, np.inf, 0.0), (np.inf, 5.0, np.inf), (5.0, np.nan, np.inf)],
)
def test_distances_are_compared_in_parts_of_themselves(fitted, exported, difference):
    same = np.full((4, 2), 0.5)
    distances = np.array([0.1, 0.1, fitted, 0.1]), np.array([0.1, 0.1, exported, 0.1], np.float32)
    parity = compare(small_probe(), same, same.astype(np.float32), distances=distances, features=NAMES)
    assert parity.max_distance_difference == pytest.approx(difference, abs=1e-6)
    if difference:
        with pytest.raises(ParityError, match=r"max_distance_difference is (0\.002|inf), the limit 0\.001"):
            parity.check(ParitySettings(), model="m")
    else:
        parity.check(ParitySettings(), model="m")


@pytest.mark.parametrize("key", ["max_probability_difference", "max_flip_rate", "max_ece_shift"])
def test_each_limit_holds_on_its_own(key):
    fitted = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]])
    onnx = fitted[:, ::-1].astype(np.float32)
    parity = compare(small_probe(), fitted, onnx, distances=NEAR, features=NAMES)
    loose = {"max_probability_difference": 1.0, "max_flip_rate": 1.0, "max_ece_shift": 1.0}
    parity.check(ParitySettings(**loose), model="m")
    with pytest.raises(ParityError, match=rf"rows: {key} is [0-9.]+, the limit 0\.01\."):
        parity.check(ParitySettings(**{**loose, key: 0.01}), model="m")


def test_the_report_is_json_whatever_the_rows_hold():
    probe = small_probe()._replace(features=np.array([[np.nan, 1], [np.inf, 1], [-np.inf, 1], [0, 0]], np.float32))
    parity = compare(probe, np.full((4, 2), 0.5), np.full((4, 2), 0.5, np.float32), distances=NEAR, features=NAMES)
    report = json.loads(json.dumps(parity.as_dict(), allow_nan=False))
    assert [row["features"]["a"] for row in report["worst"]] == ["nan", "inf", "-inf", 0.0]
