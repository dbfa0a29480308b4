"""Measure the range of the rows to learn from, and from held-out rows what counts as outside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.models.cleaning import Scaler, medians
from skymill.models.distance import TrainingDistance

RANGE_QUANTILE = 1e-3
"""The range of a projection leaves out this share of the rows at each end; single odd rows do not stretch it."""
NARROWEST = 1e-2
"""Half-width of a range at least, in standard deviations of a feature: some features are sums of others."""
NARROWEST_ROUNDINGS = 1e4
"""The same in roundings of the terms of a float32 sum, so that these do not show in a distance."""
MOST_ROWS = 200_000
MOST_PATTERNS = 64
"""With more, features are missing independently of each other, and a new pattern says nothing."""
TOLD_QUANTILES = (0.5, 0.9, 0.99, 0.999)


def fit_distance(
    train: NDArray[np.float32],
    validation: NDArray[np.float32],
    *,
    indicator: NDArray[np.bool_],
    quantile: float,
) -> tuple[TrainingDistance, dict[str, Any]]:
    """Measure the range of the train split; scale distances so that `quantile` of the validation split is below 1.

    Parameters
    ----------
    train, validation : ndarray of float32, (n, f) and (m, f)
        NaN where not measured; every feature is measured in some row of `train`.
    indicator : ndarray of bool, (f,)
        Features that only say what was measured, which the patterns tell as well: no direction follows them.
    quantile : float
        The limit is the validation distance of rank ceil((m + 1) quantile), or the largest where m is too small.

    Returns
    -------
    TrainingDistance
    dict
        Quantiles of the validation distances and the number of patterns, for the card.
    """
    measured = _measure(train, np.flatnonzero(~indicator))
    if np.mean(~measured.seen(validation)) > 1 - quantile:
        measured = replace(measured, patterns=measured.patterns[:0])
    held_out = np.sort(measured.out_of_range(validation))
    rank = min(int(np.ceil((len(held_out) + 1) * quantile)), len(held_out))
    fitted = replace(measured, limit=float(held_out[rank - 1]))
    told = np.quantile(held_out / fitted.limit, TOLD_QUANTILES, method="higher")
    return fitted, {
        "quantile": quantile,
        "validation": {f"{share:g}": float(value) for share, value in zip(TOLD_QUANTILES, told, strict=True)},
        "patterns": len(fitted.patterns),
    }


def _measure(train: NDArray[np.float32], columns: NDArray[np.intp]) -> TrainingDistance:
    """Directions, ranges and patterns; not yet scaled by held-out rows."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    rows = train[np.linspace(0, len(train) - 1, min(len(train), MOST_ROWS)).astype(int)]
    scaler = Scaler.measure(rows, clip_quantile=RANGE_QUANTILE)
    directions = np.zeros((2 * len(columns), train.shape[1]), np.float32)  # axes, then principal directions
    directions[: len(columns)] = np.eye(train.shape[1])[columns]
    with threadpool_limits(1, user_api="blas"):  # the last bits of a product depend on how it is shared out
        scaled = scaler.scaled(rows)[:, columns]
        directions[len(columns) :, columns] = np.linalg.eigh(scaled.T @ scaled)[1].T
        measured = TrainingDistance(
            imputation=medians(train),
            mean=scaler.mean,
            scale=scaler.scale,
            directions=directions,
            centre=np.zeros(len(directions), np.float32),
            half_width=np.ones(len(directions), np.float32),
            patterns=_patterns(train),
            limit=1.0,
        )
        low, high = np.quantile(measured.projections(rows), [RANGE_QUANTILE, 1 - RANGE_QUANTILE], axis=0)
    rounding = np.finfo(np.float32).eps * np.abs(directions) @ np.abs(scaler.mean / scaler.scale)
    half_width = np.maximum((high - low) / 2, np.maximum(NARROWEST, NARROWEST_ROUNDINGS * rounding))
    return replace(measured, centre=((low + high) / 2).astype(np.float32), half_width=half_width.astype(np.float32))


def _patterns(train: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The sets of measured features that occur, (p, f); none where they are too many."""
    patterns = np.unique(np.isfinite(train), axis=0)
    return patterns if len(patterns) <= MOST_PATTERNS else patterns[:0]
