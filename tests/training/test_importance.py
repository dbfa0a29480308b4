"""What permuting features costs: against scikit-learn, and where it is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.inspection import permutation_importance as reference
from sklearn.metrics import balanced_accuracy_score, log_loss, make_scorer

from skymill.training import importance
from skymill.training.importance import permutation_importance

DESCRIBED = [
    {"name": "colour", "group": "photometric"},
    {"name": "same_colour", "group": "photometric"},
    {"name": "size", "group": "shape"},
    {"name": "noise", "group": "shape"},
]
WEIGHTS = np.array([[1.2, -1.2, 0.0], [1.2, -1.2, 0.0], [0.5, 0.5, -1.0], [0.0, 0.0, 0.0]])


def predict(x: np.ndarray) -> np.ndarray:
    raised = np.exp(np.nan_to_num(x.astype(np.float64)) @ WEIGHTS)
    return raised / raised.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 4)).astype(np.float32)
    x[:, 1] = x[:, 0]
    labels = (rng.random((1500, 1)) > np.cumsum(predict(x), axis=1)).sum(axis=1)
    return x, labels, np.arange(1500) % 40


@pytest.fixture(scope="module")
def found(rows) -> dict:
    return permutation_importance(predict, *rows, described=DESCRIBED, n_classes=3, seed=1)


class Fitted(ClassifierMixin, BaseEstimator):
    """The model above as scikit-learn wants it."""

    classes_ = np.arange(3)

    def fit(self, x: np.ndarray, y: np.ndarray) -> Fitted:
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return predict(x)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return predict(x).argmax(axis=1)


@pytest.mark.parametrize("metric", ["log_loss", "balanced_accuracy"])
def test_costs_are_those_of_scikit_learn(rows, found, metric: str) -> None:
    scorer = (
        make_scorer(log_loss, response_method="predict_proba", greater_is_better=False)
        if metric == "log_loss"
        else make_scorer(balanced_accuracy_score)
    )
    theirs = reference(Fitted(), rows[0], rows[1], scoring=scorer, n_repeats=30, random_state=0)
    for number, one in enumerate(found["features"]):
        spread = theirs.importances_std[number] / np.sqrt(importance.REPEATS) + 1e-9
        assert one[metric]["value"] == pytest.approx(theirs.importances_mean[number], abs=4 * spread)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(rows[1], predict(rows[0]).argmax(1)))
    assert found["log_loss"] == pytest.approx(log_loss(rows[1], predict(rows[0])))


def test_a_feature_the_model_does_not_look_at_costs_nothing(found) -> None:
    assert found["features"][3]["log_loss"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_a_group_is_shuffled_as_a_whole(rows, found) -> None:
    """Two copies of a column cover for each other one by one, but not together."""
    together = {one["name"]: one["log_loss"]["value"] for one in found["groups"]}
    alone = {one["name"]: one["log_loss"]["value"] for one in found["features"]}
    assert together["photometric"] > 1.5 * (alone["colour"] + alone["same_colour"])
    assert together["shape"] == pytest.approx(alone["size"], rel=1e-9)  # the same order of rows, and noise is ignored


def test_intervals_hold_the_value_and_widen_with_fewer_blocks(rows) -> None:
    x, labels, _ = rows
    many = permutation_importance(predict, x, labels, np.arange(1500), described=DESCRIBED, n_classes=3, seed=1)
    # Blocks whose sources are alike: all rows of a block have neighbouring colours.
    alike = np.argsort(np.argsort(x[:, 0])) // 150
    few = permutation_importance(predict, x, labels, alike, described=DESCRIBED, n_classes=3, seed=1)
    width = [one["features"][0]["log_loss"]["high"] - one["features"][0]["log_loss"]["low"] for one in (many, few)]
    assert width[1] > 1.5 * width[0]
    for one in many["features"]:
        assert one["log_loss"]["low"] <= one["log_loss"]["value"] <= one["log_loss"]["high"]


def test_of_many_rows_a_sample_is_judged(rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "ROWS", 300)
    one, again = (permutation_importance(predict, *rows, described=DESCRIBED, n_classes=3, seed=5) for _ in range(2))
    assert one["rows"] == 300 and one == again
