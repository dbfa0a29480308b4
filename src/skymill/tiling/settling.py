"""What a source tile holds: which of its rows are kept, what becomes of the others, and how they are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymill.store.accounting import Accounting
from skymill.store.variable import CHUNK_ROWS
from skymill.survey.flags import MEASURE_FLAGS, SOURCE_FLAGS
from skymill.tiling.rows import Rows, same_as_before

LEFT_OUT = np.dtype([("objectId", "<i8"), ("coord_ra", "<f8"), ("coord_dec", "<f8")])
EXACT_DUPLICATE = "exact_duplicate"
CONFLICTING_ID = "conflicting_id"


@dataclass(frozen=True, eq=False)
class SettledRows:
    """All rows of one tile. Three masks, (n,), say what becomes of them; every row is in exactly one."""

    rows: Rows
    kept: NDArray[np.bool_]
    copies: NDArray[np.bool_]
    """Equal to a row that is kept."""
    conflicting: NDArray[np.bool_]
    """Share an id with a different row."""

    @property
    def accounting(self) -> Accounting:
        """What became of every row."""
        flags = self.rows["flags"][self.kept]
        n_flagged = int(np.count_nonzero(flags))
        return Accounting(
            n_in=len(self.rows),
            n_ok=len(flags) - n_flagged,
            n_flagged=n_flagged,
            flagged={
                flag.name: n
                for flag in (*SOURCE_FLAGS, *MEASURE_FLAGS)
                if (n := int(np.count_nonzero(flags & flag.mask)))
            },
            quarantined={CONFLICTING_ID: n} if (n := int(self.conflicting.sum())) else {},
            excluded={EXACT_DUPLICATE: n} if (n := int(self.copies.sum())) else {},
        )

    @property
    def quarantined(self) -> NDArray[np.void]:
        """The rows that are put aside, `LEFT_OUT` each."""
        left_out = np.empty(int(self.conflicting.sum()), LEFT_OUT)
        for name in LEFT_OUT.names or ():
            left_out[name] = self.rows[name][self.conflicting]
        return left_out

    def blocks(self, names: Iterable[str]) -> Iterator[dict[str, NDArray[np.generic]]]:
        """Give the kept rows, some at a time, as columns."""
        names = list(names)
        for start in range(0, len(self.rows), CHUNK_ROWS):
            some = slice(start, start + CHUNK_ROWS)
            block = self.rows[some][self.kept[some]]
            yield {name: np.ascontiguousarray(block[name]) for name in names}

    @property
    def chunk_rows(self) -> int:
        """Rows of a chunk of the tile's file."""
        return even_chunks(int(self.kept.sum()))


def settle_rows(rows: Rows, elsewhere: NDArray[np.int64]) -> SettledRows:
    """Decide about rows that share an id.

    Rows equal in every column are copies: the first is kept. All rows of an id that also has a different row conflict.

    Parameters
    ----------
    rows : structured ndarray, (n,)
        All rows of one tile, as `sort_rows` leaves them.
    elsewhere : ndarray of int64
        Ids that are known to have two positions anywhere on the sky.
    """
    same_key = same_as_before(rows["_healpix_29"]) & same_as_before(rows["objectId"])
    same_row = np.zeros(len(rows), bool)
    tied = np.flatnonzero(same_key)
    as_bytes = rows.view(np.uint8).reshape(len(rows), rows.itemsize)
    same_row[tied] = (as_bytes[tied] == as_bytes[tied - 1]).all(axis=1)
    two_faced = rows["objectId"][same_key & ~same_row]
    conflicting = np.isin(rows["objectId"], np.union1d(elsewhere, two_faced))
    copies = same_row & ~conflicting
    return SettledRows(rows, ~(copies | conflicting), copies, conflicting)


def even_chunks(n_rows: int) -> int:
    """Give the rows of a chunk, at most `CHUNK_ROWS`, such that all are about full: Zarr stores the last one whole."""
    return -(-n_rows // max(1, -(-n_rows // CHUNK_ROWS))) or 1
