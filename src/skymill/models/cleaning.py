"""What is done to raw features, the same for every model: NaN and infinite are not measured."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


def medians(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the median of the measured values of each feature, float32 (f,).

    Raises
    ------
    ValueError
        If a feature has no measured value at all.
    """
    finite = np.isfinite(features)
    empty = np.flatnonzero(~finite.any(axis=0))
    if len(empty):
        raise ValueError(f"features {empty.tolist()}: not measured in any row to learn from; leave them out")
    return np.nanmedian(np.where(finite, features, np.nan), axis=0).astype(np.float32)


def impute(features: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Put `values` (f,) where features (n, f) are NaN or infinite."""
    return np.where(np.isfinite(features), features, values)


class Scaler(NamedTuple):
    """Impute, clip to [low, high], subtract mean, divide by scale; float32 (f,) each."""

    imputation: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    @classmethod
    def measure(cls, features: NDArray[np.float32], *, clip_quantile: float) -> Scaler:
        """Take medians, quantiles, means and standard deviations of the rows to learn from."""
        imputation = medians(features)
        clean = impute(features, imputation).astype(np.float64)
        low, high = np.quantile(clean, [clip_quantile, 1 - clip_quantile], axis=0)
        clean = np.clip(clean, low, high)
        scale = clean.std(axis=0)
        scale[scale == 0] = 1.0
        return cls(*(values.astype(np.float32) for values in (imputation, low, high, clean.mean(axis=0), scale)))

    def clean(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Impute and clip, (n, f)."""
        return np.clip(impute(features, self.imputation), self.low, self.high).astype(np.float64)

    def scaled(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Impute, clip and standardise, (n, f)."""
        return (self.clean(features) - self.mean) / self.scale


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give probabilities (n, k) of scores (n, k)."""
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def squared_distances(rows: NDArray[np.floating], points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Give squared distances (n, m) of rows (n, f) and points (m, f)."""
    x, y = np.asarray(rows, dtype=np.float64), np.asarray(points, dtype=np.float64)
    squared = (x**2).sum(axis=1)[:, None] - 2 * x @ y.T + (y**2).sum(axis=1)
    return np.asarray(np.maximum(squared, 0.0))
