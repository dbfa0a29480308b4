"""Which model is better, and is it more than chance? All models on the test sources that they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymill.report.gather import ModelResult, TestSet
from skymill.training.metrics import by_row, share_with_interval

Interval = dict[str, float | None]
"""`value`, `low`, `high`."""


class Compared(NamedTuple):
    """One model against the best one; differences are paired, source by source."""

    name: str
    kind: str
    n_features: int
    log_loss: float
    accuracy: float
    balanced_accuracy: float
    worse: dict[str, Interval] | None
    """How much worse, by metric, with its interval over blocks of sky; None for the best model itself."""


class Comparison(NamedTuple):
    """The models of one task, from the lowest log-loss to the highest."""

    n: int
    """Test sources that all models were asked about."""
    models: list[Compared]


def compare_models(trained: Sequence[tuple[ModelResult, TestSet]], *, seed: int) -> Comparison | None:
    """Compare models by what they said of the same test sources; None for a single model.

    Models of other classes than the first one's, or of another training set, are left out: their test splits differ.

    Parameters
    ----------
    trained : sequence of (ModelResult, TestSet)
    seed : int
        Of the resamples.
    """
    alike = [pair for pair in trained if _task(*pair) == _task(*trained[0])]
    if len(alike) < 2:
        return None
    shared = alike[0][1].object_id
    for _, test in alike[1:]:
        shared = np.intersect1d(shared, test.object_id)
    if len(shared) == 0:
        return None
    tests = [(model, test, _places(test.object_id, shared)) for model, test in alike]
    rows = {model.name: by_row(test.probabilities[place], test.label[place]) for model, test, place in tests}
    tests.sort(key=lambda one: float(rows[one[0].name][0].mean()))
    best = rows[tests[0][0].name]
    compared: list[Compared] = []
    for model, test, place in tests:
        label, block = test.label[place], test.block[place]
        right = test.predicted[place] == label
        loss, hit = rows[model.name]
        best_right = tests[0][1].predicted[tests[0][2]] == label
        differences = {
            "log_loss": loss - best[0],
            "accuracy": 1.0 * best_right - right,
            "balanced_accuracy": best[1] - hit,
        }
        worse = {name: share_with_interval(values, block, seed=seed) for name, values in differences.items()}
        compared.append(
            Compared(
                model.name,
                model.kind,
                model.n_features,
                float(loss.mean()),
                float(right.mean()),
                float(hit.mean()),
                worse if compared else None,
            )
        )
    return Comparison(len(shared), compared)


def _task(model: ModelResult, test: TestSet) -> tuple[list[str], str]:
    return model.classes, str(test.set_path)


def _places(object_id: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find where the ids `wanted` stand."""
    order = np.argsort(object_id)
    return order[np.searchsorted(object_id, wanted, sorter=order)]
