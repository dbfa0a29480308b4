"""The tables of a sealed version: its tiles and its failures."""

from __future__ import annotations

import hashlib
import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from skymill.sky import tile_range
from skymill.store.accounting import Accounting
from skymill.store.keys import canonical_json, digest
from skymill.store.manifest import Quarantined, TileEntry

REASONS = pa.map_(pa.string(), pa.int64())
TILES = pa.schema(
    [
        ("order", pa.int8()),
        ("pixel", pa.int64()),
        ("key", pa.string()),
        ("sha256", pa.string()),
        ("n_bytes", pa.int64()),
        ("n_rows", pa.int64()),
        ("n_in", pa.int64()),
        ("n_ok", pa.int64()),
        ("n_flagged", pa.int64()),
        ("flagged", REASONS),
        ("quarantined", REASONS),
        ("excluded", REASONS),
    ]
)
QUARANTINE = pa.schema(
    [("order", pa.int8()), ("pixel", pa.int64()), ("key", pa.string()), ("reason", pa.string()), ("n_in", pa.int64())]
)


class LongTable(Protocol):
    """Rows that may be too many for the memory; a `pyarrow.Table` is of this kind."""

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""

    def to_batches(self) -> Iterable[pa.RecordBatch]:
        """Give the rows, the same each time."""


def tile_table(entries: Sequence[TileEntry]) -> pa.Table:
    """Give one row per tile, in the order of the sky."""
    ordered = sorted(entries, key=lambda entry: tile_range(entry.tile))
    columns: dict[str, list[Any]] = {name: [] for name in TILES.names}
    for name in ("order", "pixel", "key", "sha256", "n_bytes", "n_rows"):
        columns[name] = [getattr(entry, name) for entry in ordered]
    for name in ("n_in", "n_ok", "n_flagged"):
        columns[name] = [getattr(entry.accounting, name) for entry in ordered]
    for name in ("flagged", "quarantined", "excluded"):
        columns[name] = [sorted(getattr(entry.accounting, name).items()) for entry in ordered]
    return pa.Table.from_pydict(columns, schema=TILES)


def tile_entries(table: pa.Table) -> list[TileEntry]:
    """Read what `tile_table` made."""
    entries = []
    for row in table.to_pylist():
        counts = {name: row.pop(name) for name in ("n_in", "n_ok", "n_flagged")}
        reasons = {name: dict(row.pop(name)) for name in ("flagged", "quarantined", "excluded")}
        entries.append(TileEntry(**row, accounting=Accounting.from_dict(counts | reasons)))
    return entries


def quarantine_table(failures: Sequence[Quarantined]) -> pa.Table:
    """Give one row per tile that failed, in the order of the sky."""
    names = QUARANTINE.names
    ordered = sorted(failures, key=lambda failure: tile_range(failure.tile))
    return pa.Table.from_pylist([{name: getattr(row, name) for name in names} for row in ordered], schema=QUARANTINE)


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


def read_rows(path: Path) -> pq.ParquetFile:
    """Open a table to read it batch by batch (`iter_batches`).

    Raises
    ------
    pyarrow.ArrowInvalid
        If it is none.
    """
    return pq.ParquetFile(path, page_checksum_verification=True)


def from_parquet(content: bytes) -> pa.Table:
    """Read the bytes of a Parquet file.

    Raises
    ------
    pyarrow.ArrowInvalid
        If they are none.
    """
    return pq.read_table(io.BytesIO(content), page_checksum_verification=True)
