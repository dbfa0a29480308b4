"""Maps: one value for each HEALPix pixel of one order, where there is one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymill.sky.healpix import at_order


@dataclass(frozen=True)
class PixelMap:
    """Values of pixels; a pixel that is not listed has none.

    Attributes
    ----------
    order : int
    pixels : ndarray of int64, (n,)
        NESTED, sorted, each once.
    values : ndarray of float64, (n,)
        NaN where there is none.
    weights : ndarray of float64, (n,)
        How much stands behind each value: sources, or area in pixels. 0 where the value is NaN.
    """

    order: int
    pixels: NDArray[np.int64]
    values: NDArray[np.float64]
    weights: NDArray[np.float64]

    @classmethod
    def merged(
        cls, order: int, pixels: NDArray[np.int64], values: NDArray[np.floating], weights: NDArray[np.floating]
    ) -> PixelMap:
        """Take the weighted mean of the values that lie in the same pixel; NaN counts for nothing."""
        kept, place = np.unique(pixels, return_inverse=True)
        weight = np.where(np.isfinite(values), weights, 0.0)
        summed = np.bincount(place, weight * np.where(weight > 0, values, 0.0), len(kept))
        total = np.bincount(place, weight, len(kept)).astype(np.float64)
        mean = np.divide(summed, total, out=np.full(len(kept), np.nan), where=total > 0)
        return cls(order, kept.astype(np.int64), mean, total)

    def coarser(self) -> PixelMap:
        """Give the same map in pixels one order coarser."""
        return self.merged(self.order - 1, self.pixels >> 2, self.values, self.weights)

    def at(self, healpix29: NDArray[np.int64]) -> NDArray[np.float64]:
        """Give the value at each order-29 index, (n,); NaN where the map has none."""
        return look_up(self.pixels, self.values, at_order(healpix29, self.order))


def look_up(pixels: NDArray[np.int64], values: NDArray[np.floating], wanted: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the values of `wanted` pixels, of any shape, from those of sorted `pixels`; NaN for any other."""
    if not len(pixels):
        return np.full(np.shape(wanted), np.nan)
    place = np.minimum(np.searchsorted(pixels, wanted), len(pixels) - 1)
    return np.where(pixels[place] == wanted, values[place], np.nan)
