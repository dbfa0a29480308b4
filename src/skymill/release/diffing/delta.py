"""The changed rows themselves, as Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymill.release.diffing.moved import Pairs
from skymill.release.diffing.rows import ERROR, Rows
from skymill.store.durable import staged

NOT_SCORED = "not_scored"
SIDES = ("before", "after")
LEAST_SHIFT = 1.0
"""Change of a number, in units of its error, from which on a row is in the delta catalogue."""
NO_ID = -1
"""Not null: pandas reads integers with nulls as floats, which ids do not survive."""


def delta_schema(classes: Sequence[str], numbers: Sequence[str]) -> pa.Schema:
    """Give the columns of a delta catalogue: `what` happened, and class, probabilities and numbers on both sides."""
    return pa.schema(
        [
            ("objectId", pa.int64()),
            ("objectId_before", pa.int64()),
            ("_healpix_29", pa.int64()),
            ("coord_ra", pa.float64()),
            ("coord_dec", pa.float64()),
            ("what", pa.string()),
            ("magnitude", pa.float32()),
            ("class_before", pa.string()),
            ("class_after", pa.string()),
            *((f"p_{name}_{side}", pa.float32()) for side in SIDES for name in classes),
            *((f"{name}{word}_{side}", pa.float32()) for side in SIDES for name in numbers for word in ("", ERROR)),
            ("change", pa.float32()),
            ("surprise", pa.float32()),
        ]
    )


def delta_table(
    pairs: Pairs,
    removed: Rows,
    added: Rows,
    *,
    classes: Sequence[str],
    numbers: Sequence[str],
    least_change: float,
) -> pa.Table:
    """Give the rows that were removed, added, or changed: by at least so much, to or from a class, to or from not
    scored, or in a number by `LEAST_SHIFT` or more, or to or from not told.

    Parameters
    ----------
    pairs : Pairs
    removed, added : Rows
    classes, numbers : sequence of str
    least_change : float
        Of |Δp|.

    Returns
    -------
    Table
        In the order of the sky; `delta_schema`.
    """
    kept = (pairs.change >= least_change) | (pairs.before.kind != pairs.after.kind)
    told = [np.isfinite(each.numbers) for each in (pairs.before, pairs.after)]
    kept |= (np.abs(pairs.shift) >= LEAST_SHIFT).any(axis=1) | (told[0] != told[1]).any(axis=1)
    before, after = pairs.before[kept], replace(pairs.after, magnitude=pairs.magnitude)[kept]
    parts = [
        _part("changed", before, after, classes, numbers, pairs.change[kept], pairs.surprise[kept]),
        _part("removed", removed, None, classes, numbers),
        _part("added", None, added, classes, numbers),
    ]
    return pa.concat_tables(parts).sort_by([("_healpix_29", "ascending"), ("objectId", "ascending")])


def _part(
    what: str,
    before: Rows | None,
    after: Rows | None,
    classes: Sequence[str],
    numbers: Sequence[str],
    change: NDArray[np.float64] | None = None,
    surprise: NDArray[np.float64] | None = None,
) -> pa.Table:
    rows = after if after is not None else before
    assert rows is not None
    n = len(rows)
    columns: dict[str, Any] = {
        "objectId": rows.object_id,
        "objectId_before": np.full(n, NO_ID) if before is None else before.object_id,
        "_healpix_29": rows.healpix29,
        "coord_ra": rows.ra,
        "coord_dec": rows.dec,
        "what": [what] * n,
        "magnitude": rows.magnitude,
        "class_before": None if before is None else _names(before.kind, classes),
        "class_after": None if after is None else _names(after.kind, classes),
        "change": change,
        "surprise": surprise,
    }
    for side, those in zip(SIDES, (before, after), strict=True):
        for place, name in enumerate(classes):
            columns[f"p_{name}_{side}"] = None if those is None else those.probabilities[:, place]
        for place, name in enumerate(numbers):
            columns[f"{name}_{side}"] = None if those is None else those.numbers[:, place]
            columns[f"{name}{ERROR}_{side}"] = None if those is None else those.errors[:, place]
    schema = delta_schema(classes, numbers)
    arrays = [
        pa.nulls(n, field.type) if columns[field.name] is None else pa.array(columns[field.name], field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _names(kind: NDArray[np.int64], classes: Sequence[str]) -> list[str]:
    return np.array([*classes, NOT_SCORED])[kind].tolist()


def write_delta(table: pa.Table, path: Path) -> None:
    """Write a part of the delta catalogue; nothing where no row changed."""
    if not len(table):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    words = [field.name for field in table.schema if pa.types.is_string(field.type)]
    with staged(path) as file:  # numbers seldom repeat: with dictionaries they take longer and more space
        pq.write_table(table, file, compression="zstd", use_dictionary=words, write_page_checksum=True)
