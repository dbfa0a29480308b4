"""Which model is better, and is it more than chance? All models on the test sources that they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymill.report.gather import TestSet
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


def compare_models(tests: Sequence[TestSet], *, seed: int) -> Comparison | None:
    """Compare models by what they said of the same test sources; None for a single model.

    Models of other classes than the first one's, or of another training set, are left out: their test splits differ.

    Parameters
    ----------
    tests : sequence of TestSet
    seed : int
        Of the resamples.
    """
    alike = [test for test in tests if _task(test) == _task(tests[0])]
    if len(alike) < 2:
        return None
    shared = alike[0].object_id
    for test in alike[1:]:
        shared = np.intersect1d(shared, test.object_id)
    if len(shared) == 0:
        return None
    placed = [(test, _places(test.object_id, shared)) for test in alike]
    rows = {test.model: by_row(test.probabilities[place], test.label[place]) for test, place in placed}
    placed.sort(key=lambda one: float(rows[one[0].model][0].mean()))
    first, first_place = placed[0]
    best, best_predicted = rows[first.model], first.predicted[first_place]
    compared: list[Compared] = []
    for test, place in placed:
        label, block = test.label[place], test.block[place]
        right = test.predicted[place] == label
        loss, hit = rows[test.model]
        differences = {
            "log_loss": loss - best[0],
            "accuracy": 1.0 * (best_predicted == label) - right,
            "balanced_accuracy": best[1] - hit,
        }
        worse = {name: share_with_interval(values, block, seed=seed) for name, values in differences.items()}
        compared.append(
            Compared(
                test.model,
                test.kind,
                test.n_features,
                float(loss.mean()),
                float(right.mean()),
                float(hit.mean()),
                worse if compared else None,
            )
        )
    return Comparison(len(shared), compared)


def _task(test: TestSet) -> tuple[list[str], str]:
    return test.classes, str(test.set_path)


def _places(object_id: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find where the ids `wanted` stand."""
    order = np.argsort(object_id)
    return order[np.searchsorted(object_id, wanted, sorter=order)]
