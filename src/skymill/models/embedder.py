"""Networks that learn from stamps without a label: what `contrastive`, `autoencoder` and `vae` share.

Each makes a vector of length 1 of a stamp. Classes are then told by a linear probe: multinomial logistic regression on
the vectors, which stay as they are (Alain & Bengio 2016, arXiv:1610.01644).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from skymill.models.registry import Examples, Place
from skymill.models.stamp_network import StampNetwork
from skymill.models.stamp_settings import StampNetworkSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from skymill.models.stamp_training import StampTraining

PENALTIES = tuple(10.0**power for power in range(-2, 4))
"""Inverse strengths of the probe's penalty; the one of the lowest log-loss on validation is taken."""
PROBE = 7
"""Purpose of a random stream: which labels the probe learns from."""


class EmbedderSettings(StampNetworkSettings):
    """Hyperparameters that the three share."""

    vector: int = Field(64, ge=2, le=1024)
    """Length of the embedding."""
    subpixel: bool = True
    """Each stamp is moved by up to half a pixel more."""
    blur_px: float = Field(0.5, ge=0, le=0.7)
    """Each stamp is blurred by a kernel of up to so many pixels' width (one sigma): worse seeing."""
    epochs: int = Field(40, ge=1)
    """The learning rate rises over the first tenth, then falls to nothing along a cosine."""
    batch_size: int = Field(128, ge=4)
    """Stamps of one training step; the first thing to lower when memory runs out."""
    probe_labels: float = Field(1.0, gt=0, le=1)
    """Share of the training rows whose labels the probe learns from; the network itself sees no label."""


class Embedder(StampNetwork):
    """A fitted network and its probe."""

    @classmethod
    def training(cls) -> Callable[[Examples, Examples, Any, int], StampTraining]:
        """Give the course of a fit."""
        raise NotImplementedError

    @classmethod
    def fit(cls, train: Examples, validation: Examples, settings: Any, *, seed: int, place: Place) -> Self:
        """Train, keeping the epoch with the lowest loss on validation; goes on from the last epoch after a kill.

        The features of both are stamps, float32 (n, 2, bands, k, k): flux (nJy) and inverse variance. Labels are used
        for the probe alone.
        """
        from skymill.models.stamp_training import train_best

        best = train_best(cls.training(), (train, validation), settings, seed, place)
        shape = {**settings.sizes, "classes": train.n_classes}
        encoder: Any = best.network["encoder"]
        fitted = cls(encoder, cls.networks(encoder.stretch.noise.flatten(), shape)[1], shape, best.epochs)
        rows = _labelled(train.labels, settings.probe_labels, seed)
        vectors = fitted.encode(train.features[rows])
        fit_probe(fitted.head, vectors, fitted.encode(validation.features), train, rows, validation)
        return fitted

    @classmethod
    def networks(cls, noise: Tensor, shape: dict[str, int]) -> tuple[nn.Module, nn.Module]:
        """Give encoder and probe."""
        from torch import nn

        from skymill.models.embedder_network import UnitEncoder

        sizes = {name: shape[name] for name in ("width", "stages", "depth", "vector")}
        return UnitEncoder(noise, **sizes), nn.Linear(shape["vector"], shape["classes"])


def _labelled(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.intp]:
    """Choose so large a share of the rows of each class, at least one."""
    random = np.random.default_rng([seed, PROBE])
    rows = [random.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    return np.sort(np.concatenate([each[: max(1, round(share * len(each)))] for each in rows]))


def fit_probe(
    head: nn.Module,
    vectors: NDArray[np.float32],
    held_out: NDArray[np.float32],
    train: Examples,
    rows: NDArray[np.intp],
    validation: Examples,
) -> None:
    """Fit a linear layer on vectors.

    Parameters
    ----------
    head : nn.Linear
        Vectors to class scores; its weights are set.
    vectors : ndarray of float32, (m, vector)
        Of the training rows `rows`.
    held_out : ndarray of float32, (k, vector)
        Of all rows of `validation`, by which the penalty is chosen.
    train, validation : Examples
    rows : ndarray of int, (m,)
    """
    import torch
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    mean, spread = vectors.mean(axis=0, dtype=np.float64), vectors.std(axis=0, dtype=np.float64)
    spread[spread == 0] = 1.0
    labels, weights = train.labels[rows], train.weights[rows]
    judged_by = train.class_weights[validation.labels]

    def fitted(penalty: float) -> LogisticRegression:
        probe = LogisticRegression(C=penalty, max_iter=2000)
        return probe.fit((vectors - mean) / spread, labels, sample_weight=weights)

    def loss(probe: LogisticRegression) -> float:
        given = probe.predict_proba((held_out - mean) / spread)
        return float(log_loss(validation.labels, given, sample_weight=judged_by, labels=np.arange(train.n_classes)))

    best = min((fitted(penalty) for penalty in PENALTIES), key=loss)
    slopes, offsets = best.coef_, best.intercept_
    if train.n_classes == 2:  # scikit-learn gives the log-odds of the second
        slopes, offsets = np.concatenate([-slopes, slopes]) / 2, np.concatenate([-offsets, offsets]) / 2
    slopes = slopes / spread
    state = {"weight": slopes, "bias": offsets - slopes @ mean}
    head.load_state_dict({name: torch.from_numpy(values.astype(np.float32)) for name, values in state.items()})
