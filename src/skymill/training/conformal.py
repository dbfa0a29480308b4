"""Fit conformal sets on the validation split, and measure them on the test split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.models.conformal import MOST_CLASSES, ConformalSets
from skymill.training.calibration import cross_calibrated
from skymill.training.metrics import magnitude_bins, share_with_interval

FOLDS = 5
FEWEST_IN_CELL = 50
"""Rows of a class in a bin of magnitude for which a coverage is given."""


def fit_sets(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    block: NDArray[np.integer],
    *,
    coverage: float,
    method: str,
    class_weights: NDArray[np.floating] | None,
    seed: int,
) -> ConformalSets | None:
    """Find the thresholds of a model's conformal sets.

    The calibration was fitted on the same rows, which would make their own probabilities too good. So the rows are
    calibrated in folds of whole blocks of sky, each by what the others teach (cross-conformal: Vovk 2015,
    arXiv:1208.0806).

    Parameters
    ----------
    probabilities : ndarray, (n, k)
        The model's output, not calibrated, on rows it did not learn from.
    labels : ndarray of int, (n,)
    block : ndarray of int, (n,)
        Block of sky of each row.
    coverage : float
        Least share of each class whose sets hold it.
    method : {'none', 'temperature', 'isotonic'}
        Of the calibration that was settled on.
    class_weights : ndarray, (k,), optional
        As for `fit_calibration`.
    seed : int
        Of the folds.

    Returns
    -------
    ConformalSets or None
        None for more classes than a set has bits.
    """
    n_classes = np.shape(probabilities)[1]
    if n_classes > MOST_CLASSES:
        return None
    p = cross_calibrated(
        probabilities, labels, method=method, class_weights=class_weights, fold=folds_of_blocks(block, seed)
    )
    return ConformalSets(coverage, tuple(threshold(p[labels == c, c], coverage) for c in range(n_classes)))


def threshold(probability: NDArray[np.floating], coverage: float) -> float:
    """Give the threshold of one class from the probabilities (n,) that held-out rows of it were given for it.

    With 1 - p as the score, the threshold is 1 minus the score of rank ceil((n + 1) coverage) (Sadinle et al. 2019);
    the next row of the class is then at least that probable with a chance of at least `coverage`. With fewer rows than
    that rank it is 0. Rounded down to float32.
    """
    n = len(probability)
    rank = int(np.ceil((n + 1) * coverage - 1e-9))  # 0.9 * 10 is 9, whatever binary fractions say
    if rank > n:
        return 0.0
    value = np.sort(probability)[n - rank]
    single = np.float32(value)
    return float(single if single <= value else np.nextafter(single, np.float32(0)))


def evaluate_sets(
    sets: ConformalSets,
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    magnitude: NDArray[np.floating],
    block: NDArray[np.integer],
    *,
    classes: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Measure conformal sets on the test split.

    Parameters
    ----------
    sets : ConformalSets
    probabilities : ndarray, (n, k)
        Calibrated.
    labels, magnitude, block, classes, seed
        As for `metrics.evaluate`.

    Returns
    -------
    dict
        The sets themselves; `overall`: share of sets with the true class (`covered`), with no, one and all classes, and
        their mean size; `by_class`; and `by_magnitude`, each bin with `by_class` where a class has at least 50 rows.
        All as {value, low, high}.
    """
    inside = sets.contain(probabilities)
    covered, size = inside[np.arange(len(labels)), labels], inside.sum(axis=1)
    what = {"covered": covered, "size": size, "empty": size == 0, "single": size == 1, "all": size == len(classes)}

    def measure(rows: NDArray[np.bool_], *names: str) -> dict[str, Any]:
        shares = {name: share_with_interval(what[name][rows], block[rows], seed=seed) for name in names}
        return {"n": int(rows.sum()), **shares}

    def by_class(rows: NDArray[np.bool_], fewest: int) -> dict[str, Any]:
        chosen = {name: rows & (labels == c) for c, name in enumerate(classes)}
        return {name: measure(some, "covered") for name, some in chosen.items() if some.sum() >= fewest}

    bins = []
    for low, high in magnitude_bins(magnitude):
        rows = (magnitude >= low) & (magnitude < high)
        cells = by_class(rows, FEWEST_IN_CELL)
        bins.append({"low": low, "high": high, **measure(rows, "covered", "size"), "by_class": cells})
    everything = np.ones(len(labels), bool)
    return {
        **sets.as_dict(classes),
        "overall": measure(everything, *what),
        "by_class": by_class(everything, 1),
        "by_magnitude": bins,
    }


def folds_of_blocks(block: NDArray[np.integer], seed: int) -> NDArray[np.int64]:
    """Give a fold to each row, the same to all rows of a block; rows stand for themselves where blocks are too few."""
    names, place = np.unique(block, return_inverse=True)
    if len(names) < FOLDS:
        names, place = np.arange(len(block)), np.arange(len(block))
    return (np.random.default_rng(seed).permutation(len(names)) % FOLDS)[place]
