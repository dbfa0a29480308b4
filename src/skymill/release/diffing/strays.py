"""Sources that went from one region to another: removed in one piece, added in another, and yet the same.

The parts of the delta catalogue hold them. Ids are compared a share at a time, by their hash, so that two versions
without a common id fit into memory as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymill.release.diffing.delta import NOT_SCORED, write_delta
from skymill.release.diffing.moved import Moved, Pairs
from skymill.release.diffing.piece import Comparison, Found
from skymill.release.diffing.rows import ERROR, Rows
from skymill.training.split import splitmix64

MOST_IDS = 20_000_000
"""Compared at once."""
PART = "strays"
"""Name of their own part of the delta catalogue."""


def settle_strays(found: Found, shared: Comparison) -> int:
    """Match sources that were removed in one piece and added in another; correct counts and delta catalogue.

    Returns
    -------
    int
        How many there are.
    """
    if not found.n_removed or not found.n_added:
        return 0
    parts = sorted((Path(shared.folder) / "delta").glob("*.parquet"))
    shares = -(-(found.n_removed + found.n_added) // MOST_IDS)
    tables, n = [], 0
    for share in range(shares):
        ids = _in_both(parts, share, shares)
        if not len(ids):
            continue
        before, after = (_take(parts, ids, what, side, shared) for what, side in (("removed", 0), ("added", 1)))
        pairs = Pairs.of(before, after)
        found.moved += Moved.of(pairs, shared.order)
        none = before[np.empty(0, np.int64)]
        tables.append(shared.delta_table(pairs, none, none))
        n += len(ids)
        for part in parts:
            _drop(part, ids)
    if tables:
        write_delta(pa.concat_tables(tables), shared.delta(PART))
    found.n_removed -= n
    found.n_added -= n
    return n


def _in_both(parts: Sequence[Path], share: int, shares: int) -> NDArray[np.int64]:
    """Give the ids of one share that were removed and added, sorted."""
    held: dict[str, list[NDArray[np.int64]]] = {"removed": [], "added": []}
    for part in parts:
        for batch in pq.ParquetFile(part).iter_batches(columns=["objectId", "what"]):
            for what, ids in held.items():
                some = batch.filter(pc.equal(batch["what"], what))["objectId"].to_numpy()
                ids.append(some[splitmix64(some.view(np.uint64)) % np.uint64(shares) == share])
    removed, added = (np.concatenate(ids) for ids in held.values())
    return np.intersect1d(removed, added, assume_unique=True)


def _take(parts: Sequence[Path], ids: NDArray[np.int64], what: str, side: int, shared: Comparison) -> Rows:
    """Read what was removed, or added, of some sorted ids, in their order."""
    wanted = pa.array(ids)
    tables = [
        pq.read_table(part, filters=(pc.field("what") == what) & pc.field("objectId").isin(wanted)) for part in parts
    ]
    table = pa.concat_tables(tables).sort_by("objectId")
    word = ("before", "after")[side]
    names = table[f"class_{word}"].to_pylist()
    places = {name: place for place, name in enumerate(shared.classes)} | {NOT_SCORED: -1}
    chances, numbers, errors = (
        [table[f"{name}_{word}"].to_numpy() for name in names]
        for names in (
            [f"p_{name}" for name in shared.classes],
            shared.numbers,
            [name + ERROR for name in shared.numbers],
        )
    )
    return Rows(
        table["objectId"].to_numpy(),
        table["_healpix_29"].to_numpy(),
        table["coord_ra"].to_numpy(),
        table["coord_dec"].to_numpy(),
        np.full(len(table), side),  # one that moved is changed, whatever its flags
        np.array([places[name] for name in names], np.int64),
        _side_by_side(chances, len(table)),
        table["magnitude"].to_numpy(),
        _side_by_side(numbers, len(table)),
        _side_by_side(errors, len(table)),
    )


def _side_by_side(columns: Sequence[NDArray[np.float32]], n: int) -> NDArray[np.float32]:
    return np.column_stack(columns) if columns else np.empty((n, 0), np.float32)


def _drop(part: Path, ids: NDArray[np.int64]) -> None:
    """Write a part again without some sources that were removed or added."""
    table = pq.read_table(part)
    gone = pc.and_(pc.is_in(table["objectId"], pa.array(ids)), pc.not_equal(table["what"], "changed"))
    if pc.any(gone).as_py():
        part.unlink()
        write_delta(table.filter(pc.invert(gone)), part)
