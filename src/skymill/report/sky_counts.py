"""What a catalogue of classes holds per pixel of the sky, counted tile by tile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymill.sky import at_order
from skymill.store import Catalogue

FINEST_ORDER, COARSEST_ORDER = 10, 3
MOST_PIXELS = 20_000
"""Pixels counted at once; a larger survey is counted in coarser ones, so that memory does not grow with it."""
FEWEST_PER_PIXEL = 50
"""Sources per pixel, in the mean, below which shares of classes are noise and a sparse survey is a haze of dots."""
SQUARE_DEGREES = 360**2 / np.pi


@dataclass(frozen=True)
class SkyCounts:
    """Sources per pixel of one order.

    Attributes
    ----------
    order : int
    pixels : ndarray of int64, (n,)
        NESTED, sorted.
    counts : ndarray of int64, (n, 1 + classes)
        Column 0 is `not scored`, the others are the classes.
    entropy : ndarray of float64, (n,)
        Sum of the scored sources' entropies in nats.
    flagged : ndarray of int64, (n,)
        Sources with any flag.
    """

    order: int
    pixels: NDArray[np.int64]
    counts: NDArray[np.int64]
    entropy: NDArray[np.float64]
    flagged: NDArray[np.int64]

    @property
    def density(self) -> NDArray[np.float64]:
        """Sources per square degree, (n,)."""
        return self.counts.sum(axis=1) / (SQUARE_DEGREES / (12 * 4**self.order))

    @property
    def share(self) -> NDArray[np.float64]:
        """Share of each class among the scored sources, (n, classes); NaN where none is."""
        return self.counts[:, 1:] / self._scored[:, None]

    @property
    def mean_entropy(self) -> NDArray[np.float64]:
        """Mean entropy of the scored sources in nats, (n,); NaN where none is."""
        return self.entropy / self._scored

    @property
    def flagged_share(self) -> NDArray[np.float64]:
        """Share of the sources with any flag, (n,)."""
        return self.flagged / self.counts.sum(axis=1)

    @property
    def _scored(self) -> NDArray[np.float64]:
        scored = self.counts[:, 1:].sum(axis=1)
        return np.where(scored > 0, scored, np.nan)


def count_classes(catalogue: Catalogue, n_classes: int) -> SkyCounts:
    """Count sources by pixel and class, in pixels as fine as the number of sources allows."""
    width = n_classes + 1
    sky = SkyCounts(
        FINEST_ORDER, np.empty(0, np.int64), np.empty((0, width), np.int64), np.empty(0), np.empty(0, np.int64)
    )
    for order, pixel in zip(catalogue.tiles["order"], catalogue.tiles["pixel"], strict=True):
        rows = catalogue.tile(order, pixel)[["_healpix_29", "flags", "class", "entropy"]].load()
        kind = rows["class"].to_numpy().astype(np.int64) + 1
        entropy = np.where(kind > 0, rows["entropy"].to_numpy(), 0.0)
        pixels = at_order(rows["_healpix_29"].to_numpy(), sky.order)
        sky = _merged(
            sky.order,
            np.concatenate([sky.pixels, pixels]),
            np.concatenate([sky.counts, np.eye(width, dtype=np.int64)[kind]]),
            np.concatenate([sky.entropy, entropy]),
            np.concatenate([sky.flagged, rows["flags"].to_numpy() != 0]),
        )
        while len(sky.pixels) > MOST_PIXELS and sky.order > COARSEST_ORDER:
            sky = coarser(sky)
    while sky.counts.sum() < FEWEST_PER_PIXEL * len(sky.pixels) and sky.order > COARSEST_ORDER:
        sky = coarser(sky)
    return sky


def coarser(sky: SkyCounts) -> SkyCounts:
    """Give the same counts in pixels one order coarser."""
    return _merged(sky.order - 1, sky.pixels >> 2, sky.counts, sky.entropy, sky.flagged)


def _merged(
    order: int,
    pixels: NDArray[np.int64],
    counts: NDArray[np.int64],
    entropy: NDArray[np.float64],
    flagged: NDArray[np.int64],
) -> SkyCounts:
    """Add up what lies in the same pixel."""
    kept, place = np.unique(pixels, return_inverse=True)
    columns = (*counts.T, flagged, entropy)
    *n, odd, summed = (np.bincount(place, weights=column, minlength=len(kept)) for column in columns)
    whole = np.column_stack(n).astype(np.int64)
    return SkyCounts(order, kept, whole, summed.astype(np.float64), odd.astype(np.int64))
