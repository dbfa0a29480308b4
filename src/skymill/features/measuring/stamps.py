"""Squares cut out around sources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)

PIXELS_AT_ONCE = 100_000
"""Pixels of one band that are cut out at a time: a few arrays of them stay in a processor's cache."""
STEP = 1.5
"""Sizes of stamps grow by this factor, so that few sizes serve all sources."""


@dataclass(frozen=True)
class Places:
    """Where to measure.

    Attributes
    ----------
    labels : ndarray of int32, (ny, nx)
        Map of the sources' footprints.
    column, row : ndarray of int64, (n,)
        Pixel of each source, the middle of its stamp.
    dx, dy : ndarray of float64, (n,)
        Offset of the source from that pixel.
    extent : ndarray of int64, (n,)
        How far a source may reach on each side, px.
    fixed : bool
        Whether sources stay there, or are moved to the middle of their light.
    """

    labels: NDArray[np.int32]
    column: NDArray[np.int64]
    row: NDArray[np.int64]
    dx: NDArray[np.float64]
    dy: NDArray[np.float64]
    extent: NDArray[np.int64]
    fixed: bool

    def theirs(
        self, members: NDArray[np.intp], column: NDArray[np.int64], row: NDArray[np.int64], half: int
    ) -> NDArray[np.bool_]:
        """Give the pixels on stamps of some sources that are of no other source, (m, k, k)."""
        owner = cut(self.labels, column, row, half)
        return (owner == 0) | (owner == (members + 1).astype(np.int32)[:, None, None])


def by_size(half: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Group sources into batches of one size of stamp.

    Parameters
    ----------
    half : ndarray of int64, (n,)
        Pixels wanted on each side of the middle one.

    Yields
    ------
    int, ndarray of intp
        A size that is no smaller than wanted, and the sources to cut out with it.
    """
    if not len(half):
        return
    smallest = int(half.min())
    step = np.ceil(np.log(half / smallest) / np.log(STEP) - 1e-9).astype(np.int64)
    for power in np.unique(step):
        size = int(np.ceil(smallest * STEP**power))
        members = np.flatnonzero(step == power)
        members = members[np.argsort(half[members], kind="stable")]
        for batch in batches(members, size):
            yield size, batch


def batches(members: NDArray[np.intp], half: int) -> Iterator[NDArray[np.intp]]:
    """Split sources whose stamps have one size into batches of `PIXELS_AT_ONCE`."""
    size = max(1, PIXELS_AT_ONCE // (2 * half + 1) ** 2)
    for start in range(0, len(members), size):
        yield members[start : start + size]


def cut(image: NDArray[T], x: NDArray[np.int64], y: NDArray[np.int64], half: int) -> NDArray[T]:
    """Cut squares out of an image, zero where they leave it.

    Parameters
    ----------
    image : ndarray, (ny, nx)
    x, y : ndarray of int64, (n,)
        Middle pixels.
    half : int
        Pixels on each side of them.

    Returns
    -------
    ndarray, (n, 2 half + 1, 2 half + 1)
    """
    (ny, nx), size = image.shape, 2 * half + 1
    stamps = np.zeros((len(x), size, size), dtype=image.dtype)
    inside = (x >= half) & (y >= half) & (x < nx - half) & (y < ny - half)
    if inside.any():
        windows = np.lib.stride_tricks.sliding_window_view(image, (size, size))
        stamps[inside] = windows[y[inside] - half, x[inside] - half]
    for index in np.flatnonzero(~inside):
        top, left = int(y[index]) - half, int(x[index]) - half
        rows = slice(max(top, 0), max(min(top + size, ny), 0))
        columns = slice(max(left, 0), max(min(left + size, nx), 0))
        part = image[rows, columns]
        stamps[index, max(-top, 0) : max(-top, 0) + part.shape[0], max(-left, 0) : max(-left, 0) + part.shape[1]] = part
    return stamps


def middle(stamps: NDArray[T], half: int) -> NDArray[T]:
    """Give the inner square of stamps (..., k, k): `half` pixels on each side of the middle one."""
    centre = stamps.shape[-1] // 2
    return stamps[..., centre - half : centre + half + 1, centre - half : centre + half + 1]


def mirrored(stamps: NDArray[np.float32], usable: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Replace pixels that are not usable by their mirror images about the middle, or by 0 if these are not either."""
    kept = np.where(usable, stamps, np.float32(0))
    return np.where(usable, kept, kept[:, ::-1, ::-1])
