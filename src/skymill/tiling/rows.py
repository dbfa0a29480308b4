"""Rows of sources as one structured array: packing and canonical order."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from skymill.survey.blocks import SourceBlock, SourceSchema

Rows = NDArray[np.void]


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
    for name in schema.nested:  # its observations lie beside the rows; equal ones have equal digests
        fields += [(f"{name}_count", "<i4"), (f"{name}_digest", "<u8", (2,))]
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
    for name in schema.nested:
        rows[f"{name}_count"] = block.nested[name].counts
        rows[f"{name}_digest"] = block.nested[name].digests()
    return rows


def sort_rows(rows: Rows) -> Rows:
    """Put rows into their one order (see `row_order`)."""
    return np.take(rows, row_order(rows))  # five times faster than rows[order]


def row_order(rows: Rows) -> NDArray[np.int64]:
    """Sort by (`_healpix_29`, `objectId`), and by their bytes where both are equal: one order for one set of rows."""
    order = np.argsort(rows["_healpix_29"], kind="stable")
    tied = np.flatnonzero(_in_run(same_as_before(rows["_healpix_29"][order])))
    if len(tied):
        some = rows[order[tied]]
        rank = np.empty(len(some), np.int64)
        rank[np.argsort(some.view(np.dtype((np.void, some.itemsize))), kind="stable")] = np.arange(len(some))
        order[tied] = order[tied][np.lexsort((rank, some["objectId"], some["_healpix_29"]))]
    return order


def content_digest(rows: Rows) -> str:
    """Give the SHA-256 of the rows' bytes."""
    return hashlib.sha256(np.ascontiguousarray(rows).view(np.uint8).data).hexdigest()


def same_as_before(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which values equal the one before."""
    follows = np.zeros(len(values), bool)
    follows[1:] = values[1:] == values[:-1]
    return follows


def _in_run(follows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which rows equal a neighbour, from which equal the one before."""
    return follows | np.append(follows[1:], False)[: len(follows)]


def _one_nan(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(np.isnan(values), np.float32(np.nan), values + np.float32(0))
