"""What every reader gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from skymill.sky import Tile
from skymill.survey.columns import ColumnType


class TableFile(NamedTuple):
    """One file of a survey's tables."""

    name: str
    """Relative to the survey's path; the file's own name where that is a file."""
    path: str
    size: int = 0
    """Bytes, when it was listed."""
    changed_ns: int = 0
    """Time of change, when it was listed."""
    tile: Tile | None = None
    """The tile of a HATS input that holds all its rows."""


@dataclass(frozen=True)
class Shape:
    """What a file's header says."""

    columns: Mapping[str, ColumnType]
    cuts: Sequence[int]
    """Row numbers, from 0 to the number of rows, between which rows are best read together."""

    @property
    def n_rows(self) -> int:
        """Rows in the file."""
        return self.cuts[-1]

    def ranges(self, part_rows: int) -> list[tuple[int, int]]:
        """Put neighbouring stretches together into row ranges of about `part_rows`; one empty range for no rows."""
        ranges: list[tuple[int, int]] = []
        start = 0
        for last, stop in zip(self.cuts, self.cuts[1:], strict=False):
            if last > start and stop - start > part_rows:
                ranges.append((start, last))
                start = last
        return [*ranges, (start, self.n_rows)]
