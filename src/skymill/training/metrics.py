"""Metrics of class probabilities, each with a bootstrap interval (Efron 1979), overall and by magnitude.

Every metric but the ROC-AUC is a function of sums over rows, so that a thousand resamples are one matrix product.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15
RESAMPLES = 1000
CONFIDENCE = 0.95
BLOCK_VALUES = 4_000_000
"""Resampling weights held at once."""
FEWEST_IN_MAGNITUDE_BIN = 100
SMALLEST_PROBABILITY = np.finfo(np.float64).eps
Metrics = dict[str, NDArray[np.float64]]


def evaluate(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    magnitude: NDArray[np.floating],
    *,
    classes: Sequence[str],
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Give what `metrics.json` holds.

    Parameters
    ----------
    probabilities : ndarray, (n, k)
    labels : ndarray of int, (n,)
        Index in `classes`.
    magnitude : ndarray, (n,)
        For the bins; a row without one counts overall only.
    classes : sequence of str, (k,)

    Returns
    -------
    dict
        `overall` and each of `by_magnitude` hold {metric: {value, low, high}}; `confusion` has true classes as rows.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    bins = []
    for low, high in magnitude_bins(magnitude):
        rows = (magnitude >= low) & (magnitude < high)
        metrics = with_intervals(p[rows], labels[rows], classes=classes, seed=seed, resamples=resamples)
        bins.append({"low": low, "high": high, "n": int(rows.sum()), "metrics": metrics})
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (labels, p.argmax(axis=1)), 1)
    return {
        "classes": list(classes),
        "n": len(labels),
        "resamples": resamples,
        "confidence": CONFIDENCE,
        "overall": with_intervals(p, labels, classes=classes, seed=seed, resamples=resamples),
        "by_magnitude": bins,
        "confusion": confusion.tolist(),
        "reliability": reliability(p, labels),
    }


def with_intervals(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.integer],
    *,
    classes: Sequence[str],
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, dict[str, float | None]]:
    """Give {metric: {value, low, high}} with percentile intervals; None where a metric is not defined."""
    values = metrics_of(probabilities, labels, classes=classes)
    drawn = bootstrap(probabilities, labels, classes=classes, seed=seed, resamples=resamples)
    tails = [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)]
    result = {}
    for name, value in values.items():
        defined = drawn[name][np.isfinite(drawn[name])]
        low, high = np.percentile(defined, tails) if len(defined) else (np.nan, np.nan)
        result[name] = {"value": _number(value), "low": _number(low), "high": _number(high)}
    return result


def metrics_of(
    probabilities: NDArray[np.float64], labels: NDArray[np.integer], *, classes: Sequence[str]
) -> dict[str, float]:
    """Give every metric once.

    ``accuracy``; ``balanced_accuracy`` (mean completeness of the classes present); ``completeness_<class>`` (recall)
    and ``purity_<class>`` (precision); ``roc_auc`` (mean over the classes of one against the rest); ``brier`` (sum over
    classes of squared differences, 0 to 2: Brier 1950); ``log_loss``; ``ece`` (15 bins of equal width in the highest
    probability: Guo et al. 2017, arXiv:1706.04599) and ``ece_adaptive`` (15 bins of equal counts: Nixon et al. 2019,
    arXiv:1904.01685).
    """
    weights = np.ones((1, len(labels)))
    return {name: float(value[0]) for name, value in _weighted(probabilities, labels, weights, classes).items()}


def bootstrap(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.integer],
    *,
    classes: Sequence[str],
    seed: int,
    resamples: int = RESAMPLES,
) -> Metrics:
    """Give every metric for each resample of the rows, (resamples,).

    Two models over the same rows with the same seed see the same resamples, so that their differences are paired.
    """
    blocks = [
        _weighted(probabilities, labels, weights, classes) for weights in _resampled(len(labels), seed, resamples)
    ]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def expected_calibration_error(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Give the `ece` of `metrics_of` alone."""
    gaps = _gaps(np.asarray(probabilities, dtype=np.float64), labels, adaptive=False)
    return float(np.abs(gaps.sum(axis=0)).sum() / max(len(labels), 1))


def reliability(probabilities: NDArray[np.float64], labels: NDArray[np.integer]) -> list[dict[str, float]]:
    """Give, for each filled bin of the highest probability, its mean and the share of right classes."""
    top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = _bins(top, adaptive=False)
    return [
        {
            "low": number / BINS,
            "high": (number + 1) / BINS,
            "n": int((bins == number).sum()),
            "confidence": float(top[bins == number].mean()),
            "accuracy": float(right[bins == number].mean()),
        }
        for number in np.unique(bins).tolist()
    ]


def magnitude_bins(magnitude: NDArray[np.floating], fewest: int = FEWEST_IN_MAGNITUDE_BIN) -> list[tuple[float, float]]:
    """Cut at whole magnitudes into bins [low, high) of at least `fewest` rows; thin ones join the fainter neighbour."""
    measured = magnitude[np.isfinite(magnitude)]
    if len(measured) == 0:
        return []
    edges = np.arange(np.floor(measured.min()), np.floor(measured.max()) + 2)
    counts, _ = np.histogram(measured, edges)
    kept, rows = [float(edges[0])], 0
    for upper, count in zip(edges[1:], counts):
        rows += int(count)
        if rows >= fewest:
            kept.append(float(upper))
            rows = 0
    last = float(edges[-1])
    if len(kept) == 1:
        return [(kept[0], last)]
    kept[-1] = last
    return list(itertools.pairwise(kept))


def _resampled(n_rows: int, seed: int, resamples: int) -> Iterator[NDArray[np.float64]]:
    """How often each row is drawn, (block, n) at a time."""
    generator = np.random.default_rng(seed)
    block = max(1, BLOCK_VALUES // max(n_rows, 1))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        rows = generator.integers(0, n_rows, size=(size, n_rows)) + np.arange(size)[:, None] * n_rows
        counts = np.bincount(rows.ravel(), minlength=size * n_rows)
        yield counts.reshape(size, n_rows).astype(np.float64)


def _weighted(
    p: NDArray[np.float64], labels: NDArray[np.integer], weights: NDArray[np.float64], classes: Sequence[str]
) -> Metrics:
    """Every metric for each row of `weights` (b, n)."""
    k = len(classes)
    predicted, identity = p.argmax(axis=1), np.eye(k)
    truth, hits = identity[labels], identity[labels] * (predicted == labels)[:, None]
    brier = ((p - truth) ** 2).sum(axis=1)
    log_loss = -np.log(np.clip(p[np.arange(len(p)), labels], SMALLEST_PROBABILITY, 1.0))
    columns = [truth, identity[predicted], hits, brier, log_loss, _gaps(p, labels, False), _gaps(p, labels, True)]
    sums = weights @ np.column_stack(columns)
    true, chosen, hit, (brier, log_loss), gaps, adaptive = np.split(sums.T, np.cumsum([k, k, k, 2, BINS]))
    n = true.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        completeness, purity = hit / true, hit / chosen
        auc = np.stack([_roc_auc(p[:, c], labels == c, weights) for c in range(k)])
    metrics = {
        "accuracy": hit.sum(axis=0) / n,
        "balanced_accuracy": _mean_of_defined(completeness),
        "roc_auc": _mean_of_defined(auc),
        "brier": brier / n,
        "log_loss": log_loss / n,
        "ece": np.abs(gaps).sum(axis=0) / n,
        "ece_adaptive": np.abs(adaptive).sum(axis=0) / n,
    }
    metrics |= {f"completeness_{name}": values for name, values in zip(classes, completeness)}
    metrics |= {f"purity_{name}": values for name, values in zip(classes, purity)}
    return metrics


def _bins(top: NDArray[np.float64], adaptive: bool) -> NDArray[np.int64]:
    """The bin of each highest probability: ((b / 15, (b + 1) / 15], or of equal counts."""
    edges = np.quantile(top, np.arange(1, BINS) / BINS) if adaptive and len(top) else np.arange(1, BINS) / BINS
    return np.searchsorted(edges, top, side="left")


def _gaps(p: NDArray[np.float64], labels: NDArray[np.integer], adaptive: bool) -> NDArray[np.float64]:
    """Highest probability minus success, in the column of its bin, (n, bins)."""
    top = p.max(axis=1, initial=0.0)
    gaps = np.zeros((len(p), BINS))
    gaps[np.arange(len(p)), _bins(top, adaptive)] = top - (p.argmax(axis=1) == labels)
    return gaps


def _roc_auc(
    score: NDArray[np.float64], positive: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Chance that a positive outranks a negative, ties half (Mann & Whitney 1947), for each row of `weights` (b, n)."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    drawn = weights[:, order]
    positives = np.add.reduceat(drawn * positive[order], starts, axis=1)  # (b, distinct scores)
    negatives = np.add.reduceat(drawn * ~positive[order], starts, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives / 2
    wins = np.einsum("bs,bs->b", positives, below)
    return wins / (positives.sum(axis=1) * negatives.sum(axis=1))


def _mean_of_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the first axis without NaN; NaN where there is nothing else."""
    defined = np.isfinite(values)
    return np.where(defined, values, 0.0).sum(axis=0) / np.where(defined.any(axis=0), defined.sum(axis=0), np.nan)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
