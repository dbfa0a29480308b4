"""Which features moved the probabilities of single sources: Shapley values, whatever the model."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

ROWS = 200
"""Test rows that are explained."""
BACKGROUND = 8
"""Rows of the training split that stand for not knowing a feature; each is walked in two orders."""
ROWS_AT_ONCE = 65_536
VALUE = "value"
Predict = Callable[[NDArray[np.float32]], NDArray[np.float64]]


class Attribution(NamedTuple):
    """What features did to the probabilities of m sources."""

    effect: NDArray[np.float64]
    """(m, f, k): by how much a feature raised the probability of a class; over f they sum to `given - base`."""
    base: NDArray[np.float64]
    """(k,), mean probabilities of the background."""
    given: NDArray[np.float64]
    """(m, k), probabilities of the sources."""


def shapley_values(
    predict: Predict, features: NDArray[np.float32], background: NDArray[np.float32], *, seed: int
) -> Attribution:
    """Estimate Shapley values by walking from background rows to each source, feature by feature in random order.

    Strumbelj & Kononenko (2014, Knowl. Inf. Syst. 41, 647, algorithm 1), each order walked forwards and backwards
    (antithetic: Mitchell et al. 2022, JMLR 23, 43). Unbiased for the expectation over the background, and exactly
    additive: what the features did sums to the source's probabilities minus the background's mean.

    Parameters
    ----------
    predict : callable
        Calibrated probabilities (n, k) of features (n, f).
    features : ndarray of float32, (m, f)
        Of the sources.
    background : ndarray of float32, (b, f)
    seed : int
        Of the orders.
    """
    generator = np.random.default_rng(seed)
    n_features = features.shape[1]
    base, given = predict(background), predict(features)
    effect = np.empty((*features.shape, given.shape[1]))
    starts = np.repeat(background, 2, axis=0)
    at_once = max(1, ROWS_AT_ONCE // (len(starts) * (n_features + 1)))
    for at in range(0, len(features), at_once):
        some = features[at : at + at_once]
        forwards = generator.permuted(np.tile(np.arange(n_features), (len(some), len(background), 1)), axis=2)
        walks = np.stack([forwards, forwards[..., ::-1]], axis=2).reshape(len(some), len(starts), n_features)
        effect[at : at + at_once] = _walked(predict, some, starts, walks)
    return Attribution(effect, base.mean(axis=0), given)


def _walked(
    predict: Predict, sources: NDArray[np.float32], starts: NDArray[np.float32], walks: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mean change of the probabilities as each feature is put in, (m, f, k).

    Source by source (m, f), from each start (w, f), in the orders `walks` (m, w, f).
    """
    n_features = sources.shape[1]
    rank = np.argsort(walks, axis=-1)  # the step at which a walk puts in a feature
    known = np.arange(n_features + 1)[:, None] > rank[..., None, :]  # (m, w, steps, f)
    steps = np.where(known, sources[:, None, None, :], starts[None, :, None, :])
    p = predict(steps.reshape(-1, n_features)).reshape(*steps.shape[:-1], -1)
    moved = np.diff(p, axis=2)  # (m, w, f in the order of the walk, k)
    return np.take_along_axis(moved, rank[..., None], axis=2).mean(axis=1)


def sample_background(train: NDArray[np.float32], *, seed: int) -> NDArray[np.float32]:
    """Draw the rows (b, f), of those to learn from (n, f), that stand for not knowing a feature."""
    return train[np.random.default_rng(seed).permutation(len(train))[:BACKGROUND]]


def sample_rows(labels: NDArray[np.integer], n_rows: int, *, seed: int) -> NDArray[np.int64]:
    """Draw rows, as many of each class as there are, up to `n_rows`; their places, ascending."""
    generator = np.random.default_rng(seed)
    places = generator.permutation(len(labels))
    rank = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        own = places[labels[places] == label]
        rank[own] = np.arange(len(own))
    return np.sort(places[np.argsort(rank[places], kind="stable")][:n_rows])


def attribution_table(
    found: Attribution,
    features: NDArray[np.float32],
    *,
    object_id: NDArray[np.int64],
    labels: NDArray[np.integer],
    names: Sequence[str],
    classes: Sequence[str],
) -> bytes:
    """Give a Parquet file: for each source a row of its features' values (`of` is `value`) and one for each class."""
    blocks = {VALUE: features, **{name: found.effect[:, :, k] for k, name in enumerate(classes)}}
    columns = {
        "objectId": np.tile(object_id, len(blocks)),
        "label": np.tile(labels.astype(np.int8), len(blocks)),
        "of": np.repeat(list(blocks), len(object_id)),
    }
    values = np.concatenate(list(blocks.values())).astype(np.float32)
    columns |= {name: values[:, number] for number, name in enumerate(names)}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()
