"""How far a row lies outside the rows a model learned from; the second output of an exported graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.models.cleaning import impute

FARTHEST = 1e4
"""Larger distances read so; infinity has a meaning of its own."""

LIMIT = 1.0
"""The distance from the training rows above which a row is outside."""


@dataclass(frozen=True)
class TrainingDistance:
    """Distance of features (n, f) from the rows to learn from: 1 is the limit, above which a row is outside.

    Rows are imputed, standardised and projected on `directions`; the distance is the largest of
    ``|projection - centre| / half_width``, over `limit`. What lies outside the range of one projection lies outside the
    convex hull. A row whose set of measured features no row to learn from had is at infinity.
    """

    imputation: NDArray[np.float32]  # (f,)
    mean: NDArray[np.float32]  # (f,)
    scale: NDArray[np.float32]  # (f,)
    directions: NDArray[np.float32]  # (k, f), a unit vector a row
    centre: NDArray[np.float32]  # (k,)
    half_width: NDArray[np.float32]  # (k,)
    patterns: NDArray[np.bool_]
    """(p, f), sets of measured features that occur; no row where they are not looked at."""
    limit: float

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Give distances (n,), at most `FARTHEST`, or infinite."""
        distance = np.minimum(self.out_of_range(features) / self.limit, FARTHEST)
        return np.where(self.seen(features), distance, np.inf)

    def out_of_range(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Give the largest ``|projection - centre| / half_width`` of each row, (n,)."""
        return np.asarray((np.abs(self.projections(features) - self.centre) / self.half_width).max(axis=1))

    def projections(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Give the standardised features along each direction, (n, k)."""
        scaled = (impute(features, self.imputation).astype(np.float64) - self.mean) / self.scale
        return np.asarray(scaled @ self.directions.T.astype(np.float64))

    def seen(self, features: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Tell rows (n,) whose set of measured features is among the patterns."""
        if not len(self.patterns):
            return np.ones(len(features), dtype=bool)
        known = {pattern.tobytes() for pattern in self.patterns}
        kinds, kind = np.unique(np.isfinite(features), axis=0, return_inverse=True)
        return np.array([each.tobytes() in known for each in kinds], dtype=bool)[kind.ravel()]

    def as_dict(self) -> dict[str, Any]:
        """Give what `distance.json` holds."""
        arrays = {name: value.tolist() for name, value in vars(self).items() if name not in ("patterns", "limit")}
        return {**arrays, "patterns": self.patterns.astype(int).tolist(), "limit": self.limit}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> TrainingDistance:
        """Read what `as_dict` gave."""
        known = dict(content)
        limit, patterns = known.pop("limit"), np.array(known.pop("patterns"), dtype=bool)
        arrays = {name: np.array(values, dtype=np.float32) for name, values in known.items()}
        return cls(**arrays, patterns=patterns.reshape(-1, len(arrays["mean"])), limit=limit)
