"""Taking blends apart: a peak that rises enough above its saddle is a source, and gets the slopes that lead up to it.

Basins of steepest ascent, merged by topological persistence (Edelsbrunner, Letscher & Zomorodian 2002, Discrete Comput.
Geom. 28, 511). What becomes of a peak depends on its surroundings alone, not on the order of pixels or on how much of
the image there is; and the time is bounded by the number of peaks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


def split_footprints(
    height: NDArray[np.float32],
    parents: NDArray[np.int32],
    *,
    significance: float,
    contrast: float,
    resolution_px2: float,
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Give each pixel of the footprints to one source.

    A peak is a source if it is higher than the saddle that joins it to a higher peak by `contrast` times the saddle's
    height, and by ``sqrt(s^2 + 2 ln N)``, where s is `significance` and N how many resolved areas the footprint has: so
    many chances there are of a peak of noise, whose probability falls like exp(-t^2 / 2).

    Parameters
    ----------
    height : ndarray of float32, (ny, nx)
        Filtered image in units of its noise.
    parents : ndarray of int32, (ny, nx)
        Label of the footprint, 0 outside.
    significance, contrast : float
    resolution_px2 : float
        Area of a point source in the filtered image.

    Returns
    -------
    labels : ndarray of int32, (ny, nx)
        1 to n in the order of the peaks, row by row; 0 outside.
    peak_x, peak_y : ndarray of int64, (n,)
    """
    inside = parents > 0
    width = inside.shape[1] + 2
    bordered = np.pad(np.where(inside, height, np.float32(-np.inf)), 1, constant_values=-np.inf).ravel()
    whole = np.int32 if bordered.size < 2**31 else np.int64  # half the memory, and nearly twice as fast
    pixels = np.flatnonzero(np.isfinite(bordered)).astype(whole)
    place = np.full(bordered.size, -1, dtype=whole)
    place[pixels] = np.arange(len(pixels), dtype=whole)
    basin, peaks = _basins(bordered, pixels, place, width)  # (pixels,), (basins,)
    value = bordered[pixels]
    saddles = _saddles(value, basin, peaks, pixels, place, width)
    chances = np.bincount(parents[inside])[parents[inside][peaks]] / resolution_px2  # (basins,)
    rise = np.sqrt(significance**2 + 2.0 * np.log(np.maximum(chances, 1.0)))
    source = _merge(value[peaks], saddles, rise, contrast)  # (basins,): basin of the source's peak
    kept, label = np.unique(source, return_inverse=True)
    labels = np.zeros(bordered.size, dtype=np.int32)
    labels[pixels] = label[basin] + 1
    row, column = np.divmod(pixels[peaks[kept]], width)
    return np.ascontiguousarray(labels.reshape(-1, width)[1:-1, 1:-1]), column - 1, row - 1


def _basins(
    bordered: NDArray[np.float32], pixels: NDArray[Any], place: NDArray[Any], width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Follow each pixel uphill; give the basin of each, and the place of each basin's peak among the pixels."""
    highest, uphill = bordered[pixels], pixels.copy()
    for offset in (-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1):
        beside = bordered[pixels + offset]
        higher = beside > highest
        highest[higher] = beside[higher]
        uphill[higher] = pixels[higher] + offset
    target = place[uphill]
    while True:  # each round doubles the length of the steps
        farther = target[target]
        if np.array_equal(farther, target):
            break
        target = farther
    peaks, basin = np.unique(target, return_inverse=True)
    return basin, peaks


def _saddles(
    value: NDArray[np.float32],
    basin: NDArray[np.int64],
    peaks: NDArray[np.int64],
    pixels: NDArray[Any],
    place: NDArray[Any],
    width: int,
) -> Iterator[tuple[int, int, float]]:
    """Give pairs of basins that touch, and the height of the highest pass between them, the highest first."""
    found = []
    for offset in (1, width - 1, width, width + 1):
        beside = place[pixels + offset]
        here = np.flatnonzero(beside >= 0)
        there = beside[here]
        differ = basin[here] != basin[there]
        here, there = here[differ], there[differ]
        ends = np.sort(np.column_stack([basin[here], basin[there]]), axis=1)
        found.append((ends, np.minimum(value[here], value[there])))
    ends, pass_height = np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found])
    ends_height = np.sort(value[peaks][ends], axis=1)  # of passes alike, that between the higher peaks comes first
    order = np.lexsort((ends[:, 1], ends[:, 0], -ends_height[:, 0], -ends_height[:, 1], -pass_height))
    ends, pass_height = ends[order], pass_height[order]
    _, first = np.unique(ends[:, 0] * (len(pixels) + 1) + ends[:, 1], return_index=True)
    first.sort()
    return zip(ends[first, 0].tolist(), ends[first, 1].tolist(), pass_height[first].tolist(), strict=True)


def _merge(
    peak: NDArray[np.float32], saddles: Iterator[tuple[int, int, float]], rise: NDArray[np.float64], contrast: float
) -> NDArray[np.int64]:
    """Give, for each basin, the basin of the source it belongs to.

    Basins are joined from the highest saddle downwards. Where two hills meet, the lower one has its say: if it does not
    rise enough above the saddle, it becomes part of the source on the other side.
    """
    height, least = peak.tolist(), rise.tolist()
    hill, source = list(range(len(height))), list(range(len(height)))
    for one, other, saddle in saddles:
        high, low = _root(hill, one), _root(hill, other)
        if high == low:
            continue
        beyond = one
        if (height[high], -high) < (height[low], -low):
            high, low, beyond = low, high, other
        hill[low] = high
        if height[low] - saddle < max(least[low], contrast * saddle):
            source[low] = _root(source, beyond)
    return np.array([_root(source, basin) for basin in range(len(height))], dtype=np.int64)


def _root(tree: list[int], node: int) -> int:
    """Climb to the root, halving the path on the way."""
    while tree[node] != node:
        tree[node] = tree[tree[node]]
        node = tree[node]
    return node
