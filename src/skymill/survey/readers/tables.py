"""One way to list, describe and read the tables of any format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from skymill.survey.blocks import BLOCK_ROWS
from skymill.survey.columns import Columns
from skymill.survey.errors import TableError
from skymill.survey.readers.base import Shape, TableFile
from skymill.survey.readers.listing import found, walk

TableFormat = Literal["parquet", "fits", "hats"]


def table_files(path: str | Path, table_format: TableFormat) -> list[TableFile]:
    """List the files of a table, sorted.

    Parameters
    ----------
    path : path
        A file, a folder of files (looked through to the bottom), or a HATS catalogue or collection.
    table_format : {'parquet', 'fits', 'hats'}

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
    suffixes = _reader(table_format).SUFFIXES
    files = [found(name, entry) for name, entry in walk(path, suffixes)]
    if not files:
        raise TableError(
            f"{path}: expected files named {', '.join(suffixes)}, found none in this folder; correct `path` or `format`"
        )
    return files


def shape(file: TableFile, table_format: TableFormat) -> Shape:
    """Read columns and number of rows from a file's header."""
    found_shape: Shape = _reader(table_format).shape(Path(file.path))
    return found_shape


def read(file: TableFile, table_format: TableFormat, columns: list[str], start: int, stop: int) -> Iterator[Columns]:
    """Read some columns of a row range in blocks of at most `BLOCK_ROWS` rows; none for an empty range."""
    blocks: Iterator[Columns] = _reader(table_format).read(Path(file.path), columns, start, stop, BLOCK_ROWS)
    return blocks


def _reader(table_format: TableFormat) -> Any:
    """Load what reads a format when it is needed: FITS brings astropy with it, Parquet pyarrow."""
    if table_format == "fits":
        from skymill.survey.readers import fits

        return fits
    from skymill.survey.readers import parquet

    return parquet
