"""Each metric against scikit-learn, torchmetrics or a case worked by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn import metrics as sk
from torchmetrics.classification import MulticlassCalibrationError

from skymill.training.metrics import (
    bootstrap,
    by_row,
    evaluate,
    expected_calibration_error,
    magnitude_bins,
    metrics_of,
    reliability,
    share_with_interval,
    with_intervals,
)

CLASSES = ["GALAXY", "STAR", "QSO"]
Sample = tuple[NDArray[np.float64], NDArray[np.int64]]


@pytest.fixture(scope="module")
def sample() -> Sample:
    generator = np.random.default_rng(4)
    labels = generator.choice(3, size=700, p=[0.6, 0.3, 0.1])
    p = generator.dirichlet([1.0, 1.0, 1.0], size=700) + 0.8 * np.eye(3)[labels] * generator.random((700, 1))
    p = np.round(p / p.sum(axis=1, keepdims=True), 2)  # rounding makes ties, which the ROC-AUC must halve
    return p / p.sum(axis=1, keepdims=True), labels


def test_agrees_with_scikit_learn(sample: Sample) -> None:
    p, labels = sample
    found, predicted = metrics_of(p, labels, classes=CLASSES), p.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, predicted))
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(labels, p, multi_class="ovr", average="macro"))
    assert found["log_loss"] == pytest.approx(sk.log_loss(labels, p))
    assert found["brier"] == pytest.approx(sk.brier_score_loss(labels, p, scale_by_half=False))
    recalls, precisions = (score(labels, predicted, average=None) for score in (sk.recall_score, sk.precision_score))
    for name, recall, precision in zip(CLASSES, recalls, precisions):
        assert found[f"completeness_{name}"] == pytest.approx(recall)
        assert found[f"purity_{name}"] == pytest.approx(precision)


def test_calibration_error_agrees_with_torchmetrics(sample: Sample) -> None:
    p, labels = sample
    p = (
        0.999 * p + 0.001 / 3 + np.array([[1.3e-7, 0, -1.3e-7]])
    )  # no value on the edge of a bin, where conventions differ
    theirs = MulticlassCalibrationError(num_classes=3, n_bins=15, norm="l1")(
        torch.tensor(p, dtype=torch.float64), torch.tensor(labels)
    )
    assert metrics_of(p, labels, classes=CLASSES)["ece"] == pytest.approx(float(theirs), abs=1e-6)
    assert expected_calibration_error(p, labels) == pytest.approx(float(theirs), abs=1e-6)


def test_calibration_errors_by_hand() -> None:
    """Ten rows at 0.9 of which 7 are right, ten at 0.6 of which 8 are right: gaps 0.2 and -0.2, half the rows each."""
    p = np.repeat([[0.9, 0.1], [0.6, 0.4]], 10, axis=0)
    labels = np.array([0] * 7 + [1] * 3 + [0] * 8 + [1] * 2)
    found = metrics_of(p, labels, classes=["a", "b"])
    assert found["ece"] == pytest.approx(0.2)
    assert found["ece_adaptive"] == pytest.approx(0.2)
    curve = reliability(p, labels)
    assert [(row["n"], row["confidence"], row["accuracy"]) for row in curve] == [
        (10, pytest.approx(0.6), pytest.approx(0.8)),
        (10, pytest.approx(0.9), pytest.approx(0.7)),
    ]


def test_adaptive_bins_see_what_wide_ones_hide() -> None:
    """All scores in one wide bin: 150 rows at 0.95 always right and 150 at 0.99 right in 94 of 100, which cancels."""
    p = np.repeat([0.95, 0.99], 150)
    right = np.concatenate([np.ones(150), np.arange(150) % 50 >= 3])
    found = metrics_of(np.column_stack([p, 1 - p]), (1 - right).astype(int), classes=["a", "b"])
    assert found["ece"] == pytest.approx(0.0, abs=1e-9)
    assert found["ece_adaptive"] == pytest.approx(0.05)


def test_resamples_equal_metrics_of_the_blocks_drawn(sample: Sample) -> None:
    """The matrix product against the slow way: draw blocks with all their rows, then measure these."""
    p, labels = sample
    block = np.random.default_rng(0).choice([7, 11, 12, 900, 901], size=len(labels))
    members = [np.flatnonzero(block == each) for each in np.unique(block)]
    drawn = bootstrap(p, labels, block, classes=CLASSES, seed=9, resamples=20)
    generator = np.random.default_rng(9)
    for number, blocks in enumerate(generator.integers(0, 5, size=(20, 5))):
        rows = np.concatenate([members[each] for each in blocks])
        slow = metrics_of(p[rows], labels[rows], classes=CLASSES)
        for name in set(slow) - {"ece_adaptive"}:  # whose bins are those of the sample itself
            assert drawn[name][number] == pytest.approx(slow[name]), name


def test_the_interval_of_an_accuracy_is_binomial(sample: Sample) -> None:
    p, labels = sample
    found = with_intervals(p, labels, np.arange(len(labels)), classes=CLASSES, seed=1)["accuracy"]
    value, low, high = (found[key] for key in ("value", "low", "high"))
    assert value is not None and low is not None and high is not None
    expected = 1.96 * np.sqrt(value * (1 - value) / len(labels))
    assert (high - low) / 2 == pytest.approx(expected, rel=0.1)


def test_intervals_of_clustered_rows_cover_the_truth_where_those_of_rows_do_not() -> None:
    """Twenty blocks, each with its own rate of success around 0.7: 19 intervals of 20 have to hold 0.7."""
    generator = np.random.default_rng(2)
    block = np.repeat(np.arange(20), 60)
    held = {"blocks": 0, "rows": 0}
    for trial in range(100):
        rate = generator.beta(7, 3, size=20)[block]
        labels = (generator.random(len(block)) > rate).astype(int)
        p = np.tile([0.7, 0.3], (len(block), 1))
        for name, unit in (("blocks", block), ("rows", np.arange(len(block)))):
            found = with_intervals(p, labels, unit, classes=["a", "b"], seed=trial, resamples=200)["accuracy"]
            held[name] += found["low"] <= 0.7 <= found["high"]
    assert held["blocks"] >= 85
    assert held["rows"] <= 70


def test_a_single_block_gives_no_interval(sample: Sample) -> None:
    p, labels = sample
    found = with_intervals(p, labels, np.zeros(len(labels), np.int64), classes=CLASSES, seed=1, resamples=20)
    assert found["accuracy"]["value"] is not None
    assert found["accuracy"]["low"] is None and found["accuracy"]["high"] is None


def test_calibration_error_of_right_probabilities_is_what_is_told_beside_it() -> None:
    """Classes drawn from the probabilities themselves: the plain ECE is all noise, and its interval reaches zero."""
    generator = np.random.default_rng(5)
    p = generator.dirichlet([2.0, 1.0, 0.5], size=500)
    measured, told, reach = [], [], 0
    for trial in range(40):
        labels = (generator.random((500, 1)) > p.cumsum(axis=1)).sum(axis=1).clip(0, 2)
        found = with_intervals(p, labels, np.arange(500), classes=CLASSES, seed=trial, resamples=200)
        measured.append(found["ece"]["value"])
        told.append(found["ece_if_calibrated"]["value"])
        reach += found["ece"]["low"] == 0.0
        assert found["ece_if_calibrated"]["low"] < found["ece_if_calibrated"]["high"]
    assert np.mean(measured) == pytest.approx(np.mean(told), rel=0.1)
    assert reach >= 36


def test_a_class_that_is_absent_leaves_its_metrics_undefined() -> None:
    p = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1]])
    found = with_intervals(p, np.array([0, 1, 0]), np.arange(3), classes=CLASSES, seed=0, resamples=10)
    assert found["completeness_QSO"] == {"value": None, "low": None, "high": None}
    assert found["purity_QSO"]["value"] is None
    assert found["balanced_accuracy"]["value"] == 1.0


def test_magnitude_bins_hold_every_measured_row_and_none_is_thin() -> None:
    magnitude = np.concatenate([np.random.default_rng(0).normal(20, 1.5, 2000), [np.nan] * 5, [11.0, 29.0]])
    bins = magnitude_bins(magnitude)
    counts = [((magnitude >= low) & (magnitude < high)).sum() for low, high in bins]
    assert sum(counts) == 2002 and min(counts) >= 100
    assert all(upper == lower for (_, upper), (lower, _) in pairwise(bins))
    assert magnitude_bins(np.array([15.2, 16.1])) == [(15.0, 17.0)]
    assert magnitude_bins(np.array([np.nan])) == []


def test_evaluate_gives_json_with_bins_and_confusion(sample: Sample) -> None:
    p, labels = sample
    magnitude = np.linspace(18, 22, 700, endpoint=False)
    block = np.arange(700) % 30
    found = evaluate(p, labels, magnitude, block, classes=CLASSES, seed=3, resamples=50)
    assert found == evaluate(p, labels, magnitude, block, classes=CLASSES, seed=3, resamples=50)
    assert found["blocks"] == 30
    np.testing.assert_array_equal(found["confusion"], sk.confusion_matrix(labels, p.argmax(axis=1)))
    assert [each["n"] for each in found["by_magnitude"]] == [175] * 4
    third = slice(350, 525)
    expected = metrics_of(p[third], labels[third], classes=CLASSES)["accuracy"]
    assert found["by_magnitude"][2]["metrics"]["accuracy"]["value"] == pytest.approx(expected)


def test_the_interval_of_a_share_is_that_of_the_same_metric() -> None:
    rng = np.random.default_rng(8)
    p, block = rng.dirichlet([1, 1, 1], 900), rng.integers(0, 30, 900)
    labels = (rng.random((900, 1)) > np.cumsum(p, axis=1)).sum(axis=1)
    metrics = with_intervals(p, labels, block, classes=["a", "b", "c"], seed=4)
    loss, hit = by_row(p, labels)
    shares = {"accuracy": p.argmax(axis=1) == labels, "log_loss": loss}
    for name, values in shares.items():
        share = share_with_interval(values, block, seed=4)
        assert [share[key] for key in share] == pytest.approx([metrics[name][key] for key in share])
    assert hit.mean() == pytest.approx(metrics["balanced_accuracy"]["value"])
    assert share_with_interval(loss, np.zeros(900, int), seed=4)["low"] is None
    assert share_with_interval(loss[:0], block[:0], seed=4) == {"value": None, "low": None, "high": None}
