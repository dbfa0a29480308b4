"""Rows of sources as one structured array: packing, canonical order, and what becomes of rows that share an id."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymill.survey import SourceBlock, SourceSchema

Rows = NDArray[np.void]


class Settled(NamedTuple):
    """Which of a tile's rows are kept, which are exact copies, and which share an id with a different row."""

    kept: NDArray[np.bool_]
    copies: NDArray[np.bool_]
    conflicting: NDArray[np.bool_]


def row_dtype(schema: SourceSchema) -> np.dtype[np.void]:
    """Give the packed record of one source: keys first, then photometry (bands) and values."""
    fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = [
        ("_healpix_29", "<i8"),
        ("objectId", "<i8"),
        ("coord_ra", "<f8"),
        ("coord_dec", "<f8"),
        ("flags", "<i4"),
    ]
    fields += [(name, "<f4", (len(schema.bands),)) for name in schema.photometry]
    if schema.values:
        fields.append(("values", "<f4", (len(schema.values),)))
    return np.dtype(fields)


def pack(block: SourceBlock, schema: SourceSchema) -> Rows:
    """Put the columns of a block into records.

    Every NaN gets the same bits and -0.0 becomes 0.0, so that rows are equal where their bytes are.
    """
    rows = np.empty(len(block.object_id), row_dtype(schema))
    rows["_healpix_29"] = block.healpix29
    rows["objectId"] = block.object_id
    rows["coord_ra"] = block.ra + 0.0
    rows["coord_dec"] = block.dec + 0.0
    rows["flags"] = block.flags
    for name in schema.photometry:
        rows[name] = _one_nan(block.photometry[name])
    if schema.values:
        rows["values"] = _one_nan(block.values)
    return rows


def sort_rows(rows: Rows) -> Rows:
    """Sort by (`_healpix_29`, `objectId`), and by their bytes where both are equal: one order for one set of rows."""
    rows = rows[np.argsort(rows["_healpix_29"], kind="stable")]  # merges what is sorted already
    positions = rows["_healpix_29"]
    tied = np.flatnonzero(_in_run(_follows(positions)))
    if len(tied):
        some = rows[tied]
        rank = np.empty(len(some), np.int64)
        rank[np.argsort(some.view(np.dtype((np.void, some.itemsize))), kind="stable")] = np.arange(len(some))
        rows[tied] = some[np.lexsort((rank, some["objectId"], some["_healpix_29"]))]
    return rows


def settle_copies(rows: Rows, elsewhere: NDArray[np.int64]) -> Settled:
    """Decide about rows that share an id.

    Rows equal in every column are copies: the first is kept. All rows of an id that also has a different row conflict.

    Parameters
    ----------
    rows : structured ndarray, (n,)
        All rows of one tile, as `sort_rows` leaves them.
    elsewhere : ndarray of int64
        Ids that are known to have two positions anywhere on the sky.

    Returns
    -------
    Settled
        Three masks, each (n,); every row is in exactly one.
    """
    same_key = _follows(rows["_healpix_29"]) & _follows(rows["objectId"])
    same_row = np.zeros(len(rows), bool)
    tied = np.flatnonzero(same_key)
    as_bytes = rows.view(np.uint8).reshape(len(rows), rows.itemsize)
    same_row[tied] = (as_bytes[tied] == as_bytes[tied - 1]).all(axis=1)
    two_faced = rows["objectId"][same_key & ~same_row]
    conflicting = np.isin(rows["objectId"], np.union1d(elsewhere, two_faced))
    copies = same_row & ~conflicting
    return Settled(~(copies | conflicting), copies, conflicting)


def content_digest(rows: Rows) -> str:
    """Give the SHA-256 of the rows' bytes."""
    return hashlib.sha256(np.ascontiguousarray(rows).view(np.uint8).data).hexdigest()


def _follows(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which values equal the one before."""
    follows = np.zeros(len(values), bool)
    follows[1:] = values[1:] == values[:-1]
    return follows


def _in_run(follows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which rows equal a neighbour, from which equal the one before."""
    return follows | np.append(follows[1:], False)[: len(follows)]


def _one_nan(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(np.isnan(values), np.float32(np.nan), values + np.float32(0))
