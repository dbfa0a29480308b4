"""Binary FITS tables, mapped into memory a block of rows at a time.

astropy reads the headers. The rows are decoded here: through astropy or fitsio a block took the memory of the table, or
scaled integers came out wrong (measured with astropy 8.0 and fitsio 1.4; see docs/survey.md).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from numpy.typing import NDArray

from skymill.survey.columns import Columns, ColumnType, Role
from skymill.survey.errors import TableError
from skymill.survey.readers.base import Shape, column_types, even_cuts, stored_column

SUFFIXES = (".fits", ".fit", ".fts")


def shape(path: Path) -> Shape:
    """Read the header of a file's table.

    Raises
    ------
    TableError
        If the file is not FITS, was cut off, is compressed, or does not hold one binary table.
    """
    with _table(path) as table:
        empty = np.zeros(0, dtype=_stored_type(table))
        types: dict[str, ColumnType] = {}
        for name in table.columns.names:
            types |= column_types(name, _physical(empty[name], table, name))
        units = {column.name: column.unit for column in table.columns if column.unit}
        return Shape(types, even_cuts(int(table.header["NAXIS2"])), units=units)


def read(path: Path, columns: Mapping[str, Role], start: int, stop: int, block_rows: int) -> Iterator[Columns]:
    """Read a range of rows, block by block; integers are masked where they hold TNULL.

    Each block is mapped on its own: the pages of one mapping would add up to the whole table.
    """
    with _table(path) as table:
        record, offset = _stored_type(table), table.fileinfo()["datLoc"]
    for first in range(start, stop, block_rows):
        n_rows = min(block_rows, stop - first)
        rows = np.memmap(path, record, mode="r", offset=offset + first * record.itemsize, shape=n_rows)
        yield {name: _column(rows, table, name) for name in columns}


@contextmanager
def _table(path: Path) -> Iterator[Any]:
    if path.suffix not in SUFFIXES:
        raise TableError(
            f"{path}: expected a file named {', '.join(SUFFIXES)}; unpack compressed FITS tables first, "
            "or correct `format`"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyUserWarning)  # of truncation, which is an error below
            with fits.open(path, memmap=True) as file:
                yield _only_table(file, path)
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise TableError(
            f"{path}: expected a complete FITS file, found one that cannot be read ({reason}); fetch it again"
        ) from error


def _only_table(file: Any, path: Path) -> Any:
    size = path.stat().st_size
    places = [hdu.fileinfo() for hdu in file]
    needed = max(place["datLoc"] + place["datSpan"] for place in places)
    if size < needed:
        raise TableError(
            f"{path}: the headers announce {needed} bytes but the file has {size}: it was cut off; fetch it again"
        )
    tables = [hdu for hdu in file if isinstance(hdu, fits.BinTableHDU)]
    if len(tables) != 1:
        named = ", ".join(f"'{hdu.name}'" for hdu in tables)
        raise TableError(
            f"{path}: expected one binary table, found {len(tables)} ({named}) in {size} bytes; "
            "write the table to a file of its own as a binary table, or fetch the file again if it was cut off"
        )
    return tables[0]


def _column(rows: NDArray[np.void], table: Any, name: str) -> NDArray[np.generic]:
    stored, index = stored_column(name, table.columns.names)
    values = rows[stored] if index is None else rows[stored][:, index]
    return _physical(np.array(values), table, stored)


def _stored_type(table: Any) -> np.dtype[Any]:
    """The type of a row in the file; astropy gives it in the machine's byte order, FITS is big-endian."""
    row: np.dtype[Any] = table.columns.dtype
    return row.newbyteorder(">")


def _physical(stored: NDArray[np.generic], table: Any, name: str) -> NDArray[np.generic]:
    """Turn what a binary table stores into values: logicals, scaling, TNULL (FITS standard 4.0, section 7.3)."""
    number = table.columns.names.index(name) + 1
    if table.columns.formats[number - 1].endswith("L"):
        return stored == ord("T")
    scale, zero = table.header.get(f"TSCAL{number}", 1), table.header.get(f"TZERO{number}", 0)
    null = table.header.get(f"TNULL{number}")
    values = stored if (scale, zero) == (1, 0) else _scaled(stored, scale, zero)
    return values if null is None or stored.dtype.kind not in "iu" else np.ma.MaskedArray(values, mask=stored == null)


def _scaled(stored: NDArray[np.generic], scale: float, zero: float) -> NDArray[np.generic]:
    """Scale to float64, except that an offset alone, FITS's way to store unsigned integers, stays exact."""
    if scale == 1 and zero == 2**63 and stored.dtype.itemsize == 8 and stored.dtype.kind == "i":
        return stored.astype(np.uint64) + np.uint64(2**63)
    if scale == 1 and zero == int(zero) and stored.dtype.kind in "iu" and stored.dtype.itemsize < 8:
        return stored.astype(np.int64) + int(zero)
    return stored.astype(np.float64) * scale + zero
