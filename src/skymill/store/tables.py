"""The tables of a sealed version: its tiles and its failures."""

from __future__ import annotations

import hashlib
import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from skymill.sky import ORDER
from skymill.store.accounting import Accounting
from skymill.store.errors import StoreError
from skymill.store.keys import canonical_json, digest
from skymill.store.kinds import IMAGES, SKY, Kind, in_order
from skymill.store.manifest import AnyEntry, AnyQuarantined
from skymill.store.paths import LONGEST_PART, SUFFIX, is_image_name

KEY_BYTES = 32
"""Bytes of a key that no compression saves."""
LARGEST_COLUMN = 1 << 28
"""Bytes, unpacked, of one column of one row group."""
LARGEST_TABLE = 1 << 30
"""Bytes of a table of tiles: some ten million tiles."""


class LongTable(Protocol):
    """Rows that may be too many for the memory; a `pyarrow.Table` is of this kind."""

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""

    def to_batches(self) -> Iterable[pa.RecordBatch]:
        """Give the rows, the same each time."""


def tile_table(entries: Sequence[AnyEntry], kind: Kind = SKY) -> pa.Table:
    """Give one row per tile, in the order of the sky, or of the names of image tiles."""
    ordered = sorted(entries, key=lambda entry: in_order(entry.tile))
    columns: dict[str, list[Any]] = {name: [] for name in kind.tiles.names}
    for name in (*(name for name, _ in kind.place), "key", "sha256", "n_bytes", "n_rows"):
        columns[name] = [getattr(entry, name) for entry in ordered]
    for name in ("n_in", "n_ok", "n_flagged"):
        columns[name] = [getattr(entry.accounting, name) for entry in ordered]
    for name in ("flagged", "quarantined", "excluded"):
        columns[name] = [sorted(getattr(entry.accounting, name).items()) for entry in ordered]
    return pa.Table.from_pydict(columns, schema=kind.tiles)


def read_tiles(source: Path | BinaryIO, n_tiles: int, *, where: object, kind: Kind = SKY) -> pa.Table:
    """Read what `tile_table` made, if it can be such a table.

    Parameters
    ----------
    source : Path or file
    n_tiles : int
        Rows that it has to have.
    where : object
        Its path or URL.
    kind : Kind, optional
        Of its tiles.

    Raises
    ------
    StoreError
        If it is of another form or size, or names what is no tile.
    """
    try:
        file = open_table(source, kind.tiles, where=where)
        if file.metadata.num_rows != n_tiles:
            raise StoreError(f"{where}: expected {n_tiles} tiles, found {file.metadata.num_rows}")
        table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{where}: expected a table of tiles, found {error}; run `skymill verify`") from error
    if any(column.null_count for column in table.columns):
        raise StoreError(f"{where}: expected a value in every place, found none in some; do not use it")
    _check_names(table, where) if kind is IMAGES else _check_pixels(table, where)
    return table


def _check_pixels(table: pa.Table, where: object) -> None:
    order, pixel = (table[name].to_numpy().astype(np.int64) for name in ("order", "pixel"))
    if np.any((order < 0) | (order > ORDER)) or np.any((pixel < 0) | (pixel >= 12 << 2 * order)):
        raise StoreError(f"{where}: expected pixels of HEALPix orders 0 to {ORDER}, found others; do not use it")


def _check_names(table: pa.Table, where: object) -> None:
    check_images(names := table["image"].to_pylist(), where)
    if any(one >= other for one, other in pairwise(names)):
        raise StoreError(f"{where}: expected each image tile once, in the order of the names, found another order")


def check_images(names: Sequence[str], where: object) -> None:
    """Make sure that names are those of image tiles, each of which has a place of its own in a folder.

    Raises
    ------
    StoreError
        If one is not.
    """
    bad = [name for name in names if not is_image_name(name)]
    if bad:
        raise StoreError(
            f"{where}: expected names of image tiles like tract=9813/patch=40, of letters, digits and _ . , + = - "
            f"without '..', at most {LONGEST_PART} between two /, found {bad[0]!r:.100}; do not use it"
        )
    files = {f"{name}{SUFFIX}" for name in names}
    inside = [name for name in names if any(str(folder) in files for folder in PurePosixPath(name).parents)]
    if inside:
        raise StoreError(f"{where}: expected each image tile beside the others, found {inside[0]!r} below another")


def open_table(source: Path | BinaryIO, schema: pa.Schema | None = None, *, where: object) -> pq.ParquetFile:
    """Open a version's table to read it batch by batch, if its footer agrees with its size.

    Parameters
    ----------
    source : Path or file
    schema : Schema, optional
        What it has to have, for tables with a key (hence 32 bytes that do not compress) in each row.
    where : object
        Its path or URL.

    Raises
    ------
    StoreError
        If it has another schema, or claims more rows or bytes than it can hold.
    pyarrow.ArrowException
        If it is no Parquet file.
    """
    file = pq.ParquetFile(source, page_checksum_verification=True)
    if schema is not None and not file.schema_arrow.equals(schema):
        raise StoreError(
            f"{where}: expected the columns {schema.names}, found {file.schema_arrow.names}; do not use it"
        )
    n_bytes = source.stat().st_size if isinstance(source, Path) else source.seek(0, io.SEEK_END)
    wrong = _beyond(file.metadata, n_bytes)
    if schema is not None and file.metadata.num_rows * KEY_BYTES > n_bytes:
        wrong = f"{file.metadata.num_rows:,} rows"
    if wrong:
        raise StoreError(f"{where}: expected what {n_bytes:,} bytes can hold, found {wrong}; do not use it")
    return file


def _beyond(metadata: pq.FileMetaData, n_bytes: int) -> str | None:
    """Say what in a footer cannot be true of a file of a size, or would not fit the memory; None if nothing."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    if sum(group.num_rows for group in groups) != metadata.num_rows:
        return f"row groups that are not of {metadata.num_rows:,} rows together"
    for group in groups:
        for column in (group.column(number) for number in range(group.num_columns)):
            start = column.dictionary_page_offset or column.data_page_offset
            size = column.total_compressed_size
            if start < 0 or size < 0 or start + size > n_bytes:
                return f"a column of {size:,} bytes at {start:,}"
            if not 0 <= column.total_uncompressed_size <= LARGEST_COLUMN:
                return f"a column of {column.total_uncompressed_size:,} bytes, unpacked"
    return None


def tile_entries(table: pa.Table, kind: Kind = SKY) -> list[AnyEntry]:
    """Read what `tile_table` made."""
    entries: list[AnyEntry] = []
    for row in table.to_pylist():
        counts = {name: row.pop(name) for name in ("n_in", "n_ok", "n_flagged")}
        reasons = {name: dict(row.pop(name)) for name in ("flagged", "quarantined", "excluded")}
        entries.append(kind.entry(**row, accounting=Accounting.from_dict(counts | reasons)))
    return entries


def quarantine_table(failures: Sequence[AnyQuarantined], kind: Kind = SKY) -> pa.Table:
    """Give one row per tile that failed, in the order of the sky, or of the names of image tiles."""
    ordered = sorted(failures, key=lambda failure: in_order(failure.tile))
    rows = [{name: getattr(row, name) for name in kind.quarantine.names} for row in ordered]
    return pa.Table.from_pylist(rows, schema=kind.quarantine)


def read_quarantine(path: Path, kind: Kind = SKY) -> list[AnyQuarantined]:
    """Read what `quarantine_table` made.

    Raises
    ------
    StoreError
        If it is of another form or size, or names what is no image tile.
    pyarrow.ArrowException
        If it is no Parquet file.
    """
    table = open_table(path, kind.quarantine, where=path).read()
    if kind is IMAGES:
        _check_names(table, path)
    return [kind.failed(**row) for row in table.to_pylist()]


def table_digest(batches: Iterable[pa.RecordBatch], names: Sequence[str]) -> str:
    """Give the SHA-256 of what a table says, whatever the version of Parquet that says it and however it is cut."""
    hashers = [hashlib.sha256() for _ in names]
    for batch in batches:
        for hasher, column in zip(hashers, batch.columns, strict=True):
            if len(column):  # what stands between the brackets, so that it does not matter where batches end
                hasher.update(canonical_json([_plain(value) for value in column.to_pylist()])[1:-1] + b",")
    return digest({"columns": [[name, hasher.hexdigest()] for name, hasher in zip(names, hashers)]})


def _plain(value: Any) -> Any:
    """Give what JSON has no number for, NaN and infinity, as text: a source may be put aside for just that position."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def count_reasons(batches: Iterable[pa.RecordBatch], counts: Counter[str]) -> Iterator[pa.RecordBatch]:
    """Pass batches on and count the rows of each `reason`."""
    for batch in batches:
        counts.update(batch.column("reason").to_pylist())
        yield batch


def write_rows(path: Path, rows: LongTable) -> None:
    """Write a table batch by batch."""
    with pq.ParquetWriter(path, rows.schema, compression="zstd", write_page_checksum=True) as writer:
        for batch in rows.to_batches():
            writer.write_batch(batch)
