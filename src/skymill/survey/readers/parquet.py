"""Parquet files, read through a buffer so that a row group of any size takes the memory of a block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymill.survey.columns import ColumnType, RawColumns, Role, TypeKind, list_type
from skymill.survey.errors import TableError
from skymill.survey.ragged import Ragged
from skymill.survey.readers import nested
from skymill.survey.readers.base import Shape, stored_column

SUFFIXES = (".parquet", ".parq", ".pq")
BUFFER_BYTES = 1 << 20
"""Per column; without a buffer a whole row group's column is held (peak 310 MB against 122 MB, measured)."""


def shape(path: Path) -> Shape:
    """Read a file's footer.

    Raises
    ------
    TableError
        If the file is not Parquet, or was cut off.
    """
    with _open(path) as file:
        columns: dict[str, ColumnType] = {}
        for field in file.schema_arrow:
            columns |= _types(field.name, field.type)
        declared = {field.name: (field.metadata or {}).get(b"unit", b"").decode() for field in file.schema_arrow}
        return Shape(columns, _cuts(file), units={name: unit for name, unit in declared.items() if unit})


def read(path: Path, columns: Mapping[str, Role], start: int, stop: int, block_rows: int) -> Iterator[RawColumns]:
    """Read a range of rows, which begins at a row group, block by block.

    Raises
    ------
    TableError
        If a page cannot be read.
    """
    with _open(path) as file:
        cuts = _cuts(file)
        groups = [index for index, first in enumerate(cuts[:-1]) if start <= first < stop]
        known = file.schema_arrow.names
        stored = {name: nested.stored_field(name, known) or stored_column(name, known) for name in columns}
        wanted = list(dict.fromkeys(name for name, _ in stored.values()))
        for batch in file.iter_batches(block_rows, row_groups=groups, columns=wanted, use_threads=False):
            yield {name: _column(batch.column(column), within) for name, (column, within) in stored.items()}


@contextmanager
def _open(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False) as file:
            yield file
    except (pa.ArrowInvalid, OSError) as error:
        raise TableError(
            f"{path}: expected a complete Parquet file, found one that cannot be read ({_first_line(error)}); "
            "fetch or write it again, or correct `format`"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _cuts(file: pq.ParquetFile) -> list[int]:
    rows = [file.metadata.row_group(index).num_rows for index in range(file.metadata.num_row_groups)]
    return [0, *np.cumsum(rows, dtype=int).tolist()]


def _types(name: str, kind: pa.DataType) -> dict[str, ColumnType]:
    """The type of a column, of its elements where it holds vectors of one length, and of the fields that it nests."""
    types = {name: _type(kind)}
    if pa.types.is_fixed_size_list(kind):
        types |= {f"{name}[{index}]": _type(kind.value_type) for index in range(kind.list_size)}
    return types | {field: _type(inner) for field, inner in nested.field_types(name, kind)}


def _type(kind: pa.DataType) -> ColumnType:
    return list_type(_type(kind.value_type)) if nested.is_list(kind) else ColumnType(_kind(kind), str(kind))


def _column(column: pa.Array, within: int | str | None) -> NDArray[np.generic] | Ragged:
    """Give a column, an element of each of its vectors, or a field of what it nests."""
    if isinstance(within, int):
        return to_numpy(pc.list_element(column, within))
    if within is not None and pa.types.is_struct(column.type):
        column, within = pc.struct_field(column, within), None
    if not nested.is_list(column.type):
        return to_numpy(column)
    counts, values = nested.lists_of(column, within)
    return Ragged(counts, to_numpy(values))


def _kind(kind: pa.DataType) -> TypeKind:
    if pa.types.is_dictionary(kind):
        return _kind(kind.value_type)
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "float"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_nested(kind) and not pa.types.is_fixed_size_list(kind):
        return "nested"
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return "text" if is_text else "other"


def to_numpy(array: pa.Array) -> NDArray[np.generic]:
    """Convert an Arrow column; masked where null, and integers never through a float."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    kind = _kind(array.type)
    if array.null_count == 0 or kind in ("text", "other"):
        values = array.to_numpy(zero_copy_only=False)
    else:
        filler = {"integer": 0, "float": float("nan"), "boolean": False}[kind]
        values = array.fill_null(pa.scalar(filler, array.type)).to_numpy(zero_copy_only=False)
    if array.null_count == 0:
        return values
    return np.ma.MaskedArray(values, mask=array.is_null().to_numpy(zero_copy_only=False))
