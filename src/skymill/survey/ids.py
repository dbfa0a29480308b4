"""Identifiers: int64, exact, never through a float."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skymill.survey.columns import Columns

if TYPE_CHECKING:
    from skymill.config.survey import IdColumn

LARGEST = (1 << 63) - 1
WHOLE_NUMBER = re.compile(r"\s*-?\d{1,19}")
SEPARATOR = "\x1f"
"""ASCII unit separator, between the texts of several hashed columns."""


def object_ids(columns: Columns, column: IdColumn) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Make `objectId` from the columns of a map.

    Parameters
    ----------
    columns : mapping of name to array, (n,)
        Masked arrays where rows are empty.
    column : IdColumn

    Returns
    -------
    ids : ndarray of int64, (n,)
        0 where one of the masks below holds.
    missing, out_of_range : ndarray of bool, (n,)
        Empty in a column; above 2^63 - 1, text that is no whole number, or a packed part negative or wider than its
        bits.
    """
    parts = [columns[name] for name in column.sources]
    missing = np.logical_or.reduce([np.ma.getmaskarray(part) for part in parts])
    raw = [np.ma.getdata(part) for part in parts]
    missing |= np.logical_or.reduce([without_text(part) for part in raw])
    if column.hash:
        ids, out_of_range = _hashed(raw), np.zeros(len(missing), dtype=bool)
    elif column.pack:
        ids, out_of_range = _packed(raw, list(column.pack.values()))
    else:
        ids, out_of_range = _taken(raw[0])
    out_of_range &= ~missing
    ids[missing | out_of_range] = 0
    return ids, missing, out_of_range


def _taken(values: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    integers = np.asarray(values)
    if integers.dtype.kind in "OUS":
        return _parsed(integers)
    too_large = np.zeros(len(integers), dtype=bool)
    if integers.dtype.kind == "u":
        too_large = integers.astype(np.uint64) > np.uint64(LARGEST)
    return integers.astype(np.int64), too_large


def _parsed(values: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Read whole numbers written as text, such as SDSS's objID."""
    found = [int(text) if WHOLE_NUMBER.fullmatch(text) else LARGEST + 1 for text in texts(values)]
    too_large = np.fromiter((abs(number) > LARGEST for number in found), bool, len(found))
    return np.array([0 if bad else number for number, bad in zip(found, too_large)], dtype=np.int64), too_large


def _packed(parts: list[NDArray[np.generic]], bits: list[int]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    ids = np.zeros(len(parts[0]), dtype=np.int64)
    out_of_range = np.zeros(len(ids), dtype=bool)
    for part, width in zip(parts, bits, strict=True):
        values, too_large = _taken(part)
        out_of_range |= too_large | (values < 0) | (values > LARGEST >> (63 - width))
        ids = (ids << width) | values
    return ids, out_of_range


def _hashed(parts: list[NDArray[np.generic]]) -> NDArray[np.int64]:
    rows = zip(*(texts(part) for part in parts), strict=True)
    hashed = (blake2b(SEPARATOR.join(row).encode(), digest_size=8).digest() for row in rows)
    eight_bytes = np.frombuffer(b"".join(hashed), dtype=">u8").astype(np.uint64)
    return (eight_bytes & np.uint64(LARGEST)).astype(np.int64)


def texts(values: NDArray[np.generic]) -> list[str]:
    """Give the text of each value, the same whatever file it came from: no padding, shortest exact decimals."""
    if values.dtype.kind == "f":
        values = values.astype(np.float64)
    return [value.decode().rstrip() if isinstance(value, bytes) else str(value).rstrip() for value in values.tolist()]


def without_text(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Tell which values have no text of their own: empty, None or NaN."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind in "OUS":
        return np.fromiter((value is None or not value.strip() for value in values.tolist()), bool, len(values))
    return np.zeros(len(values), dtype=bool)
