"""The files of one part of the survey: record, count map, index of ids, refused rows, and its sorted rows."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymill.config import SurveyConfig
from skymill.store.durable import staged, write_bytes
from skymill.store.keys import canonical_json
from skymill.survey import Gated, Rejected, SourceSchema
from skymill.survey.ragged import Ragged, observation_dtype
from skymill.survey.summary import Summary
from skymill.tiling.adaptive import CountMap
from skymill.tiling.content import Bucket, part_content
from skymill.tiling.files import TilingFiles
from skymill.tiling.rows import Rows, content_digest, row_dtype

COUNTS = np.dtype([("pixel", "<i8"), ("n_rows", "<i8")])
REJECTED = pa.schema(
    [
        ("part", pa.string()),
        ("row", pa.int64()),
        ("objectId", pa.int64()),
        ("coord_ra", pa.float64()),
        ("coord_dec", pa.float64()),
        ("reason", pa.string()),
        ("kind", pa.string()),
    ]
)

BUCKETS = pa.schema([("sha256", pa.string()), ("part", pa.string())])
"""Columns of the table of buckets; `part` is the name that the part's files share."""


class Stretch(NamedTuple):
    """Some records of a file."""

    path: str
    offset: int
    """Bytes before the first."""
    n_records: int

    def read(self, dtype: np.dtype[np.void]) -> NDArray[np.void]:
        """Map the records into memory; pages are read when they are used."""
        if not self.n_records:
            return np.empty(0, dtype)  # nothing cannot be mapped
        return np.memmap(self.path, dtype, "r", self.offset, self.n_records)


class Piece(NamedTuple):
    """Where a bucket lies: a stretch of the part's sorted rows and, for each nested column, one of observations."""

    rows: Stretch
    nested: tuple[Stretch, ...] = ()

    def is_whole(self, bucket: Bucket, schema: SourceSchema) -> bool:
        """Tell whether what lies there is what was written."""
        rows = self.rows.read(row_dtype(schema))
        return content_digest(rows) == bucket.sha256 and all(
            np.array_equal(column.digests(), rows[f"{name}_digest"])
            for name, column in self.observations(rows, schema).items()
        )

    def observations(self, rows: Rows, schema: SourceSchema) -> dict[str, Ragged]:
        """Map the observations of the piece's rows into memory."""
        return {
            name: Ragged(rows[f"{name}_count"].astype(np.int64), stretch.read(observation_dtype(values)))
            for (name, values), stretch in zip(schema.nested.items(), self.nested, strict=True)
        }


@dataclass(frozen=True)
class PartRecord:
    """What is known of a part that has been read."""

    part: str
    n_in: int
    n_rows: int
    quarantined: Mapping[str, int]
    excluded: Mapping[str, int]
    buckets: tuple[Bucket, ...]
    summary: Summary
    """What its rows look like."""
    n_observations: Mapping[str, list[int]]
    """In each bucket, by name of the nested column."""

    def write(self, path: Path) -> None:
        """Write the record; it is whole or absent."""
        write_bytes(path, canonical_json(asdict(self)) + b"\n")

    @classmethod
    def read(cls, path: Path) -> PartRecord:
        """Read what `write` wrote."""
        values: dict[str, Any] = json.loads(path.read_bytes())
        buckets = tuple(Bucket(**bucket) for bucket in values.pop("buckets"))
        summary = Summary.from_dict(values.pop("summary"))
        return cls(**values, buckets=buckets, summary=summary)


def spill_part(
    name: str,
    gated: Iterable[Gated],
    survey: SurveyConfig,
    *,
    files: TilingFiles,
    key: str,
    group_order: int,
    count_order: int,
    n_rows: int | None = None,
) -> PartRecord:
    """Write everything that is kept of a part, its record last.

    Parameters
    ----------
    name : str
        The part's name, for people.
    gated : iterable of Gated
        Its rows as they leave the gate; one part is held in memory.
    survey : SurveyConfig
    files : TilingFiles
    key : str
        Digest of the part's content and of everything that decides what is written.
    group_order, count_order : int
        Orders of the buckets and of the count map.
    n_rows : int, optional
        Rows that the part has, where that is known.

    Raises
    ------
    ValueError
        If it gave fewer or more; nothing is then kept of it.
    """
    content = part_content(gated, survey, group_order=group_order, count_order=count_order)
    if n_rows is not None and content.n_in != n_rows:
        raise ValueError(f"{name}: expected {n_rows} rows, found {content.n_in}: the reader lost or doubled some")
    paths = files.part(key)
    _save(files.rows(key), content.rows, files)
    for nested, column in content.nested.items():
        _save(files.observations(key, nested), column.values, files)
    if paths.record.is_file():  # only the rows were gone
        return PartRecord.read(paths.record)
    _save(paths.index, content.index, files)
    _save(paths.counts, np.rec.fromarrays(list(content.counts), dtype=COUNTS).view(COUNTS), files)
    _write_rejected(paths.rejected, content.rejected, files)
    refused = {kind: content.refused(kind) for kind in ("quarantined", "excluded")}
    record = PartRecord(
        name,
        content.n_in,
        len(content.rows),
        **refused,
        buckets=content.buckets,
        summary=content.summary,
        n_observations=content.n_observations,
    )
    record.write(paths.record)
    return record


def write_buckets(records: Mapping[str, PartRecord], files: TilingFiles) -> None:
    """Write which part holds which bucket; `records` by the name that a part's files share."""
    pairs = sorted((bucket.sha256, name) for name, record in records.items() for bucket in record.buckets)
    columns = [list(column) for column in zip(*pairs)] or [[], []]
    with staged(files.buckets, staging=files.staging) as file:
        pq.write_table(pa.table(columns, schema=BUCKETS), file)


def holders(buckets: Iterable[Bucket], files: TilingFiles) -> list[str]:
    """Name the parts that hold some buckets, so that a group need not open the records of the whole survey."""
    if not files.buckets.is_file():  # planned before there was the table
        return sorted(path.stem for path in files.parts.glob("*.json"))
    wanted = pa.array(sorted({bucket.sha256 for bucket in buckets}), pa.string())
    table = pq.read_table(files.buckets, schema=BUCKETS)
    held = table.filter(pc.is_in(table["sha256"], value_set=wanted))
    return sorted(set(held["part"].to_pylist()))


def read_counts(path: Path) -> CountMap:
    """Read a part's count map."""
    counts = np.load(path, allow_pickle=False)
    return CountMap(counts["pixel"].copy(), counts["n_rows"].copy())


def pieces_of(record: PartRecord, key: str, schema: SourceSchema, files: TilingFiles) -> Iterator[tuple[Bucket, Piece]]:
    """Say where in a part's files each bucket lies; nothing where one is absent or cut off."""
    per_bucket = [bucket.n_rows for bucket in record.buckets]
    rows = _stretches(files.rows(key), row_dtype(schema), per_bucket)
    nested = [
        _stretches(files.observations(key, name), observation_dtype(values), record.n_observations[name])
        for name, values in schema.nested.items()
    ]
    for bucket, *stretches in zip(record.buckets, rows, *nested):
        yield bucket, Piece(stretches[0], tuple(stretches[1:]))


def _stretches(path: Path, dtype: np.dtype[np.void], n_records: Sequence[int]) -> list[Stretch]:
    """Cut a file into stretches of so many records; none where it is absent or of another size."""
    offset = _header_size(sum(n_records), dtype)
    if not path.is_file() or path.stat().st_size != offset + sum(n_records) * dtype.itemsize:
        return []
    starts = np.cumsum([0, *n_records[:-1]]) * dtype.itemsize + offset
    return [Stretch(str(path), start, n) for start, n in zip(starts.tolist(), n_records)]


def _save(path: Path, array: NDArray[np.void], files: TilingFiles) -> None:
    with staged(path, staging=files.staging) as file:
        np.lib.format.write_array(file, array, allow_pickle=False)


def _header_size(n_records: int, dtype: np.dtype[np.void]) -> int:
    """Bytes that stand before the records in the file of so many."""
    header = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (n_records,)}
    np.lib.format.write_array_header_1_0(header, description)
    return header.tell()


def _write_rejected(path: Path, rejected: list[Rejected], files: TilingFiles) -> None:
    with staged(path, staging=files.staging) as file, pq.ParquetWriter(file, REJECTED) as writer:
        for batch in rejected:
            columns = [
                pa.array([batch.part] * len(batch)),
                *(pa.array(column) for column in (batch.row, batch.object_id, batch.ra, batch.dec)),
                *(pa.array(column.tolist()) for column in (batch.reason, batch.kind)),
            ]
            writer.write_table(pa.table(columns, schema=REJECTED))
