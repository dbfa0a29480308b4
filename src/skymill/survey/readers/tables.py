"""One way to list, describe and read the tables of any format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from skymill.survey.blocks import BLOCK_ROWS
from skymill.survey.columns import Columns
from skymill.survey.errors import TableError
from skymill.survey.readers import fits, hats, parquet
from skymill.survey.readers.base import Shape, TableFile

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
        return hats.table_files(path)
    if path.is_file():
        return [TableFile(path.name, path)]
    suffixes = fits.SUFFIXES if table_format == "fits" else parquet.SUFFIXES
    files = [TableFile(str(found.relative_to(path)), found) for found in sorted(_walk(path, suffixes))]
    if not files:
        raise TableError(f"{path}: expected files named {', '.join(suffixes)}, found none in this folder")
    return files


def shape(file: TableFile, table_format: TableFormat) -> Shape:
    """Read columns and number of rows from a file's header."""
    return fits.shape(file.path) if table_format == "fits" else parquet.shape(file.path)


def read(file: TableFile, table_format: TableFormat, columns: list[str], start: int, stop: int) -> Iterator[Columns]:
    """Read some columns of a row range in blocks of at most `BLOCK_ROWS` rows; none for an empty range."""
    reader = fits.read if table_format == "fits" else parquet.read
    return reader(file.path, columns, start, stop, BLOCK_ROWS)


def _walk(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Files below a folder; hidden ones and metadata, whose names begin with . or _, are passed over."""
    for entry in folder.iterdir():
        if entry.name.startswith((".", "_")):
            continue
        if entry.is_dir():
            yield from _walk(entry, suffixes)
        elif entry.suffix in suffixes:
            yield entry
