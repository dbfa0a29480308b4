"""How much a model's features are worth to it on the test split: what permuting them costs (Breiman 2001)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.training.calibration import log_loss
from skymill.training.metrics import share_with_interval

ROWS = 2000
"""Test rows that are permuted; of more, a sample is drawn."""
REPEATS = 3
Predict = Callable[[NDArray[np.float32]], NDArray[np.float64]]


def permutation_importance(
    predict: Predict,
    features: NDArray[np.float32],
    labels: NDArray[np.integer],
    block: NDArray[np.integer],
    *,
    described: Sequence[dict[str, Any]],
    n_classes: int,
    seed: int,
) -> dict[str, Any]:
    """Measure by how much a model gets worse when features are shuffled among the rows.

    That breaks what they say of a source while their values stay plausible (Breiman 2001; scikit-learn's
    `permutation_importance`). A feature that repeats others, as a colour does two magnitudes, costs little alone; so
    each group of the registry is also shuffled as a whole, its features together.

    Parameters
    ----------
    predict : callable
        Calibrated probabilities (n, k) of features (n, f).
    features : ndarray of float32, (n, f)
        Of the test split.
    labels, block : ndarray of int, (n,)
        Class and block of sky of each row.
    described : sequence of dict
        `name` and `group` of each feature, in order.
    n_classes : int
    seed : int
        Of the sample and the permutations.

    Returns
    -------
    dict
        `rows`, `repeats`; `log_loss` and `balanced_accuracy` of the rows as they are; `features` and `groups`: name and
        what is lost of each, {value, low, high}, the mean over repeats with its interval over blocks of sky.
    """
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.permutation(len(labels))[:ROWS])
    x, labels, block = features[rows], labels[rows], block[rows]
    order = [generator.permutation(len(rows)) for _ in range(REPEATS)]  # the same for all, which makes them comparable
    before = predict(x)
    loss, hit = _by_row(before, labels, n_classes)

    def cost(columns: list[int]) -> dict[str, Any]:
        after = [_by_row(predict(_shuffled(x, columns, one)), labels, n_classes) for one in order]
        worse = np.mean([other - loss for other, _ in after], axis=0)
        missed = np.mean([hit - other for _, other in after], axis=0)
        return {
            "log_loss": share_with_interval(worse, block, seed=seed),
            "balanced_accuracy": share_with_interval(missed, block, seed=seed),
        }

    return {
        "rows": len(rows),
        "repeats": REPEATS,
        "log_loss": log_loss(before, labels),
        "balanced_accuracy": float(hit.mean()),
        "features": [{"name": one["name"], "group": one["group"], **cost([k])} for k, one in enumerate(described)],
        "groups": [{"name": name, **cost(columns)} for name, columns in _groups(described)],
    }


def _by_row(
    p: NDArray[np.float64], labels: NDArray[np.integer], n_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each row adds to the mean log-loss and to the balanced accuracy, of which both are the means."""
    counts = np.bincount(labels, minlength=n_classes)
    weight = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    loss = -np.log(np.maximum(p[np.arange(len(p)), labels], np.finfo(np.float64).tiny))
    return loss, weight[labels] * (p.argmax(axis=1) == labels)


def _shuffled(x: NDArray[np.float32], columns: list[int], order: NDArray[np.int64]) -> NDArray[np.float32]:
    shuffled = x.copy()
    shuffled[:, columns] = x[np.ix_(order, np.array(columns))]
    return shuffled


def _groups(described: Sequence[dict[str, Any]]) -> Iterator[tuple[str, list[int]]]:
    for name in dict.fromkeys(one["group"] for one in described):
        yield name, [number for number, one in enumerate(described) if one["group"] == name]
