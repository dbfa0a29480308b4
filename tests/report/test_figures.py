"""Figures show the numbers they were given."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, roc_auc_score

from skymill.report.figures import (
    draw_by_magnitude,
    draw_confusion,
    draw_coverage,
    draw_history,
    draw_reliability,
    draw_thresholds,
    wilson,
)

CLASSES = ["A", "B"]


@pytest.fixture(scope="module")
def scored():
    generator = np.random.default_rng(7)
    p = generator.beta(0.6, 0.6, 4000)
    label = (generator.random(4000) > p).astype(np.int64)
    return label, np.column_stack([p, 1 - p]), generator.uniform(18, 25, 4000)


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (5, 5), (3, 40), (200, 400)])
def test_intervals_are_wilsons(hits, n):
    expected = binomtest(hits, n).proportion_ci(0.6826894921, method="wilson")
    share, error = wilson(np.array([hits]), np.array([n]))
    assert share[0] - error[0, 0] == pytest.approx(expected.low, abs=1e-6)
    assert share[0] + error[1, 0] == pytest.approx(expected.high, abs=1e-6)


def test_the_confusion_matrix_has_true_classes_as_rows():
    axes = draw_confusion([[8, 2], [1, 3]], CLASSES).axes[0]
    assert {text.get_position(): text.get_text() for text in axes.texts}[1, 0] == "20.0 %\n2"
    assert axes.get_ylabel() == "true class"


def test_calibrated_probabilities_lie_on_the_diagonal_and_each_bin_says_how_many(scored):
    label, p, _ = scored
    upper, lower = draw_reliability(label, p, CLASSES).axes
    for container in upper.containers:
        x, y = container.lines[0].get_data()
        assert len(x) == 10
        assert np.abs(np.asarray(x) - y).max() < 0.1
    counts = [patch.get_data().values for patch in lower.patches]
    assert [int(n.sum()) for n in counts] == [4000, 4000]
    assert counts[0].tolist() == np.histogram(p[:, 0], np.linspace(0, 1, 11))[0].tolist()


def test_completeness_and_purity_by_magnitude_add_up(scored):
    label, p, magnitude = scored
    predicted = p.argmax(axis=1)
    completeness, purity = draw_by_magnitude(magnitude, label, predicted, CLASSES, axis="mag").axes
    edges = np.quantile(magnitude, np.linspace(0, 1, 9))
    inside = (magnitude >= edges[2]) & (magnitude < edges[3])
    right = inside & (label == 1) & (predicted == 1)
    for axes, given in ((completeness, label), (purity, predicted)):
        drawn = axes.containers[1].lines[0].get_ydata()[2]
        assert drawn == pytest.approx(right.sum() / (inside & (given == 1)).sum())


def test_curves_hold_the_areas_of_the_metrics(scored):
    label, p, _ = scored
    roc, purity = draw_thresholds(label, p, CLASSES).axes
    x, y = roc.lines[1].get_data()
    assert np.trapezoid(y, x) == pytest.approx(roc_auc_score(label == 1, p[:, 1]), abs=1e-9)
    recall, precision = purity.lines[1].get_data()
    step = -np.sum(np.diff(np.append(recall, 0.0)) * precision)
    assert step == pytest.approx(average_precision_score(label == 1, p[:, 1]), abs=1e-9)


def test_a_class_without_test_sources_has_no_curve():
    p = np.tile([0.5, 0.3, 0.2], (10, 1))
    figure = draw_thresholds(np.arange(10) % 2, p, ["A", "B", "C"])
    assert [line.get_label() for line in figure.axes[0].lines] == ["A", "B"]


def test_coverage_is_drawn_where_a_class_has_sources_and_by_its_intervals():
    def cell(value):
        return {"covered": {"value": value, "low": value - 0.1, "high": value + 0.05}}

    bins = [
        {"low": 18, "high": 20, "size": {"value": 1.0}, "by_class": {"A": cell(0.9), "B": cell(0.8)}},
        {"low": 20, "high": 21, "size": {"value": 1.5}, "by_class": {"A": cell(0.6)}},
    ]
    upper, lower = draw_coverage({"coverage": 0.9, "by_magnitude": bins}, CLASSES, axis="mag").axes
    points = [container.lines[0].get_data() for container in upper.containers]
    assert [list(y) for _, y in points] == [[0.9, 0.6], [0.8]]
    assert np.allclose(points[0][0], [19, 20.5], atol=0.1)
    bars = upper.containers[0].lines[2][0].get_segments()
    assert np.allclose([segment[:, 1] for segment in bars], [[0.8, 0.95], [0.5, 0.65]])
    assert lower.patches[0].get_data().values.tolist() == [1.0, 1.5]


def test_the_best_epoch_is_marked():
    history = {"epoch": [0.0, 1.0, 2.0], "train_loss": [3.0, 2.0, 1.0], "validation_log_loss": [2.0, 1.5, 1.8]}
    axes = draw_history(history).axes[0]
    assert axes.lines[-1].get_data() == ([1.0], [1.5])
