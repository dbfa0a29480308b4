"""Metrics of class probabilities, each with a bootstrap interval (Efron 1979), overall and by magnitude.

What is drawn are blocks of sky, not rows: sources of a block share depth, dust and stars, and intervals from rows came
out up to 1.7 times too narrow. Every metric but the ROC-AUC is a function of sums over rows, so that a thousand
resamples are one matrix product.
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
VALUES_AT_ONCE = 4_000_000
"""Resampling weights held at once."""
CALIBRATION_ERRORS = ("ece", "ece_adaptive")
"""Sums of absolute values, which noise makes larger: in the sample than in truth, in a resample than in the sample."""
FEWEST_IN_MAGNITUDE_BIN = 100
SMALLEST_PROBABILITY = np.finfo(np.float64).eps
Metrics = dict[str, NDArray[np.float64]]


def evaluate(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    magnitude: NDArray[np.floating],
    block: NDArray[np.integer],
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
    block : ndarray of int, (n,)
        Block of sky of each row: what is drawn for the intervals.
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
        metrics = with_intervals(p[rows], labels[rows], block[rows], classes=classes, seed=seed, resamples=resamples)
        bins.append({"low": low, "high": high, "n": int(rows.sum()), "metrics": metrics})
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (labels, p.argmax(axis=1)), 1)
    return {
        "classes": list(classes),
        "n": len(labels),
        "blocks": len(np.unique(block)),
        "resamples": resamples,
        "confidence": CONFIDENCE,
        "overall": with_intervals(p, labels, block, classes=classes, seed=seed, resamples=resamples),
        "by_magnitude": bins,
        "confusion": confusion.tolist(),
        "reliability": reliability(p, labels),
    }


def with_intervals(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.integer],
    block: NDArray[np.integer],
    *,
    classes: Sequence[str],
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, dict[str, float | None]]:
    """Give {metric: {value, low, high}}; None where a metric, or with a single block its interval, is not defined.

    Limits are percentiles of the resamples; those of calibration errors are the basic bootstrap's (Davison & Hinkley
    1997, eq. 5.6), which take out once what the resampling adds, and reach down to 0 where right probabilities would
    give as much. `ece_if_calibrated` is what right probabilities give in so many rows, and the central range of it.
    """
    values = metrics_of(probabilities, labels, classes=classes)
    drawn = bootstrap(probabilities, labels, block, classes=classes, seed=seed, resamples=resamples)
    few = len(np.unique(block)) < 2
    result = {name: _entry(value, *_percentiles(drawn[name][: 0 if few else None])) for name, value in values.items()}
    for name in CALIBRATION_ERRORS:
        chance = calibrated_errors(probabilities, adaptive=name == "ece_adaptive", seed=seed, resamples=resamples)
        result[name] = _calibration_entry(result[name], chance)
        if name == "ece":
            result["ece_if_calibrated"] = _entry(float(chance.mean()), *_percentiles(chance))
    return result


def by_row(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give what each row (n,) adds to the log-loss and to the balanced accuracy, which are the means of these."""
    p, counts = np.asarray(probabilities, dtype=np.float64), np.bincount(labels)
    weight = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    loss = -np.log(np.clip(p[np.arange(len(p)), labels], SMALLEST_PROBABILITY, 1.0))
    return loss, weight[labels] * (p.argmax(axis=1) == labels)


def share_with_interval(
    values: NDArray[Any], block: NDArray[np.integer], *, seed: int, resamples: int = RESAMPLES
) -> dict[str, float | None]:
    """Give the mean of numbers or truths (n,) with its interval, as `with_intervals` does for a metric."""
    if len(values) == 0:
        return _entry(np.nan, np.nan, np.nan)
    names, place = np.unique(block, return_inverse=True)
    by_block = np.column_stack([np.bincount(place, values), np.bincount(place)])
    sums = np.concatenate([weights @ by_block for weights in _resampled(np.arange(len(names)), seed, resamples)])
    return _entry(float(np.mean(values)), *_percentiles((sums[:, 0] / sums[:, 1])[: 0 if len(names) < 2 else None]))


def _entry(value: float, low: float, high: float) -> dict[str, float | None]:
    numbers = {"value": value, "low": low, "high": high}
    return {name: float(number) if np.isfinite(number) else None for name, number in numbers.items()}


def _calibration_entry(entry: dict[str, float | None], chance: NDArray[np.float64]) -> dict[str, float | None]:
    """Turn percentiles of resamples into the basic bootstrap's limits."""
    value, low, high = (entry[key] for key in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return entry
    explained = value <= _percentiles(chance)[1]
    return _entry(value, 0.0 if explained else max(2 * value - high, 0.0), max(2 * value - low, 0.0))


def _percentiles(drawn: NDArray[np.float64]) -> tuple[float, float]:
    """The central range of what is defined; NaN where nothing is."""
    defined = drawn[np.isfinite(drawn)]
    low, high = (
        np.percentile(defined, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)]) if len(defined) else (np.nan,) * 2
    )
    return float(low), float(high)


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
    block: NDArray[np.integer],
    *,
    classes: Sequence[str],
    seed: int,
    resamples: int = RESAMPLES,
) -> Metrics:
    """Give every metric for each resample of the blocks of sky (n,), as arrays (resamples,).

    Two models over the same rows with the same seed see the same resamples, so that their differences are paired.
    """
    parts = [_weighted(probabilities, labels, weights, classes) for weights in _resampled(block, seed, resamples)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def calibrated_errors(
    probabilities: NDArray[np.floating], *, adaptive: bool = False, seed: int, resamples: int = RESAMPLES
) -> NDArray[np.float64]:
    """Give the `ece` of the same probabilities were they right, (resamples,): each row's success drawn by its own."""
    top = np.asarray(probabilities, dtype=np.float64).max(axis=1, initial=0.0)
    member = np.zeros((len(top), BINS))
    member[np.arange(len(top)), _bins(top, adaptive)] = 1.0
    generator = np.random.default_rng(seed)
    at_once = max(1, VALUES_AT_ONCE // max(len(top), 1))
    parts = []
    for start in range(0, resamples, at_once):
        right = generator.random((min(at_once, resamples - start), len(top))) < top
        parts.append(np.abs((top - right) @ member).sum(axis=1) / max(len(top), 1))
    return np.concatenate(parts)


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


def _resampled(block: NDArray[np.integer], seed: int, resamples: int) -> Iterator[NDArray[np.float64]]:
    """How often each row is drawn, with its block, (some resamples, n) at a time."""
    generator = np.random.default_rng(seed)
    _, place = np.unique(block, return_inverse=True)
    n_blocks = int(place.max(initial=-1)) + 1
    at_once = max(1, VALUES_AT_ONCE // max(len(block), 1))
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        drawn = generator.integers(0, n_blocks, size=(size, n_blocks)) + np.arange(size)[:, None] * n_blocks
        counts = np.bincount(drawn.ravel(), minlength=size * n_blocks).reshape(size, n_blocks)
        yield counts[:, place].astype(np.float64)


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
