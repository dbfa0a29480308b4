"""Missing values, the same for every model: NaN and infinite are not measured."""

from __future__ import annotations

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


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give probabilities (n, k) of scores (n, k)."""
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
