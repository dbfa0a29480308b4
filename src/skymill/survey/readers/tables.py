"""One way to list, describe and read the tables of any format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from skymill.config.survey import TableFormat
from skymill.survey.blocks import BLOCK_ROWS
from skymill.survey.columns import RawColumns, Role
from skymill.survey.errors import TableError
from skymill.survey.readers.base import Shape, TableFile
from skymill.survey.readers.listing import found, walk

MODULES: dict[TableFormat, str] = {
    "parquet": "skymill.survey.readers.parquet",
    "hats": "skymill.survey.readers.parquet",
    "fits": "skymill.survey.readers.fits",
    "csv": "skymill.survey.readers.csv",
    "hdf5": "skymill.survey.readers.hdf5",
    "votable": "skymill.survey.readers.votable",
}
"""What reads the files of a format; imported when it is needed, since each brings a library with it."""


def table_files(path: str | Path, table_format: TableFormat) -> list[TableFile]:
    """List the files of a table, sorted.

    Parameters
    ----------
    path : path
        A file, a folder of files (looked through to the bottom), or a HATS catalogue or collection.
    table_format : {'parquet', 'hats', 'fits', 'csv', 'hdf5', 'votable'}

    Raises
    ------
    TableError
        If there is nothing at `path`, or nothing of the format.
    """
    path = Path(path)
    if not path.exists():
        raise TableError(f"{path}: no such file or folder; correct `path` (relative to {Path.cwd()})")
    if table_format == "hats":
        from skymill.survey.readers import hats

        return hats.table_files(path)
    if path.is_file():
        return [found(path.name, path)]
    files = [found(name, entry) for name, entry in walk(path, suffixes(table_format))]
    if not files:
        names = ", ".join(suffixes(table_format))
        raise TableError(f"{path}: expected files named {names}, found none in this folder; correct `path` or `format`")
    return files


def suffixes(table_format: TableFormat) -> tuple[str, ...]:
    """Give the endings of the names of a format's files."""
    endings: tuple[str, ...] = _reader(table_format).SUFFIXES
    return endings


def shape(file: TableFile, table_format: TableFormat) -> Shape:
    """Read columns and extent of a file from its header."""
    found_shape: Shape = _reader(table_format).shape(Path(file.path))
    return found_shape


def read(
    file: TableFile, table_format: TableFormat, columns: Mapping[str, Role], start: int, stop: int
) -> Iterator[RawColumns]:
    """Read some columns of a range in blocks of at most `BLOCK_ROWS` rows; none for an empty range.

    Parameters
    ----------
    columns : mapping of name to Role
        See `columns.as_read`.
    start, stop : int
        A range between two of the file's `Shape.cuts`.
    """
    blocks: Iterator[RawColumns] = _reader(table_format).read(Path(file.path), columns, start, stop, BLOCK_ROWS)
    return blocks


def _reader(table_format: TableFormat) -> Any:
    return import_module(MODULES[table_format])
