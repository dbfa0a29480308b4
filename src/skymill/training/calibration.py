"""Fit a calibration on the validation split."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skymill.models.calibration import FLOOR, Calibration, Knots

METHODS = ("temperature", "isotonic")
FOLDS = 5
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.1, 20.0
KNOTS = 20
"""Bins of an isotonic curve at most; what is exported stays small and the ends do not chase single rows."""


def fit_calibration(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    method: str,
    class_weights: NDArray[np.floating] | None = None,
    seed: int,
) -> tuple[Calibration, dict[str, float]]:
    """Fit one method, or the better of all for `auto`.

    Parameters
    ----------
    probabilities : ndarray, (n, k)
        A model's output on rows it did not learn from.
    labels : ndarray of int, (n,)
    method : {'none', 'temperature', 'isotonic', 'auto'}
    class_weights : ndarray, (k,), optional
        By which rows of each class were weighed in fitting; the temperature's bias takes them out again, also with
        `none`, which then is a temperature of 1.
    seed : int
        Of the folds.

    Returns
    -------
    Calibration
    dict
        Cross-validated log-loss of each method that was tried; empty unless `auto`.
    """
    p, bias = np.asarray(probabilities, dtype=np.float64), _bias(class_weights)
    if method != "auto":
        return _fit(p, labels, method, bias), {}
    fold = _stratified_folds(labels, seed)
    losses = {name: _cross_validated(p, labels, name, bias, fold) for name in METHODS}
    best = min(METHODS, key=lambda name: losses[name])
    return _fit(p, labels, best, bias), losses


def cross_calibrated(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    method: str,
    class_weights: NDArray[np.floating] | None = None,
    fold: NDArray[np.integer],
) -> NDArray[np.float64]:
    """Calibrate each fold of rows (n, k) by what the rows of the others teach; arguments as for `fit_calibration`."""
    p = np.asarray(probabilities, dtype=np.float64)
    return _cross_calibrated(p, labels, method, _bias(class_weights), fold)


def _cross_calibrated(
    p: NDArray[np.float64], labels: NDArray[np.integer], method: str, bias: tuple[float, ...], fold: NDArray[np.integer]
) -> NDArray[np.float64]:
    calibrated = np.empty_like(p)
    for held in np.unique(fold):
        out = fold == held
        calibrated[out] = _fit(p[~out], labels[~out], method, bias).apply(p[out])
    return calibrated


def _fit(p: NDArray[np.float64], labels: NDArray[np.integer], method: str, bias: tuple[float, ...]) -> Calibration:
    if method == "none":
        return Calibration("temperature", 1.0, bias) if bias else Calibration()
    if method == "temperature":
        return _fit_temperature(p, labels, bias)
    return Calibration("isotonic", knots=tuple(_knots(p[:, k], labels == k) for k in range(p.shape[1])))


def _bias(class_weights: NDArray[np.floating] | None) -> tuple[float, ...]:
    if class_weights is None or np.all(class_weights == class_weights[0]):
        return ()
    return tuple((-np.log(np.asarray(class_weights, dtype=np.float64))).tolist())


def _fit_temperature(p: NDArray[np.float64], labels: NDArray[np.integer], bias: tuple[float, ...]) -> Calibration:
    """The temperature of lowest log-loss, which has one minimum in 1/T."""
    from scipy.optimize import minimize_scalar

    def loss(sharpness: float) -> float:
        return log_loss(Calibration("temperature", 1.0 / sharpness, bias).apply(p), labels)

    found = minimize_scalar(
        loss, bounds=(1 / HIGHEST_TEMPERATURE, 1 / LOWEST_TEMPERATURE), method="bounded", options={"xatol": 1e-6}
    )
    return Calibration("temperature", float(1.0 / found.x), bias)


def _knots(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> Knots:
    """A rising curve through the bins' means.

    Edges are quantiles of the scores of the class and of the rest, so that both ends are resolved; each bin's frequency
    has half a success and half a failure added (Jeffreys), and a point at each end keeps the order of the extremes.
    """
    from sklearn.isotonic import isotonic_regression

    share = np.linspace(0, 1, KNOTS // 2 + 1)[1:-1]
    edges = np.unique(
        np.concatenate([np.quantile(side, share) for side in (score[positive], score[~positive]) if len(side)])
    )
    filled, index, counts = np.unique(np.searchsorted(edges, score), return_inverse=True, return_counts=True)
    means = np.bincount(index, score, len(filled)) / counts
    frequency = (np.bincount(index, positive, len(filled)) + 0.5) / (counts + 1.0)
    fitted = isotonic_regression(frequency, sample_weight=counts.astype(np.float64), y_min=FLOOR, y_max=1 - FLOOR)
    inside = (means > FLOOR) & (means < 1 - FLOOR)
    x = np.concatenate([[0.0], means[inside], [1.0]])
    y = np.concatenate([[_end(fitted, means, 0.0)], fitted[inside], [_end(fitted, means, 1.0)]])
    return x, np.maximum.accumulate(y)


def _end(fitted: NDArray[np.float64], means: NDArray[np.float64], at: float) -> float:
    """The curve at score 0 or 1: the frequency of a bin that lies there, else the end itself."""
    there = np.abs(means - at) <= FLOOR
    return float(fitted[there].mean()) if there.any() else abs(at - FLOOR)


def _stratified_folds(labels: NDArray[np.integer], seed: int) -> NDArray[np.int64]:
    """A fold for each row, every class spread evenly."""
    keys = np.random.default_rng(seed).random(len(labels))
    order = np.lexsort((keys, labels))
    fold = np.empty(len(labels), dtype=np.int64)
    fold[order] = np.arange(len(labels)) % FOLDS
    return fold


def _cross_validated(
    p: NDArray[np.float64], labels: NDArray[np.integer], method: str, bias: tuple[float, ...], fold: NDArray[np.int64]
) -> float:
    return log_loss(_cross_calibrated(p, labels, method, bias, fold), labels)


def log_loss(p: NDArray[np.float64], labels: NDArray[np.integer]) -> float:
    """Give the mean of -log of the true class's probability; never infinite."""
    return float(-np.log(np.maximum(p[np.arange(len(p)), labels], np.finfo(np.float64).tiny)).mean())
