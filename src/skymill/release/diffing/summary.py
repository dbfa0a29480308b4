"""What a comparison says, as plain JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.release.diffing.delta import NOT_SCORED
from skymill.release.diffing.moved import CONFIDENCE_STEPS, EDGES, LARGEST_SHIFT, SHIFT_STEPS, STEPS, UNKNOWN, Moved

QUANTILES = (0.5, 0.9, 0.99, 0.999)


def summary(moved: Moved, classes: Sequence[str], numbers: Sequence[str]) -> dict[str, Any]:
    """Say what moved in the sources that were compared.

    Returns
    -------
    dict
        `transitions` (rows before, columns after; the last of both is `not_scored`), `flips`, `change` (quantiles of
        |Δp|, good to 0.001), `by_magnitude`, `stated` (by highest probability before) and `surprising`; `numbers`, by
        name: `n` rows of which both versions tell it, quantiles of |Δ| in units of its error (`shift`, good to 0.01;
        null beyond 10), the shares `beyond_1` and `beyond_3` such units, `mean_shift` with its sign, and the share
        that went `up`.
    """
    names = [*classes, NOT_SCORED]
    return {
        "classes": names,
        "transitions": _matrix(moved.transitions, len(classes)),
        "flips": _share(moved.n_flipped, sum(moved.changes.values())),
        "change": {**_quantiles(moved.changes.items()), "largest": moved.largest_change},
        "by_magnitude": list(_by_magnitude(moved)),
        "stated": list(_stated(moved.stated)),
        "surprising": [{**one, **{side: names[one[side]] for side in ("before", "after")}} for one in moved.surprising],
        "numbers": {name: _number(moved, place) for place, name in enumerate(numbers)},
    }


def _number(moved: Moved, number: int) -> dict[str, Any]:
    histogram = np.zeros(SHIFT_STEPS + 1, np.int64)
    for (which, step), n in moved.shifts.items():
        if which == number:
            histogram[step] += n
    n, unit = moved.drifts[number, "n"], SHIFT_STEPS / LARGEST_SHIFT
    ends = np.cumsum(histogram)
    places = np.searchsorted(ends, np.ceil(np.array(QUANTILES) * n)).tolist() if n else [SHIFT_STEPS] * len(QUANTILES)
    shift = {f"{q:g}": (place + 1) / unit if place < SHIFT_STEPS else None for q, place in zip(QUANTILES, places)}
    beyond = {f"beyond_{far}": _share(int(n - ends[round(far * unit) - 1]), int(n)) for far in (1, 3)}
    means = {
        name: moved.drifts[number, each] / n if n else None for name, each in (("mean_shift", "shift"), ("up", "up"))
    }
    return {"n": int(n), "shift": shift, **beyond, **means}


def sky_map(moved: Moved) -> dict[str, NDArray[Any]]:
    """Give the map of what moved: `pixel` (sorted), scored `n`, `flips` and mean `change` of each."""
    pixels = sorted({pixel for pixel, _ in moved.sky})
    n, flips, change = (
        np.array([moved.sky[pixel, name] for pixel in pixels], float) for name in ("n", "flips", "change")
    )
    return {
        "pixel": np.array(pixels, np.int64),
        "n": n.astype(np.int64),
        "flips": flips.astype(np.int64),
        "change": change / np.maximum(n, 1),
    }


def _matrix(transitions: Mapping[tuple[int, int], int], n_classes: int) -> list[list[int]]:
    matrix = np.zeros((n_classes + 1, n_classes + 1), np.int64)
    for (before, after), n in transitions.items():
        matrix[before, after] = n  # -1, not scored, is the last
    return matrix.tolist()


def _share(part: int, whole: int) -> dict[str, Any]:
    """Give a share; of every source, not of a sample, so without an interval."""
    return {"n": whole, "count": part, "value": part / whole if whole else None}


def _quantiles(counts: Iterable[tuple[tuple[int, int], int]]) -> dict[str, float | None]:
    """Give quantiles of |Δp| from its histogram: the upper edge of the bin that holds each."""
    histogram = np.zeros(STEPS, np.int64)
    for (_, step), n in counts:
        histogram[step] += n
    ends = np.cumsum(histogram)
    if not ends[-1]:
        return {f"{quantile:g}": None for quantile in QUANTILES}
    places = np.searchsorted(ends, np.ceil(np.array(QUANTILES) * ends[-1]))
    return {f"{quantile:g}": (place + 1) / STEPS for quantile, place in zip(QUANTILES, places.tolist())}


def _by_magnitude(moved: Moved) -> Iterator[dict[str, Any]]:
    for number in sorted({each for each, _ in moved.changes}):
        counts = [item for item in moved.changes.items() if item[0][0] == number]
        low = None if number in (0, UNKNOWN) else float(EDGES[number - 1])
        high = None if number >= UNKNOWN - 1 else float(EDGES[number])
        yield {
            "low": low,
            "high": high,
            "known": number != UNKNOWN,
            "flips": _share(moved.flips[number], sum(n for _, n in counts)),
            "change": _quantiles(counts),
        }


def _stated(stated: Counter[tuple[int, str]]) -> Iterator[dict[str, Any]]:
    """Flip rates against what the models themselves say, by the highest probability before."""
    for place in sorted({each for each, _ in stated}):
        n = int(stated[place, "n"])
        yield {
            "low": place / CONFIDENCE_STEPS,
            "high": (place + 1) / CONFIDENCE_STEPS,
            "flips": _share(int(stated[place, "flips"]), n),
            "error": stated[place, "error"] / n,
            "disagree": stated[place, "disagree"] / n,
        }
