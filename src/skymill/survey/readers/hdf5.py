"""HDF5 tables: a group of one-dimensional datasets, one a column, or one dataset of records.

The first is what most codes write (RAIL's `photometry`), the second what astropy, h5py and PyTables write.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from skymill.survey.columns import Columns, ColumnType, Role
from skymill.survey.errors import TableError
from skymill.survey.readers.base import Shape, column_types, even_cuts, stored_column

SUFFIXES = (".hdf5", ".h5", ".hdf", ".he5")
MASK = ".mask"
"""A boolean column of this ending says where the column before it is empty (astropy's way to keep masks)."""
DESCRIPTION = ".__table_column_meta__"
"""Ending of the dataset in which astropy describes a table."""


def shape(path: Path) -> Shape:
    """Read the names, types and lengths of a file's datasets.

    Raises
    ------
    TableError
        If the file is not HDF5, was cut off, or does not hold one table.
    """
    with _table(path) as table:
        names = _names(table)
        types: dict[str, ColumnType] = {}
        for name in names:
            types |= column_types(name, _slice(table, name, 0, 0))
        return Shape(types, even_cuts(_length(table)), units=_units(table))


def read(path: Path, columns: Mapping[str, Role], start: int, stop: int, block_rows: int) -> Iterator[Columns]:
    """Read a range of rows, block by block; masked where a column's `.mask` says so.

    Raises
    ------
    TableError
        If a dataset cannot be read.
    """
    with _table(path) as table:
        names = _names(table)
        for first in range(start, stop, block_rows):
            last = min(first + block_rows, stop)
            yield {name: _column(table, names, name, first, last) for name in columns}


@contextmanager
def _table(path: Path) -> Iterator[Any]:
    """The group or the dataset that is the file's table."""
    try:
        with h5py.File(path, "r") as file:
            yield _only_table(file, path)
    except (OSError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise TableError(
            f"{path}: expected a complete HDF5 file, found one that cannot be read ({reason}); fetch it again"
        ) from error


def _only_table(file: Any, path: Path) -> Any:
    pandas = [group.name for group in _groups(file) if "pandas_type" in group.attrs]
    if pandas:
        raise TableError(
            f"{path}: '{pandas[0]}' was written by pandas in a layout of its own; "
            "read it with pandas.read_hdf and write it with to_parquet"
        )
    found: dict[str, Any] = {group.name: group for group in _groups(file) if _columns(group)}
    found |= {item.name: item for group in _groups(file) for item in _records(group)}
    if len(found) != 1:
        raise TableError(
            f"{path}: expected one table, a group of one-dimensional datasets or one dataset of records, found "
            f"{len(found)} ({', '.join(found)}); write the table to a file of its own"
        )
    [(name, table)] = found.items()
    if isinstance(table, h5py.Group):
        lengths = {column: len(dataset) for column, dataset in _columns(table).items()}
        if len(set(lengths.values())) > 1:
            raise TableError(
                f"{path}: '{name}': expected datasets of one length, found {lengths}; write the file again"
            )
    return table


def _groups(file: Any) -> list[Any]:
    """The root and every group below it; links to other files are not followed."""
    groups = [file]
    file.visititems(lambda _, item: groups.append(item) if isinstance(item, h5py.Group) else None)
    return groups


def _records(group: Any) -> list[Any]:
    items = (group[name] for name in group if isinstance(group.get(name, getlink=True), h5py.HardLink))
    return [item for item in items if isinstance(item, h5py.Dataset) and item.ndim == 1 and item.dtype.names]


def _columns(group: Any) -> dict[str, Any]:
    """The datasets of a group that are columns."""
    items = {name: group[name] for name in group if isinstance(group.get(name, getlink=True), h5py.HardLink)}
    return {
        name: item
        for name, item in items.items()
        if isinstance(item, h5py.Dataset) and item.ndim > 0 and not item.dtype.names and not name.endswith(DESCRIPTION)
    }


def _names(table: Any) -> list[str]:
    return list(table.dtype.names) if isinstance(table, h5py.Dataset) else list(_columns(table))


def _length(table: Any) -> int:
    return len(table) if isinstance(table, h5py.Dataset) else len(next(iter(_columns(table).values())))


def _units(table: Any) -> dict[str, str]:
    """Units that the datasets of a group declare in their attributes."""
    if isinstance(table, h5py.Dataset):
        return {}
    found = {name: item.attrs.get("units", item.attrs.get("unit", "")) for name, item in _columns(table).items()}
    return {name: str(unit) for name, unit in found.items() if unit}


def _slice(table: Any, name: str, start: int, stop: int) -> NDArray[np.generic]:
    values: NDArray[np.generic] = (
        table[name][start:stop] if isinstance(table, h5py.Group) else table.fields(name)[start:stop]
    )
    return values


def _column(table: Any, names: list[str], name: str, start: int, stop: int) -> NDArray[np.generic]:
    stored, index = stored_column(name, names)
    values = _slice(table, stored, start, stop)
    if stored + MASK in names:
        values = np.ma.MaskedArray(values, mask=_slice(table, stored + MASK, start, stop).astype(bool))
    return values if index is None else values[:, index]
