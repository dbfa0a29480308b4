"""The partition: one group's sources, from the spill into the tiles of the source catalogue."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from skymill.compute import TileGroup, TilesFailedError, TileTask, run_group
from skymill.config import RunConfig
from skymill.sky import Tile
from skymill.store import short
from skymill.store.durable import staged
from skymill.store.manifest import AnyEntry
from skymill.survey import Survey
from skymill.tiling.content import Bucket
from skymill.tiling.files import TilingFiles
from skymill.tiling.grouping import Group
from skymill.tiling.reading import key_parts, read_parts
from skymill.tiling.settings import settings_digest, tile_algorithm
from skymill.tiling.settling import CONFLICTING_ID
from skymill.tiling.spill import PartRecord, Piece, holders, pieces_of
from skymill.tiling.tile import CATALOGUE, GroupWork, TileResult, make_tile

logger = logging.getLogger(__name__)
QUARANTINED = pa.schema(
    [
        ("objectId", pa.int64()),
        ("coord_ra", pa.float64()),
        ("coord_dec", pa.float64()),
        ("tile", pa.string()),
        ("reason", pa.string()),
    ]
)
"""Columns of a group's quarantined rows."""


class PartitionError(TilesFailedError):
    """More tiles of a group failed than the settings allow."""


def partition(run: RunConfig, survey: Survey, group_file: str | Path, output: str | Path, *, workers: int) -> Path:
    """Sort one group's sources into its tiles; tiles that stand in the pool are not written again.

    Writes the tiles, the group's manifest `catalogues/sources/groups/{settings12}/{group}.json`, and beside it
    `{group}.quarantine.parquet` with the rows that share an id with a different row.

    Parameters
    ----------
    run : RunConfig
    survey : Survey
        Opened with `tiling.part_rows`.
    group_file : Path
        Written by `plan`.
    output : Path
        Folder of the run.
    workers : int
        Processes; each holds one tile.

    Returns
    -------
    Path
        The manifest.

    Raises
    ------
    PartitionError
        If more tiles fail than `compute.max_quarantined_tiles`.
    RuntimeError
        If the survey has changed since the plan.
    """
    files = TilingFiles(Path(output))
    group = Group.read(group_file)
    tasks = TileGroup(
        catalogue=files.output / "catalogues" / CATALOGUE,
        settings=settings_digest(run, survey.config),
        name=group.name,
        describe=f"sorting {group.name}",
        inputs={"group": group.digest},
        tasks=[TileTask(tile, n_rows, (tile, n_rows)) for tile, n_rows in group.tiles],
    )

    def prepare(todo: Sequence[TileTask]) -> Callable[[tuple[Tile, int]], TileResult]:
        pieces = spilled_pieces(group, run, survey, files, workers=workers)
        conflicts = np.array(group.conflicts, np.int64)
        return partial(_make, work=GroupWork(tasks.catalogue, pieces, conflicts, survey.schema, tile_algorithm()))

    def settle(results: dict[str, TileResult]) -> dict[str, AnyEntry]:
        _write_quarantined(tasks.manifest.with_suffix(".quarantine.parquet"), results)
        return {name: result.entry for name, result in results.items()}

    return run_group(tasks, prepare, workers=workers, settings=run.compute, error=PartitionError, settle=settle)


def spilled_pieces(
    group: Group, run: RunConfig, survey: Survey, files: TilingFiles, *, workers: int
) -> tuple[Piece, ...]:
    """Find a group's rows in the spill; parts whose rows are no longer there, or have changed, are read again.

    Raises
    ------
    RuntimeError
        If the survey no longer has them.
    """
    names = holders(group.buckets, files)
    found = _spilled(group, names, survey, files)
    missing = set(group.buckets) - found.keys()
    if missing:
        again = {name for name in names if not missing.isdisjoint(PartRecord.read(files.part(name).record).buckets)}
        parts = [item for item in key_parts(survey, run.tiling) if short(item.key) in again]
        logger.info("group %s: spilled rows are gone; reading %d parts again", group.name, len(parts))
        read_parts(parts, run, survey, files, workers=workers)
        found = _spilled(group, names, survey, files)
    lost = set(group.buckets) - found.keys()
    if lost:
        raise RuntimeError(
            f"group {group.name}: {len(lost)} of its {len(set(group.buckets))} pieces are in no part of survey "
            f"'{survey.config.name}': it has changed since the plan; run `tiling_plan` again"
        )
    return tuple(found[bucket] for bucket in group.buckets)


def _spilled(group: Group, names: Sequence[str], survey: Survey, files: TilingFiles) -> dict[Bucket, Piece]:
    """Find a group's buckets among the spilled rows of some parts, and read them to the end."""
    wanted, found = set(group.buckets), dict[Bucket, Piece]()
    for name in names:
        record = PartRecord.read(files.part(name).record)
        for bucket, piece in pieces_of(record, name, survey.schema, files):
            if bucket in wanted and bucket not in found:
                if piece.is_whole(bucket, survey.schema):
                    found[bucket] = piece
                else:
                    logger.warning("%s: rows of %s changed since they were written", piece.rows.path, group.name)
    return found


def _make(item: tuple[Tile, int], *, work: GroupWork) -> TileResult:
    return make_tile(*item, work)


def _write_quarantined(path: Path, results: dict[str, TileResult]) -> None:
    """List the rows that were quarantined, tile by tile."""
    with staged(path) as file, pq.ParquetWriter(file, QUARANTINED) as writer:
        for name, (_, rows) in results.items():
            columns = [np.ascontiguousarray(rows[field]) for field in rows.dtype.names or ()]
            writer.write_table(
                pa.table([*columns, [name] * len(rows), [CONFLICTING_ID] * len(rows)], schema=QUARANTINED)
            )
