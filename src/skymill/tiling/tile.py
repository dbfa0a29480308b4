"""One tile of the source catalogue: gathered from the spill, settled, written to the pool."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymill.sky import Tile
from skymill.sky.healpix import tile_range
from skymill.store import Pool, TileEntry, TileFile, TileWriter, Variable, digest, receipt
from skymill.store.manifest import AnyEntry
from skymill.survey import SourceSchema
from skymill.survey.ragged import Ragged, join, observation_dtype
from skymill.tiling.form import observations, variables
from skymill.tiling.rows import Rows, content_digest, row_dtype, row_order
from skymill.tiling.settling import SettledRows, settle_rows
from skymill.tiling.spill import Piece

CATALOGUE = "sources"


@dataclass(frozen=True)
class GroupWork:
    """What all tiles of a group are made from; small and picklable."""

    catalogue: Path
    pieces: tuple[Piece, ...]
    conflicts: NDArray[np.int64]
    """Ids that stand at two positions on the sky."""
    schema: SourceSchema
    algorithm: str
    """Digest of the code that decides a tile's content."""


class TileResult(NamedTuple):
    """A finished tile, and the rows that were quarantined because of their id."""

    entry: AnyEntry
    quarantined: NDArray[np.void]


def make_tile(tile: Tile, n_rows: int, work: GroupWork) -> TileResult:
    """Make a tile of the source catalogue, unless one of the same key stands in the pool.

    Parameters
    ----------
    tile : Tile
    n_rows : int
        Rows that the plan counted in it.
    work : GroupWork

    Raises
    ------
    ValueError
        If the spill does not hold the rows that the plan counted.
    """
    schema = work.schema
    rows, nested = gather(work.pieces, tile, schema)
    if len(rows) != n_rows:
        raise ValueError(f"{tile}: expected {n_rows} rows in the spill, found {len(rows)}; run `tiling_plan` again")
    settled = settle_rows(rows, work.conflicts)
    ingredients = {
        "rows": content_digest(rows),
        "conflicting_ids": content_digest(np.unique(rows["objectId"][settled.conflicting])),
        "bands": list(schema.bands),
        "photometry": list(schema.photometry),
        "values": [list(item) for item in schema.values.items()],
        "nested": {name: [[key, *value] for key, value in of.items()] for name, of in schema.nested.items()},
        "algorithm": work.algorithm,
    }
    key = digest(ingredients)
    accounting = settled.accounting.check(str(tile))
    pool = Pool(work.catalogue)
    entry = pool.entry(tile, key)
    if entry is None:
        made = receipt(tile, key, ingredients, accounting, catalogue=CATALOGUE)
        form = variables(schema) | observations(schema, {name: column[settled.kept] for name, column in nested.items()})
        file = _write(pool.path(tile, key), settled, form, pool.staging, made)
        entry = TileEntry(*tile, key, file.sha256, file.n_bytes, accounting.n_rows, accounting)
    return TileResult(entry, settled.quarantined)


def gather(pieces: Iterable[Piece], tile: Tile, schema: SourceSchema) -> tuple[Rows, dict[str, Ragged]]:
    """Take a tile's rows out of stretches of sorted rows, reading only the pages that hold them.

    Returns
    -------
    rows : structured ndarray, (n,)
        In their one order.
    nested : dict of Ragged
        Their observations, by name of the nested column.
    """
    dtype = row_dtype(schema)
    slices, columns = [np.empty(0, dtype)], [dict[str, Ragged]()]
    for piece in pieces:
        rows = piece.rows.read(dtype)
        some = slice(*(bisect_left(rows["_healpix_29"], edge) for edge in tile_range(tile)))
        slices.append(rows[some])
        columns.append({name: column[some] for name, column in piece.observations(rows, schema).items()})
    rows = np.concatenate(slices)
    order = row_order(rows)
    nested = {
        name: join([part[name] for part in columns[1:]], observation_dtype(values))[order]
        for name, values in schema.nested.items()
    }
    return np.take(rows, order), nested


def _write(
    path: Path, settled: SettledRows, form: Mapping[str, Variable], staging: Path, made: Mapping[str, Any]
) -> TileFile:
    """Write the kept rows, a chunk at a time."""
    n_rows = int(settled.kept.sum())
    with TileWriter(path, form, n_rows, chunk_rows=settled.chunk_rows, staging=staging) as writer:
        for block in settled.blocks(name for name, variable in form.items() if variable.is_rows):
            writer.append(block)
        return writer.commit(attrs={"catalogue": CATALOGUE}, receipt=made)
