"""FITS tables (binary and ASCII), read by cfitsio a range of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
from numpy.typing import NDArray

from skymill.survey.columns import Columns, ColumnType, column_type
from skymill.survey.errors import TableError
from skymill.survey.readers.base import Shape

SUFFIXES = (".fits", ".fit", ".fts")
TABLES = ("BINARY_TBL", "ASCII_TBL")
CUT_ROWS = 65_536
"""A FITS table may be cut anywhere; parts are multiples of this."""


def shape(path: Path) -> Shape:
    """Read the header of a file's table.

    Raises
    ------
    TableError
        If the file is not FITS, was cut off, is compressed, or holds no table or several.
    """
    with _table(path) as table:
        n_rows = table.get_nrows()
        return Shape(_types(table), [*range(0, n_rows, CUT_ROWS), n_rows])


def read(path: Path, columns: list[str], start: int, stop: int, block_rows: int) -> Iterator[Columns]:
    """Read a range of rows, block by block; integer columns are masked where they hold TNULL."""
    with _table(path) as table:
        nulls = _nulls(table)
        for first in range(start, stop, block_rows):
            rows = table[columns][first : min(first + block_rows, stop)]
            yield {name: _masked(rows[name], nulls.get(name)) for name in columns}


@contextmanager
def _table(path: Path) -> Iterator[Any]:
    if path.suffix not in SUFFIXES:
        raise TableError(f"{path}: expected a file named {', '.join(SUFFIXES)}; unpack compressed FITS tables first")
    try:
        with fitsio.FITS(str(path)) as file:
            yield _only_table(file, path)
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise TableError(
            f"{path}: expected a complete FITS file, found one that cannot be read ({reason}); fetch it again"
        ) from error


def _only_table(file: Any, path: Path) -> Any:
    size = path.stat().st_size
    needed = max(_end_of_data(hdu) for hdu in file)
    if size < needed:
        raise TableError(
            f"{path}: the headers announce {needed} bytes but the file has {size}: it was cut off; fetch it again"
        )
    tables = [hdu for hdu in file if hdu.get_exttype() in TABLES]
    if len(tables) != 1:
        named = ", ".join(f"'{hdu.get_extname()}'" for hdu in tables)
        raise TableError(
            f"{path}: expected one table extension, found {len(tables)} ({named}) in {size} bytes; "
            "write the table to a file of its own, or fetch the file again if it was cut off"
        )
    return tables[0]


def _end_of_data(hdu: Any) -> int:
    """Where the data end, padding not counted: some writers leave it out at the end of the file."""
    offsets = hdu.get_offsets()
    if hdu.get_exttype() not in TABLES:
        return int(offsets["data_start"])
    header = hdu.read_header()
    return int(offsets["data_start"] + header["NAXIS1"] * header["NAXIS2"] + header.get("PCOUNT", 0))


def _types(table: Any) -> dict[str, ColumnType]:
    record: np.dtype[Any] = table.get_rec_dtype()[0]
    types: dict[str, ColumnType] = {}
    for column in table.get_info()["colinfo"]:
        name = column["name"]
        field = record[name]
        if column["tscale"] != 1 or (column["tzero"] != 0 and not _is_unsigned(column)):
            field = np.dtype((np.float64, field.shape))
        types[name] = column_type(np.empty((0, *field.shape), dtype=field.base))
    return types


def _is_unsigned(column: dict[str, Any]) -> bool:
    return column["tscale"] == 1 and column["tzero"] in (-128, 2**15, 2**31, 2**63)


def _nulls(table: Any) -> dict[str, int]:
    """The physical value that stands for an empty integer, per column."""
    header = table.read_header()
    nulls: dict[str, int] = {}
    for index, column in enumerate(table.get_info()["colinfo"], start=1):
        null = header.get(f"TNULL{index}")
        if isinstance(null, int):
            offset = int(column["tzero"]) if _is_unsigned(column) else column["tzero"]
            scale = 1 if column["tscale"] == 1 else column["tscale"]
            nulls[column["name"]] = null * scale + offset
    return nulls


def _masked(values: NDArray[np.generic], null: float | None) -> NDArray[np.generic]:
    return values if null is None else np.ma.MaskedArray(values, mask=values == null)
