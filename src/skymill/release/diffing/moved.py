"""What moved between matched rows, as counts that add up: over pieces of the sky, in any order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.release.diffing.rows import Rows
from skymill.sky import at_order

EDGES = np.arange(10.0, 30.5, 0.5)
"""Of magnitude bins; fainter, brighter and unknown ones have bins of their own."""
UNKNOWN = len(EDGES) + 1
STEPS = 1000
"""Bins of |Δp|: its quantiles are good to 0.001."""
CONFIDENCE_STEPS = 20
SHIFT_STEPS, LARGEST_SHIFT = 1000, 10.0
"""Bins of |Δ| in units of its error, and where they end: its quantiles are good to 0.01."""
FLOOR = 1e-7
"""Smallest probability in logarithms: no float32 probability near 1 tells less from 0."""
MOST_SURPRISING = 100


@dataclass(frozen=True)
class Pairs:
    """Matched rows and what moved in them.

    Attributes
    ----------
    before, after : Rows, (n,)
    change : ndarray of float64, (n,)
        |Δp|, the largest change of a class's probability; NaN where one version did not score the source.
    flipped : ndarray of bool, (n,)
        Scored by both, as another class.
    surprise : ndarray of float64, (n,)
        Of a flip, the log-odds of either version's class over the other's, both by its own account, added (nats): a
        coin that falls the other way has 0, two models that are sure of different classes some 30. Else 0.
    shift : ndarray of float64, (n, numbers)
        After less before, in units of the errors of both, added in quadrature; NaN where one is not told.
    """

    before: Rows
    after: Rows
    change: NDArray[np.float64]
    flipped: NDArray[np.bool_]
    surprise: NDArray[np.float64]
    shift: NDArray[np.float64]

    @classmethod
    def of(cls, before: Rows, after: Rows) -> Pairs:
        """Compare rows one by one."""
        change = np.abs(after.probabilities.astype(np.float64) - before.probabilities).max(axis=1, initial=0.0)
        change[(before.kind < 0) | (after.kind < 0)] = np.nan
        flipped = np.isfinite(change) & (before.kind != after.kind)
        surprise = np.zeros(len(change))
        rows = np.flatnonzero(flipped)
        for own, other in ((before, after), (after, before)):
            logs = np.log(np.maximum(own.probabilities[rows].astype(np.float64), FLOOR))
            each = np.arange(len(rows))
            surprise[rows] += logs[each, own.kind[rows]] - logs[each, other.kind[rows]]
        return cls(before, after, change, flipped, surprise, _shift(before, after))

    def __len__(self) -> int:
        return len(self.change)

    @property
    def magnitude(self) -> NDArray[np.float32]:
        """That of the version after, else that of the one before."""
        return np.where(np.isnan(self.after.magnitude), self.before.magnitude, self.after.magnitude)

    @property
    def is_changed(self) -> NDArray[np.bool_]:
        """Rows of which class, flags, a probability or the position is another."""
        here, there = self.before, self.after
        same = (here.kind == there.kind) & (here.flags == there.flags)
        same &= (here.ra == there.ra) & (here.dec == there.dec)
        for name in ("probabilities", "numbers", "errors"):
            one, other = getattr(here, name), getattr(there, name)
            same &= ((one == other) | np.isnan(one) & np.isnan(other)).all(axis=1)
        return ~same


def _shift(before: Rows, after: Rows) -> NDArray[np.float64]:
    difference = after.numbers.astype(np.float64) - before.numbers
    error = np.hypot(before.errors.astype(np.float64), after.errors)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(difference == 0, 0.0, difference / error)


@dataclass
class Moved:
    """Counts over matched rows; `+=` adds another's.

    Attributes
    ----------
    n_matched, n_changed, n_flipped : int
    transitions : Counter of (int, int)
        Rows by class before and after; -1 = not scored.
    changes : Counter of (int, int)
        Scored rows by bin of magnitude and of |Δp|.
    flips : Counter of int
        Flips by bin of magnitude.
    stated : Counter of (int, str)
        By bin of the highest probability before: `n`, `flips`, `error` (summed chance, by its own account, that the
        class before is wrong) and `disagree` (summed chance that two draws, one from each version's probabilities,
        differ).
    sky : Counter of (int, str)
        By pixel of `order`: scored `n`, `flips`, summed `change`.
    shifts : Counter of (int, int)
        By number, and by bin of |Δ| in units of its error.
    drifts : Counter of (int, str)
        By number: `n` rows of which both versions tell it, `up` of these with a larger one, summed `shift`, each cut at
        `LARGEST_SHIFT`.
    largest_change : float
    surprising : list of dict
        The most surprising flips, the most surprising first.
    """

    order: int
    n_matched: int = 0
    n_changed: int = 0
    n_flipped: int = 0
    transitions: Counter[tuple[int, int]] = field(default_factory=Counter)
    changes: Counter[tuple[int, int]] = field(default_factory=Counter)
    flips: Counter[int] = field(default_factory=Counter)
    stated: Counter[tuple[int, str]] = field(default_factory=Counter)
    sky: Counter[tuple[int, str]] = field(default_factory=Counter)
    shifts: Counter[tuple[int, int]] = field(default_factory=Counter)
    drifts: Counter[tuple[int, str]] = field(default_factory=Counter)
    largest_change: float = 0.0
    surprising: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, pairs: Pairs, order: int) -> Moved:
        """Count what moved in matched rows; `order` is that of the map."""
        moved = cls(order, len(pairs), int(pairs.is_changed.sum()), int(pairs.flipped.sum()))
        moved.transitions.update(_counts(pairs.before.kind, pairs.after.kind))
        scored = np.isfinite(pairs.change)
        change, flipped = pairs.change[scored], pairs.flipped[scored]
        here, there = pairs.before[scored], pairs.after[scored]
        bins = magnitude_bin(pairs.magnitude[scored])
        moved.changes.update(_counts(bins, np.minimum((change * STEPS).astype(np.int64), STEPS - 1)))
        moved.flips.update(bins[flipped].tolist())
        moved.largest_change = float(change.max(initial=0.0))
        highest = here.probabilities.astype(np.float64).max(axis=1, initial=0.0)
        disagree = 1 - (here.probabilities.astype(np.float64) * there.probabilities).sum(axis=1)
        place = np.minimum((highest * CONFIDENCE_STEPS).astype(np.int64), CONFIDENCE_STEPS - 1)
        moved.stated.update(_sums(place, n=np.ones(len(place)), flips=flipped, error=1 - highest, disagree=disagree))
        pixels = at_order(there.healpix29, order)
        moved.sky.update(_sums(pixels, n=np.ones(len(pixels)), flips=flipped, change=change))
        moved.surprising = _surprising(pairs)
        moved._count_shifts(pairs.shift)
        return moved

    def _count_shifts(self, shift: NDArray[np.float64]) -> None:
        for number, values in enumerate(shift.T):
            told = np.clip(values[~np.isnan(values)], -LARGEST_SHIFT, LARGEST_SHIFT)
            steps = np.minimum((np.abs(told) * (SHIFT_STEPS / LARGEST_SHIFT)).astype(np.int64), SHIFT_STEPS)
            self.shifts.update(_counts(np.full(len(steps), number), steps))
            self.drifts.update({(number, "n"): len(told), (number, "up"): int((told > 0).sum())})
            self.drifts.update({(number, "shift"): float(told.sum())})

    def __iadd__(self, other: Moved) -> Moved:
        for name in ("n_matched", "n_changed", "n_flipped"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("transitions", "changes", "flips", "stated", "sky", "shifts", "drifts"):
            getattr(self, name).update(getattr(other, name))
        self.largest_change = max(self.largest_change, other.largest_change)
        self.surprising = _most([*self.surprising, *other.surprising])
        return self


def magnitude_bin(magnitude: NDArray[np.floating]) -> NDArray[np.int64]:
    """Give the bin of each magnitude: 0 = brighter than all, `UNKNOWN` = NaN."""
    return np.where(np.isnan(magnitude), UNKNOWN, np.searchsorted(EDGES, magnitude, side="right"))


def _counts(first: NDArray[np.int64], second: NDArray[np.int64]) -> dict[tuple[int, int], int]:
    """Count pairs of small numbers, none below -1; `numpy.unique` of pairs sorts them as structures, slowly."""
    wide = int(second.max(initial=-1)) + 2
    counts = np.bincount((first + 1) * wide + second + 1)
    cells = np.flatnonzero(counts)
    places = zip((cells // wide - 1).tolist(), (cells % wide - 1).tolist())
    return dict(zip(places, counts[cells].tolist()))


def _sums(key: NDArray[np.int64], **columns: NDArray[Any]) -> dict[tuple[int, str], Any]:
    values, place = np.unique(key, return_inverse=True)
    sums = {name: np.bincount(place, weights=column, minlength=len(values)) for name, column in columns.items()}
    return {(value, name): each for name, total in sums.items() for value, each in zip(values.tolist(), total.tolist())}


def _surprising(pairs: Pairs) -> list[dict[str, Any]]:
    rows = np.flatnonzero(pairs.flipped)
    rows = rows[np.argsort(-pairs.surprise[rows], kind="stable")[:MOST_SURPRISING]]
    before, after, magnitude = pairs.before[rows], pairs.after[rows], pairs.magnitude[rows]
    return _most(
        [
            {
                "objectId": int(after.object_id[row]),
                "ra": float(after.ra[row]),
                "dec": float(after.dec[row]),
                "magnitude": None if np.isnan(magnitude[row]) else float(magnitude[row]),
                "before": int(before.kind[row]),
                "after": int(after.kind[row]),
                "probability_before": float(before.probabilities[row, before.kind[row]]),
                "probability_after": float(after.probabilities[row, after.kind[row]]),
                "surprise": float(pairs.surprise[rows[row]]),
            }
            for row in range(len(rows))
        ]
    )


def _most(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort by surprise, ids breaking ties, so that the order of the pieces does not matter."""
    return sorted(found, key=lambda one: (-one["surprise"], one["objectId"]))[:MOST_SURPRISING]
