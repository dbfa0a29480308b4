"""Which pixels belong to which source."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from skymill.features.measuring.measured import Positions
from skymill.features.measuring.stamps import Places

LEAST_EXTENT, LARGEST_EXTENT, FORCED_EXTENT = 16, 400, 64
"""How far light is looked for around a source, at least and at most, and around a position that was given; px."""
OUTSIDE = -1_000_000
"""Where a position that is no number is taken to be: far from any image."""


@dataclass(frozen=True)
class Footprints:
    """The pixels of each source, or, where positions were given, circles around these.

    Attributes
    ----------
    labels, parents : ndarray of int32, (ny, nx)
        Of the source, and of the connected pixels above the threshold; 0 for sky.
    peak_x, peak_y : ndarray of int64, (n,)
        The brightest pixel of the filtered detection image, that of the position, or the centre found by a segmenter.
    positions : Positions, optional
        Given in place of detection; the maps are then zero.
    radius_px : float
        Of the circles.
    classes : ndarray of uint8, (ny, nx), optional
        Index into `segmentation.CLASSES`, where what found the sources has classed the pixels.
    blend_probability : ndarray of float32, (n,), optional
        That a source is a blend of several which nothing has taken apart, where what found the sources tells.
    """

    labels: NDArray[np.int32]
    parents: NDArray[np.int32]
    peak_x: NDArray[np.int64]
    peak_y: NDArray[np.int64]
    positions: Positions | None = None
    radius_px: float = 0.0
    classes: NDArray[np.uint8] | None = None
    blend_probability: NDArray[np.float32] | None = None

    @classmethod
    def at(cls, positions: Positions, shape: tuple[int, int], *, radius_px: float) -> Footprints:
        """Make circles around positions."""
        x, y = (
            np.clip(np.nan_to_num(np.asarray(axis, dtype=np.float64), nan=OUTSIDE), OUTSIDE, -OUTSIDE)
            for axis in (positions.x, positions.y)
        )
        nothing = np.zeros(shape, dtype=np.int32)
        peak_x, peak_y = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
        return cls(nothing, nothing, peak_x, peak_y, Positions(x, y), radius_px)

    @property
    def n(self) -> int:
        """Number of sources."""
        return len(self.peak_x)

    @cached_property
    def area(self) -> NDArray[np.int64]:
        """Pixels of each source, (n,); 0 where positions were given."""
        return np.bincount(self.labels.ravel(), minlength=self.n + 1)[1:]

    @cached_property
    def bbox(self) -> NDArray[np.int32]:
        """Give y0, y1, x0, x1 of each source, half-open, (n, 4); the pixel alone where positions were given."""
        from scipy import ndimage

        boxes = np.column_stack([self.peak_y, self.peak_y + 1, self.peak_x, self.peak_x + 1]).astype(np.int32)
        for index, found in enumerate(ndimage.find_objects(self.labels, max_label=self.n)):
            if found is not None:
                boxes[index] = found[0].start, found[0].stop, found[1].start, found[1].stop
        return boxes

    @cached_property
    def parent(self) -> NDArray[np.int32]:
        """Label of each source's connected footprint, (n,); its own where positions were given."""
        if self.positions is not None:
            return np.arange(1, self.n + 1, dtype=np.int32)
        parent: NDArray[np.int32] = self.parents[self.peak_y, self.peak_x]
        return parent

    @property
    def n_blended(self) -> NDArray[np.int32]:
        """Sources of each one's footprint, (n,)."""
        return np.bincount(self.parent)[self.parent].astype(np.int32) if self.n else np.zeros(0, dtype=np.int32)

    def share(self, pixels: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Give, of pixels (ny, nx), the share of each source's footprint, (n,); 0 for circles outside the image."""
        if self.positions is not None:
            return circle_share(pixels, self.positions.x, self.positions.y, self.radius_px)
        count = np.bincount(self.labels[pixels], minlength=self.n + 1)[1:]
        return count / np.maximum(self.area, 1)

    def places(self) -> Places:
        """Say where to cut stamps."""
        if self.positions is not None:
            dx, dy = self.positions.x - self.peak_x, self.positions.y - self.peak_y
            return Places(self.labels, self.peak_x, self.peak_y, dx, dy, np.full(self.n, FORCED_EXTENT), fixed=True)
        nowhere = np.zeros(self.n)
        sides = np.maximum(self.bbox[:, 1] - self.bbox[:, 0], self.bbox[:, 3] - self.bbox[:, 2])
        extent = np.clip(sides, LEAST_EXTENT, LARGEST_EXTENT).astype(np.int64)  # twice as far as the footprint
        return Places(self.labels, self.peak_x, self.peak_y, nowhere, nowhere, extent, fixed=False)


def only(groups: NDArray[np.int32], keep: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Keep some groups of pixels, as 1, 2, ... in their order; the pixels of the others become sky.

    Parameters
    ----------
    groups : ndarray of int32, (ny, nx)
        Groups 1 to n, 0 for sky.
    keep : ndarray of bool, (n,)
    """
    number = np.zeros(len(keep) + 1, dtype=np.int32)
    number[1:][keep] = np.arange(1, np.count_nonzero(keep) + 1)
    return np.asarray(number[groups])


def circle_share(
    pixels: NDArray[np.bool_], x: NDArray[np.float64], y: NDArray[np.float64], radius_px: float
) -> NDArray[np.float64]:
    """Give, of pixels (ny, nx), the share of a circle around each position, (n,)."""
    import sep

    if not len(x):
        return np.zeros(0)
    area, _, _ = sep.sum_circle(pixels.astype(np.float32), x, y, radius_px, subpix=0)
    share: NDArray[np.float64] = np.clip(area / (np.pi * radius_px**2), 0.0, 1.0)
    return share
