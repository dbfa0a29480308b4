"""What every reader gives."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymill.sky import Tile
from skymill.survey.columns import ColumnType, column_type

CUT_ROWS = 65_536
"""A table that may be cut anywhere is cut at multiples of this."""
ELEMENT = re.compile(r"(.+)\[(\d+)\]")
"""How one element of a column of vectors is named: ``PSFMAG[0]``."""


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
    """Elements of vectors are listed too, as ``NAME[0]``."""
    cuts: Sequence[int]
    """Where rows are best parted, from the start to the end: row numbers; for lines of text, bytes of the text."""
    line_bytes: float | None = None
    """Mean length of a line of text, which says that `cuts` are bytes."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Units of columns, where the file declares them."""

    @property
    def span(self) -> tuple[int, int]:
        """The range of all rows."""
        return self.cuts[0], self.cuts[-1]

    @property
    def about_rows(self) -> int:
        """Rows in the file, to within the scatter of line lengths where it is text."""
        return round((self.cuts[-1] - self.cuts[0]) / (self.line_bytes or 1.0))

    def rows_in(self, start: int, stop: int) -> int | None:
        """Rows of a range; None where only reading tells."""
        return stop - start if self.line_bytes is None else None

    def ranges(self, part_rows: int) -> list[tuple[int, int]]:
        """Put neighbouring stretches together into ranges of about `part_rows` rows; one empty range for no rows."""
        longest = part_rows * (self.line_bytes or 1.0)
        ranges: list[tuple[int, int]] = []
        start = self.cuts[0]
        for last, stop in zip(self.cuts, self.cuts[1:], strict=False):
            if last > start and stop - start > longest:
                ranges.append((start, last))
                start = last
        return [*ranges, (start, self.cuts[-1])]


def even_cuts(n_rows: int) -> list[int]:
    """Cut a table that may be cut anywhere."""
    return [*range(0, n_rows, CUT_ROWS), n_rows]


def column_types(name: str, values: NDArray[np.generic]) -> dict[str, ColumnType]:
    """Give the type of a column and, where it holds vectors, of each of their elements."""
    types = {name: column_type(values)}
    if values.ndim == 2:
        types |= {f"{name}[{index}]": column_type(values[:, index]) for index in range(values.shape[1])}
    return types


def stored_column(name: str, known: Collection[str]) -> tuple[str, int | None]:
    """Give the stored column that holds a mapped one and, where that is an element of a vector, its index."""
    match = ELEMENT.fullmatch(name)
    return (match[1], int(match[2])) if match and name not in known else (name, None)
