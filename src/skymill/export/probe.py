"""Rows on which an exported model must agree with the fitted one: real rows, perturbed ones and hard ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SEED = 0
PERTURBATION = 0.3
"""Noise of a perturbed row, in standard deviations of each feature."""
MIXED_ROWS = 1_000
HARD_SHARE = 0.2
TINY, HUGE = np.float32(1e-42), np.finfo(np.float32).max


class Probe(NamedTuple):
    """Rows to compare."""

    features: NDArray[np.float32]
    """(n, f)"""
    labels: NDArray[np.int64]
    """(n,), -1 where the row has no true class."""
    origin: NDArray[np.str_]
    """(n,), where the row comes from: `held out`, `perturbed` or what is hard about it."""


def make_probe(
    features: NDArray[np.float32], labels: NDArray[np.int64], negative: NDArray[np.float32], *, rows: int
) -> Probe:
    """Choose rows for the comparison; the same input gives the same rows.

    Parameters
    ----------
    features : ndarray of float32, (m, f)
        Held-out rows. More than `rows` are thinned, fewer are topped up with perturbed copies.
    labels : ndarray of int64, (m,)
    negative : ndarray of float32, (k, f)
        Features of sources with negative fluxes; may have no rows where a survey has no fluxes.
    rows : int
        Rows besides the hard ones.

    Raises
    ------
    ValueError
        If there is no row at all.
    """
    if len(features) == 0:
        raise ValueError(
            "no held-out row to compare the exported model on; the training set has no validation or test rows"
        )
    random = np.random.default_rng(SEED)
    chosen = np.sort(random.permutation(len(features))[:rows])
    features, labels = features[chosen], labels[chosen]
    parts = [
        Probe(features, labels, np.full(len(features), "held out")),
        _perturbed(features, random, rows=rows - len(features)),
        _unlabelled(negative, "negative flux"),
        _hard(features, random),
    ]
    return Probe(*(np.concatenate(columns) for columns in zip(*parts)))


def _perturbed(features: NDArray[np.float32], random: np.random.Generator, *, rows: int) -> Probe:
    base = features[random.integers(len(features), size=rows)]
    noise = random.normal(size=base.shape) * PERTURBATION * _spread(features)
    return _unlabelled((base + noise).astype(np.float32), "perturbed")


def _hard(features: NDArray[np.float32], random: np.random.Generator) -> Probe:
    """One feature at a time put to each hard value, all features at once, and mixtures."""
    n_features = features.shape[1]
    centre, spread = _centre(features), _spread(features)
    values = {
        "NaN": np.full(n_features, np.nan),
        "+inf": np.full(n_features, np.inf),
        "-inf": np.full(n_features, -np.inf),
        "largest": np.full(n_features, HUGE),
        "most negative": np.full(n_features, -HUGE),
        "zero": np.zeros(n_features),
        "tiny": np.full(n_features, TINY),
        "far above": centre + 20 * spread,
        "far below": centre - 20 * spread,
        "negated": -centre,
    }
    parts = []
    for name, row in values.items():
        value = row.astype(np.float32)
        single = features[random.integers(len(features), size=n_features)]
        np.fill_diagonal(single, value)
        parts += [_unlabelled(single, f"one {name}"), _unlabelled(value[None], f"all {name}")]
    table = np.stack([row.astype(np.float32) for row in values.values()])
    mixed = features[random.integers(len(features), size=MIXED_ROWS)]
    drawn = table[random.integers(len(table), size=mixed.shape), np.arange(n_features)]
    mixed = np.where(random.random(mixed.shape) < HARD_SHARE, drawn, mixed)
    return Probe(*(np.concatenate(columns) for columns in zip(*parts, _unlabelled(mixed, "mixed hard values"))))


def _unlabelled(features: NDArray[np.float32], origin: str) -> Probe:
    return Probe(features, np.full(len(features), -1), np.full(len(features), origin))


def _centre(features: NDArray[np.float32]) -> NDArray[np.float64]:
    finite = np.where(np.isfinite(features), features, np.nan).astype(np.float64)
    return np.array([np.nanmedian(column) if np.isfinite(column).any() else 0.0 for column in finite.T])


def _spread(features: NDArray[np.float32]) -> NDArray[np.float64]:
    finite = np.where(np.isfinite(features), features, np.nan).astype(np.float64)
    return np.array([np.nanstd(column) if np.isfinite(column).any() else 1.0 for column in finite.T])
