"""The index of a part (objectId and position of each row, sorted by id) finds ids at two places and counts pixels.

Memory stays bounded whatever the survey's size: ids are compared range by range, parts are read one at a time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymill.sky import at_order
from skymill.tiling.adaptive import Ints

INDEX = np.dtype([("objectId", "<i8"), ("_healpix_29", "<i8")])
SAMPLES = 256
"""Ids taken from each part to cut the ids of all parts into ranges of about equal size."""


NOTHING = np.empty(0, np.int64)


class Span(NamedTuple):
    """Rows, and the first and the last position index, of each of some keys (ids or pixels), ascending."""

    key: Ints
    n_rows: Ints
    first: Ints
    last: Ints


def make_index(rows: NDArray[np.void]) -> NDArray[np.void]:
    """Give the index of a part's rows."""
    index = np.empty(len(rows), INDEX)
    for name in INDEX.names or ():
        index[name] = rows[name]
    return index[np.lexsort((index["_healpix_29"], index["objectId"]))]


def id_ranges(indexes: Sequence[Path], *, n_ranges: int) -> list[tuple[int, int]]:
    """Cut the int64 numbers into ranges (both ends included) that hold about equally many rows each."""
    samples = np.sort(np.concatenate([np.empty(0, np.int64), *map(_sample, indexes)]))
    limits = np.iinfo(np.int64)
    if len(samples) == 0:
        return [(int(limits.min), int(limits.max))]
    inner = np.unique(samples[np.linspace(0, len(samples) - 1, n_ranges + 1).astype(int)[1:-1]])
    starts = [int(limits.min), *(int(value) for value in inner if value > limits.min)]
    stops = [start - 1 for start in starts[1:]] + [int(limits.max)]
    return list(zip(starts, stops))


def id_extents(indexes: Sequence[Path]) -> NDArray[np.int64]:
    """Give the lowest and the highest id of each part, (parts, 2); an empty part has its lowest above its highest."""
    limits = np.iinfo(np.int64)
    ids = (_load(path)["objectId"] for path in indexes)
    extents = [(part[0], part[-1]) if len(part) else (limits.max, limits.min) for part in ids]
    return np.array(extents, np.int64).reshape(len(indexes), 2)


def ids_at_two_positions(indexes: Sequence[Path], low: int, high: int) -> NDArray[np.void]:
    """Find the ids in [low, high] whose rows do not all have the same `_healpix_29`.

    Returns
    -------
    structured ndarray of `INDEX`
        Each of their (objectId, _healpix_29), once, sorted.
    """
    spans = merge_spans([span_of(part["objectId"], part["_healpix_29"]) for part in _slices(indexes, low, high)])
    wanderers = spans.key[spans.first != spans.last]
    if len(wanderers) == 0:
        return np.empty(0, INDEX)
    found = [part[np.isin(part["objectId"], wanderers)] for part in _slices(indexes, low, high)]
    return np.unique(np.concatenate(found))


def span_pixels(indexes: Sequence[Path], pixels: Ints, *, order: int, deeper: int) -> Span:
    """Count the rows in the descendants, at order `deeper`, of some pixels of `order` (ascending)."""
    spans = []
    for path in indexes:
        positions = _load(path)["_healpix_29"]
        parents = at_order(positions, order)
        place = np.minimum(np.searchsorted(pixels, parents), len(pixels) - 1)
        inside = np.sort(positions[pixels[place] == parents])
        spans.append(span_of(at_order(inside, deeper), inside))
        if len(spans) > 8:  # keeps memory at a few maps, however many parts
            spans = [merge_spans(spans)]
    return merge_spans(spans)


def count_between(indexes: Sequence[Path], starts: Ints, stops: Ints) -> tuple[Ints, int]:
    """Count the rows in disjoint, ascending ranges of `_healpix_29`, and those in none of them."""
    inside = np.zeros(len(starts), np.int64)
    outside = 0
    for path in indexes:
        positions = _load(path)["_healpix_29"]
        place = np.searchsorted(starts, positions, side="right") - 1
        hit = (place >= 0) & (positions < stops[place]) if len(starts) else np.zeros(len(positions), bool)
        inside += np.bincount(place[hit], minlength=len(starts))
        outside += int(np.count_nonzero(~hit))
    return inside, outside


def span_of(keys: Ints, positions: Ints) -> Span:
    """Summarise rows whose `keys` are ascending."""
    return _reduce(Span(keys, np.ones(len(keys), np.int64), positions, positions))


def merge_spans(spans: list[Span]) -> Span:
    """Put summaries of different rows together."""
    columns = [np.concatenate([np.empty(0, np.int64), *column]) for column in zip(*spans)] if spans else [NOTHING] * 4
    by_key = np.argsort(columns[0], kind="stable")
    return _reduce(Span(*(column[by_key] for column in columns)))


def _reduce(span: Span) -> Span:
    """Join neighbours of the same key."""
    if len(span.key) == 0:
        return span
    start = np.flatnonzero(np.concatenate([[True], span.key[1:] != span.key[:-1]]))
    return Span(
        span.key[start],
        np.add.reduceat(span.n_rows, start),
        np.minimum.reduceat(span.first, start),
        np.maximum.reduceat(span.last, start),
    )


def _load(path: Path) -> NDArray[np.void]:
    index: NDArray[np.void] = np.load(path, mmap_mode="r", allow_pickle=False)
    return index


def _sample(path: Path) -> Ints:
    ids = _load(path)["objectId"]
    if len(ids) == 0:
        return np.empty(0, np.int64)
    return np.asarray(ids[np.linspace(0, len(ids) - 1, SAMPLES).astype(int)])


def _slices(indexes: Sequence[Path], low: int, high: int) -> list[NDArray[np.void]]:
    """Give the rows of each part whose id is in [low, high], as views of the files."""
    slices = []
    for path in indexes:
        index = _load(path)
        slices.append(index[bisect_left(index["objectId"], low) : bisect_right(index["objectId"], high)])
    return slices
