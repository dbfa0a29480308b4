"""VOTable files; astropy parses a table whole, so that there is a bound on its size."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.survey.columns import Columns, ColumnType, Role
from skymill.survey.errors import TableError
from skymill.survey.readers.base import Shape, column_types, stored_column

SUFFIXES = (".vot", ".votable", ".xml")
MAX_BYTES = 200_000_000
"""Of the file; a table of numbers written as text takes half as much memory, one of text more."""


def shape(path: Path) -> Shape:
    """Parse a file for the columns of its table.

    Raises
    ------
    TableError
        If the file is too large, is not a VOTable, was cut off, or does not hold one table.
    """
    table = _table(path)
    types: dict[str, ColumnType] = {}
    for field in table.fields:
        types |= column_types(field.name, np.ma.getdata(table.array[field.ID])[:0])
    units = {field.name: str(field.unit) for field in table.fields if field.unit}
    return Shape(types, [0, len(table.array)], units=units)


def read(path: Path, columns: Mapping[str, Role], start: int, stop: int, block_rows: int) -> Iterator[Columns]:
    """Parse a file and give a range of its rows, block by block; masked where the table is null."""
    table = _table(path)
    stored = {field.name: table.array[field.ID] for field in table.fields}
    for first in range(start, stop, block_rows):
        last = min(first + block_rows, stop)
        yield {name: _column(stored, name, first, last) for name in columns}


def _column(stored: Mapping[str, Any], name: str, start: int, stop: int) -> NDArray[np.generic]:
    column, index = stored_column(name, stored)
    values: NDArray[np.generic] = stored[column][start:stop]
    return values if index is None else values[:, index]


def _table(path: Path) -> Any:
    from astropy.io import votable

    size = path.stat().st_size
    if size > MAX_BYTES:
        raise TableError(
            f"{path}: {size} bytes; a VOTable is parsed whole, so that more than {MAX_BYTES} are refused; convert it: "
            f"astropy.table.Table.read('{path.name}').write('{path.stem}.parquet')"
        )
    with _errors(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what departs from the standard yet can be read
        file = votable.parse(path, verify="ignore")
    _check_status(file, path)
    tables = list(file.iter_tables())
    if len(tables) != 1:
        raise TableError(f"{path}: expected one table, found {len(tables)}; write the table to a file of its own")
    names = [field.name for field in tables[0].fields]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TableError(f"{path}: expected columns of different names, found '{twice[0]}' twice; rename one of them")
    return tables[0]


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    from xml.parsers.expat import ExpatError

    try:
        yield
    except (ExpatError, OSError, SyntaxError, ValueError, TypeError, LookupError) as error:
        reason = str(error).splitlines()[0]
        raise TableError(
            f"{path}: expected a complete VOTable, found what cannot be read ({reason}); fetch the file again"
        ) from error


def _check_status(file: Any, path: Path) -> None:
    """Refuse an answer that the service itself calls cut short or failed (DALI 1.1, section 4.4)."""
    for resource in file.resources:
        for info in resource.infos:
            if info.name == "QUERY_STATUS" and info.value in ("OVERFLOW", "ERROR"):
                raise TableError(
                    f"{path}: the service that wrote this table marked it {info.value}: rows are missing; "
                    "query again with a higher limit or in smaller pieces"
                )
