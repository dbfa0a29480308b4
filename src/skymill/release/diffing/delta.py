"""The changed rows themselves, as Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymill.release.diffing.moved import Pairs
from skymill.release.diffing.rows import Rows
from skymill.store.durable import staged

NOT_SCORED = "not_scored"
NO_ID = -1
"""Not null: pandas reads integers with nulls as floats, which ids do not survive."""


def delta_schema(classes: Sequence[str]) -> pa.Schema:
    """Give the columns of a delta catalogue: `what` happened, and class and probabilities on both sides."""
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
            *((f"p_{name}_{side}", pa.float32()) for side in ("before", "after") for name in classes),
            ("change", pa.float32()),
            ("surprise", pa.float32()),
        ]
    )


def delta_table(pairs: Pairs, removed: Rows, added: Rows, *, classes: Sequence[str], least_change: float) -> pa.Table:
    """Give the rows that were removed, added, or changed by at least so much, or to or from a class, or not scored.

    Parameters
    ----------
    pairs : Pairs
    removed, added : Rows
    classes : sequence of str
    least_change : float
        Of |Δp|.

    Returns
    -------
    Table
        In the order of the sky; `delta_schema`.
    """
    kept = (pairs.change >= least_change) | (pairs.before.kind != pairs.after.kind)
    before, after = pairs.before[kept], replace(pairs.after, magnitude=pairs.magnitude)[kept]
    parts = [
        _part("changed", before, after, classes, pairs.change[kept], pairs.surprise[kept]),
        _part("removed", removed, None, classes),
        _part("added", None, added, classes),
    ]
    return pa.concat_tables(parts).sort_by([("_healpix_29", "ascending"), ("objectId", "ascending")])


def _part(
    what: str,
    before: Rows | None,
    after: Rows | None,
    classes: Sequence[str],
    change: NDArray[np.float64] | None = None,
    surprise: NDArray[np.float64] | None = None,
) -> pa.Table:
    rows = after if after is not None else before
    assert rows is not None
    n = len(rows)
    columns = {
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
    for side, those in (("before", before), ("after", after)):
        for place, name in enumerate(classes):
            columns[f"p_{name}_{side}"] = None if those is None else those.probabilities[:, place]
    schema = delta_schema(classes)
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
