"""Models are compared on the sources they share, source by source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, log_loss

from skymill.report.comparison import compare_models
from skymill.report.gather import TestSet

CLASSES = ["A", "B"]


def result(name: str, p: np.ndarray, label: np.ndarray, ids: np.ndarray, set_path: str = "set") -> TestSet:
    """What a model said of its test set; what the comparison does not look at is left empty."""
    nothing: Any = None
    return TestSet(
        model=name,
        kind="mlp",
        n_features=3,
        classes=CLASSES,
        fit="",
        metrics={},
        label=label,
        magnitude=np.zeros(len(label)),
        probabilities=p,
        object_id=ids,
        healpix29=ids,
        block=ids % 20,
        set_path=Path(set_path),
        importance={},
        attributions=nothing,
    )


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    good = rng.beta(0.4, 0.4, 800)
    label = (rng.random(800) > good).astype(int)
    poor = 0.5 + 0.3 * (good - 0.5) + rng.normal(0, 0.1, 800)
    return np.column_stack([good, 1 - good]), np.column_stack([poor, 1 - poor]).clip(0.01, 0.99), label, np.arange(800)


def test_the_better_model_comes_first_and_the_other_is_worse_by_what_scikit_learn_says(rows) -> None:
    good, poor, label, ids = rows
    order = np.random.default_rng(1).permutation(800)
    found = compare_models(
        [result("poor", poor[order], label[order], ids[order]), result("good", good, label, ids)], seed=1
    )
    assert found is not None and found.n == 800
    best, other = found.models
    assert (best.name, best.worse, other.name) == ("good", None, "poor")
    assert best.log_loss == pytest.approx(log_loss(label, good)) and best.accuracy == (good.argmax(1) == label).mean()
    assert other.balanced_accuracy == pytest.approx(balanced_accuracy_score(label, poor.argmax(1)))
    assert other.worse is not None
    difference = -np.log(poor[ids, label]) + np.log(good[ids, label])
    assert other.worse["log_loss"]["value"] == pytest.approx(difference.mean())
    assert 0 < other.worse["log_loss"]["low"] < other.worse["log_loss"]["value"] < other.worse["log_loss"]["high"]
    assert other.worse["accuracy"]["value"] == pytest.approx(best.accuracy - other.accuracy)


def test_only_sources_that_all_were_asked_about_count(rows) -> None:
    good, poor, label, ids = rows
    some = ids[100:]
    found = compare_models([result("good", good, label, ids), result("poor", poor[some], label[some], some)], seed=1)
    assert found is not None and found.n == 700
    assert found.models[0].log_loss == pytest.approx(log_loss(label[some], good[some]))


def test_one_model_or_models_of_other_test_splits_are_not_compared(rows) -> None:
    good, poor, label, ids = rows
    first = result("good", good, label, ids)
    assert compare_models([first], seed=1) is None
    assert compare_models([first, result("poor", poor, label, ids, "another set")], seed=1) is None
    assert compare_models([first, result("poor", poor, label, ids + 800)], seed=1) is None
