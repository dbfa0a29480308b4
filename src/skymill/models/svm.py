"""Support vector machine with a Gaussian kernel (Cortes & Vapnik 1995), its kernel approximated by landmarks.

A kernel machine keeps every support vector, thousands of them on overlapping classes, and takes the square of the rows
to train. With the Nystroem method (Williams & Seeger 2001) the kernel to a few hundred landmarks is the feature vector
of a linear machine: training is linear in the rows, inference is two matrix products.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from skymill.config import base
from skymill.models.cleaning import Scaler, softmax, squared_distances
from skymill.models.registry import Examples, Place, register

FILE = "svm.npz"
BLOCK_ROWS = 16_384
CLIP_QUANTILE = 0.001
SMALLEST_EIGENVALUE = 1e-4
"""Of the kernel of the landmarks, relative to the largest; beyond, weights would amplify the rounding of float32."""


class SvmSettings(base.Settings):
    """Hyperparameters of the support vector machine."""

    landmarks: int = Field(400, ge=1, le=10_000)
    """Training rows that the kernel is taken to; more of them come closer to the kernel machine."""
    width: float | None = Field(None, gt=0)
    """Of the kernel, in standard deviations of a feature; null takes the square root of half the number of features."""
    penalty: float = Field(1.0, gt=0)
    """What a row on the wrong side costs (C)."""


@register("svm")
class Svm:
    """A fitted machine. Export reads `scaler`, `landmarks`, `gamma`, `weights` and `biases`."""

    kind: ClassVar[str]
    Settings: ClassVar[type[base.Settings]] = SvmSettings

    def __init__(
        self,
        scaler: Scaler,
        landmarks: NDArray[np.float32],
        gamma: float,
        weights: NDArray[np.float64],
        biases: NDArray[np.float64],
    ) -> None:
        self.scaler = scaler
        self.landmarks = landmarks
        """(m, f), standardised"""
        self.gamma = gamma
        """The kernel is ``exp(-gamma |x - y|^2)``."""
        self.weights = weights
        """(m, classes): from kernel to logits; the whitening of Nystroem and the scaling of Platt are folded in."""
        self.biases = biases

    @classmethod
    def fit(cls, train: Examples, validation: Examples, settings: SvmSettings, *, seed: int, place: Place) -> Self:
        """Fit one machine per class against the rest, then a softmax of their margins (Platt 1999)."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.svm import LinearSVC

        scaler = Scaler.measure(train.features, clip_quantile=CLIP_QUANTILE)
        scaled = scaler.scaled(train.features).astype(np.float32)
        count = min(settings.landmarks, len(scaled))
        landmarks = scaled[np.random.default_rng(seed).choice(len(scaled), count, replace=False)]
        gamma = 0.5 / settings.width**2 if settings.width else 1.0 / scaled.shape[1]
        whitening = _whitening(_kernel(landmarks, landmarks, gamma))
        mapped = _kernel(scaled, landmarks, gamma) @ whitening

        machine = LinearSVC(C=settings.penalty, dual=False, random_state=seed)
        machine.fit(mapped, train.labels, sample_weight=train.weights)
        margins = mapped @ machine.coef_.T + machine.intercept_  # (n, classes); one column for two classes
        platt = LogisticRegression(max_iter=1000).fit(margins, train.labels, sample_weight=train.weights)
        weights = whitening @ machine.coef_.T @ platt.coef_.T
        biases = platt.coef_ @ machine.intercept_ + platt.intercept_
        if train.n_classes == 2:  # scikit-learn keeps the log-odds of the second class alone
            weights, biases = np.column_stack([0 * weights, weights]), np.append(0.0, biases)
        return cls(scaler, landmarks, gamma, weights, biases)

    def predict_probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the softmax of weighted kernels, float32 (n, classes)."""
        starts = range(0, max(len(features), 1), BLOCK_ROWS)
        scaled = (self.scaler.scaled(features[start : start + BLOCK_ROWS]) for start in starts)
        parts = [softmax(_kernel(rows, self.landmarks, self.gamma) @ self.weights + self.biases) for rows in scaled]
        return np.concatenate(parts).astype(np.float32)

    def save(self, folder: Path) -> list[str]:
        """Write plain arrays."""
        arrays: dict[str, NDArray[Any]] = {**self.scaler._asdict(), "landmarks": self.landmarks}
        arrays |= {"gamma": np.array(self.gamma), "weights": self.weights, "biases": self.biases}
        np.savez_compressed(folder / FILE, allow_pickle=False, **arrays)
        return [FILE]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(folder / FILE, allow_pickle=False) as stored:
            scaler = Scaler(*(stored[name] for name in Scaler._fields))
            return cls(scaler, stored["landmarks"], float(stored["gamma"]), stored["weights"], stored["biases"])

    def history(self) -> list[dict[str, float]]:
        """A machine has no epochs."""
        return []


def _kernel(rows: NDArray[np.floating], landmarks: NDArray[np.floating], gamma: float) -> NDArray[np.float64]:
    """Gaussian kernel (n, m) of rows (n, f) and landmarks (m, f)."""
    return np.asarray(np.exp(-gamma * squared_distances(rows, landmarks)))


def _whitening(kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give w (m, r) such that ``w w.T`` is the pseudo-inverse of the landmarks' kernel."""
    values, vectors = np.linalg.eigh(kernel)
    kept = values > SMALLEST_EIGENVALUE * values[-1]
    return np.asarray(vectors[:, kept] / np.sqrt(values[kept]))
