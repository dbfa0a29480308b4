"""Flags of a tile's rows: their description, and their tally."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from skymill.store.accounting import Accounting
from skymill.store.variable import Variable


class Bit(Protocol):
    """A flag."""

    @property
    def name(self) -> str:
        """What it means."""

    @property
    def mask(self) -> int:
        """Its bit."""


def with_flags(known: Variable, more: Iterable[Bit]) -> Variable:
    """Describe an array of flags that has some more bits."""
    more = list(more)
    attrs: Mapping[str, Any] = known.attrs
    added = {
        "flag_masks": [*attrs["flag_masks"], *(flag.mask for flag in more)],
        "flag_meanings": " ".join([attrs["flag_meanings"], *(flag.name for flag in more)]),
    }
    return Variable(known.data, known.dims, {**attrs, **added})


class FlagTally:
    """Rows by flag, counted block by block."""

    def __init__(self, attrs: Mapping[str, Any]) -> None:
        self._masks = dict(zip(attrs["flag_meanings"].split(), attrs["flag_masks"], strict=True))
        self._flagged = dict.fromkeys(self._masks, 0)
        self._rows = self._rows_flagged = 0

    def add(self, flags: NDArray[np.int32]) -> None:
        """Count a block."""
        self._rows += len(flags)
        odd = flags[flags != 0]
        self._rows_flagged += len(odd)
        for name, mask in self._masks.items():
            self._flagged[name] += int(np.count_nonzero(odd & mask))

    def accounting(self) -> Accounting:
        """All rows are kept; some have flags."""
        flagged = {name: count for name, count in self._flagged.items() if count}
        return Accounting(self._rows, self._rows - self._rows_flagged, self._rows_flagged, flagged)
