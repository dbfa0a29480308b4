"""How well masks of sources agree with true ones: overlaps, and the average precision of instance segmentation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skymill.training.matching import NONE, Array

THRESHOLDS: Array = np.linspace(0.5, 0.95, 10)
"""Least overlaps over which the average precision is averaged."""
RECALLS: Array = np.linspace(0, 1, 101)
"""At which the precision is read."""


def pixels_of_masks(masks: Sequence[NDArray[np.bool_]]) -> csr_array:
    """Give which pixels each of n masks (ny, nx) has, (n, ny nx); masks may share pixels."""
    rows, places = np.nonzero(np.reshape(masks, (len(masks), -1)))
    return csr_array((np.ones(len(rows), np.int64), (rows, places)), shape=(len(masks), np.size(masks[0])))


def pixels_of_labels(labels: NDArray[np.int32]) -> csr_array:
    """Give which pixels each source has, (m, ny nx), of a map (ny, nx) of labels 1 to m; 0 is sky."""
    places = np.flatnonzero(labels)
    shape = (int(labels.max(initial=0)), labels.size)
    return csr_array((np.ones(len(places), np.int64), (labels.ravel()[places] - 1, places)), shape=shape)


def overlaps(true: csr_array, found: csr_array) -> Array:
    """Give the overlap of every true mask with every source, (n, m): the pixels that they share over those of either.

    Parameters
    ----------
    true : csr_array of int64, (n, pixels)
        As `pixels_of_masks` and `pixels_of_labels` give them, none of them empty.
    found : csr_array of int64, (m, pixels)
        The same.
    """
    shared = (true @ found.T).toarray()
    overlap: Array = shared / (true.sum(axis=1)[:, None] + found.sum(axis=1) - shared)
    return overlap


def assign(overlap: Array, score: Array, threshold: float) -> NDArray[np.int64]:
    """Give each source its true mask: that of largest overlap, `threshold` or more, which no higher score has taken.

    Parameters
    ----------
    overlap : ndarray of float64, (n, m)
        As `overlaps` gives it.
    score : ndarray of float64, (m,)
        How sure a source is.
    threshold : float

    Returns
    -------
    ndarray of int64, (m,)
        Row of the true mask, `NONE` where there is none.
    """
    partner = np.full(len(score), NONE, np.int64)
    if not len(overlap):
        return partner
    free = overlap.copy()
    for source in np.argsort(-score, kind="stable"):
        row = int(np.argmax(free[:, source]))
        if free[row, source] >= threshold:
            partner[source] = row
            free[row] = -1
    return partner


def precision_recall(overlap: Array, score: Array, threshold: float) -> tuple[Array, Array]:
    """Give precision and recall of the sources down to each score, the highest first, both (m,)."""
    return _curve(assign(overlap, score, threshold) != NONE, score, len(overlap))


def average_precision(overlap: Array, score: Array, threshold: float) -> float:
    """Give the mean over `RECALLS` of the best precision at that recall or a larger one (Lin et al. 2014, COCO)."""
    return average_precision_of(assign(overlap, score, threshold) != NONE, score, len(overlap))


def average_precision_of(hit: NDArray[np.bool_], score: Array, n_true: int) -> float:
    """Give the same, of which sources have a true mask, (m,), and how many of those there are: of several images."""
    precision, recall = _curve(hit, score, n_true)
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(best[np.searchsorted(recall, RECALLS)].mean())


def _curve(hit: NDArray[np.bool_], score: Array, n_true: int) -> tuple[Array, Array]:
    hits = np.cumsum(hit[np.argsort(-score, kind="stable")])
    return hits / np.arange(1, len(hits) + 1), hits / max(n_true, 1)


def mean_average_precision(overlap: Array, score: Array) -> float:
    """Give the average precision, averaged over `THRESHOLDS`: AP of COCO, without its bound of 100 detections."""
    return float(np.mean([average_precision(overlap, score, threshold) for threshold in THRESHOLDS]))
