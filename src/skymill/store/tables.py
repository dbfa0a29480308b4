"""The tables of a sealed version: its tiles and its failures."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from skymill.sky import tile_range
from skymill.store.accounting import Accounting
from skymill.store.keys import canonical_json
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


def content_digest(table: pa.Table) -> str:
    """Give the SHA-256 of what a table says, whatever the version of Parquet that says it."""
    hasher = hashlib.sha256(canonical_json(table.schema.names))
    for column in table.columns:
        hasher.update(canonical_json([_plain(value) for value in column.to_pylist()]))
    return hasher.hexdigest()


def _plain(value: Any) -> Any:
    """Give what JSON has no number for, NaN and infinity, as text: a source may be put aside for just that position."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def to_parquet(table: pa.Table) -> bytes:
    """Give a table as the bytes of a Parquet file."""
    target = io.BytesIO()
    pq.write_table(table, target, compression="zstd")
    return target.getvalue()


def from_parquet(content: bytes) -> pa.Table:
    """Read the bytes of a Parquet file.

    Raises
    ------
    pyarrow.ArrowInvalid
        If they are none.
    """
    return pq.read_table(io.BytesIO(content), page_checksum_verification=True)
