"""Nearest neighbours (Fix & Hodges 1951), weighted by distance, in a condensed set of reference points."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from skymill.config import base
from skymill.models.cleaning import Scaler, squared_distances
from skymill.models.registry import Examples, Place, register

FILE = "knn.npz"
BLOCK_ROWS = 4_096
CLIP_QUANTILE = 0.001
SMALLEST_WEIGHT = 1e-6
SMALLEST_DISTANCE = 1e-6
"""Squared, in units of the features' scatter; closer points count as the same."""


class KnnSettings(base.Settings):
    """Hyperparameters of nearest neighbours."""

    neighbours: int = Field(20, ge=1, le=1000)
    """Reference points that vote."""
    references: int = Field(1000, ge=2, le=20_000)
    """Reference points at most; inference takes time in proportion."""


@register("knn")
class Knn:
    """Reference points and their votes. Export reads `scaler`, `references`, `votes` and `neighbours`."""

    kind: ClassVar[str]
    Settings: ClassVar[type[base.Settings]] = KnnSettings

    def __init__(
        self, scaler: Scaler, references: NDArray[np.float32], votes: NDArray[np.float32], neighbours: int
    ) -> None:
        self.scaler = scaler
        self.references = references
        """(m, f), standardised"""
        self.votes = votes
        """(m, classes): weight of the training rows of each class that a reference point stands for."""
        self.neighbours = neighbours

    @classmethod
    def fit(cls, train: Examples, validation: Examples, settings: KnnSettings, *, seed: int, place: Place) -> Self:
        """Condense the rows to the centres of k-means; `validation` is not looked at."""
        scaler = Scaler.measure(train.features, clip_quantile=CLIP_QUANTILE)
        scaled = scaler.scaled(train.features).astype(np.float32)
        references, cell = _condense(scaled, settings.references, seed)
        votes = np.zeros((len(references), train.n_classes))
        np.add.at(votes, (cell, train.labels), train.weights)
        neighbours = min(settings.neighbours, len(references) - 1)
        return cls(scaler, references, votes.astype(np.float32), neighbours)

    def predict_probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the neighbours' votes, float32 (n, classes).

        A neighbour at the distance d counts ``1 - d^2 / D^2``, D being the distance of the first that does not vote
        (Hechenbichler & Schliep 2004). So probabilities are continuous, and two points that are equally far may be
        told apart by a rounding error without harm.
        """
        starts = range(0, max(len(features), 1), BLOCK_ROWS)
        return np.concatenate([self._vote(features[start : start + BLOCK_ROWS]) for start in starts])

    def _vote(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        squared = squared_distances(self.scaler.scaled(features), self.references)
        nearest = np.argsort(squared, axis=1, kind="stable")[:, : self.neighbours + 1]
        near = np.take_along_axis(squared, nearest, axis=1)
        weight = np.maximum(1 - near / np.maximum(near[:, -1:], SMALLEST_DISTANCE), SMALLEST_WEIGHT)
        votes = np.einsum("nk,nkc->nc", weight, self.votes[nearest])
        return np.asarray(votes / votes.sum(axis=1, keepdims=True), dtype=np.float32)

    def save(self, folder: Path) -> list[str]:
        """Write plain arrays."""
        arrays: dict[str, NDArray[Any]] = {**self.scaler._asdict(), "references": self.references}
        arrays |= {"votes": self.votes, "neighbours": np.array(self.neighbours)}
        np.savez_compressed(folder / FILE, allow_pickle=False, **arrays)
        return [FILE]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(folder / FILE, allow_pickle=False) as stored:
            scaler = Scaler(*(stored[name] for name in Scaler._fields))
            return cls(scaler, stored["references"], stored["votes"], int(stored["neighbours"]))

    def history(self) -> list[dict[str, float]]:
        """Neighbours have no epochs."""
        return []


def _condense(rows: NDArray[np.float32], count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Give reference points (m, f), and for each row the one that stands for it; all rows where they are few."""
    distinct, cell = np.unique(rows, axis=0, return_inverse=True)
    if len(distinct) <= count:
        return distinct, cell.ravel()
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1):  # the order of a sum over threads would show in the last digit
        found = MiniBatchKMeans(count, random_state=seed, n_init=1, batch_size=4096, reassignment_ratio=0.0).fit(rows)
    used, cell = np.unique(found.labels_, return_inverse=True)
    return found.cluster_centers_[used].astype(np.float32), cell
