"""The partition: one group's sources, from the spill into the tiles of the source catalogue."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymill.compute import Task, group_lock, run_tasks
from skymill.config import RunConfig
from skymill.sky import Tile
from skymill.store import GroupManifest, Pool, Quarantined
from skymill.store import group_file as manifest_file
from skymill.store.durable import staged
from skymill.survey import SourceSchema, Survey
from skymill.tiling.files import TilingFiles
from skymill.tiling.grouping import Group
from skymill.tiling.reading import key_parts, read_parts
from skymill.tiling.rows import row_dtype
from skymill.tiling.settings import settings_digest, tile_algorithm
from skymill.tiling.spill import PartRecord, bucket_file, is_spilled
from skymill.tiling.tile import CATALOGUE, CONFLICTING_ID, TileJob, TileResult, make_tile

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Work:
    """What every task of a group is told."""

    group: str
    catalogue: Path
    files: TilingFiles
    schema: SourceSchema
    algorithm: str


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
    RuntimeError
        If more tiles fail than `compute.max_quarantined_tiles`, or the survey has changed since the plan.
    """
    files = TilingFiles(Path(output))
    group = Group.read(group_file)
    settings = settings_digest(run, survey.config)
    catalogue = files.output / "catalogues" / CATALOGUE
    manifest = manifest_file(catalogue, settings, group.name)
    with group_lock(manifest.with_suffix(".lock")):
        Pool(catalogue).sweep()
        restore_spill(group, run, survey, files, workers=workers)
        work = _Work(str(group_file), catalogue, files, survey.schema, tile_algorithm())
        tasks = [Task(str(tile), n_rows, (tile, n_rows)) for tile, n_rows in group.tiles]
        outcome = run_tasks(
            partial(_make, work=work), tasks, workers=workers, settings=run.compute, describe=f"sorting {group.name}"
        )
        failed = [
            Quarantined(*tile, key="", reason=outcome.failures[str(tile)], n_in=n_rows)
            for tile, n_rows in group.tiles
            if str(tile) in outcome.failures
        ]
        if len(failed) > run.compute.max_quarantined_tiles:
            raise RuntimeError(
                f"group {group.name}: {len(failed)} of {len(tasks)} tiles failed, allowed are "
                f"{run.compute.max_quarantined_tiles} (compute.max_quarantined_tiles):\n"
                + "\n".join(f"{entry.tile}: {entry.reason}" for entry in failed)
            )
        _write_quarantined(manifest.with_suffix(".quarantine.parquet"), outcome.results)
        GroupManifest(
            CATALOGUE,
            settings,
            group.name,
            inputs={"group": group.digest},
            tiles=tuple(result.entry for result in outcome.results.values()),
            quarantined=tuple(failed),
        ).write(manifest)
    return manifest


def restore_spill(group: Group, run: RunConfig, survey: Survey, files: TilingFiles, *, workers: int) -> None:
    """Read again the parts whose spilled rows the group needs and which are no longer there.

    Raises
    ------
    RuntimeError
        If the survey no longer has them.
    """
    dtype = row_dtype(survey.schema)
    missing = {bucket for bucket in group.buckets if not is_spilled(bucket, dtype, files)}
    if not missing:
        return
    parts = [
        item
        for item in key_parts(survey, run.tiling)
        if files.part(item.key).record.is_file()
        and not missing.isdisjoint(PartRecord.read(files.part(item.key).record).buckets)
    ]
    logger.info("group %s: %d spilled files are gone; reading %d parts again", group.name, len(missing), len(parts))
    read_parts(parts, run, survey, files, workers=workers)
    lost = [bucket for bucket in missing if not is_spilled(bucket, dtype, files)]
    if lost:
        raise RuntimeError(
            f"group {group.name}: {len(lost)} of its {len(group.buckets)} pieces are in no part of survey "
            f"'{survey.config.name}': it has changed since the plan; run `tiling_plan` again"
        )


@lru_cache(maxsize=1)
def _group(path: str) -> Group:
    return Group.read(path)


def _make(item: tuple[Tile, int], *, work: _Work) -> TileResult:
    tile, n_rows = item
    group = _group(work.group)
    spilled = tuple(str(bucket_file(bucket, work.files)) for bucket in group.buckets)
    job = TileJob(tile, n_rows, spilled, np.array(group.conflicts, np.int64))
    return make_tile(job, catalogue=work.catalogue, schema=work.schema, algorithm=work.algorithm)


def _write_quarantined(path: Path, results: dict[str, TileResult]) -> None:
    rows: NDArray[np.void]
    tables = []
    for name, (entry, rows) in results.items():
        columns = {field: np.ascontiguousarray(rows[field]) for field in rows.dtype.names or ()}
        constant = {"tile": [name] * len(rows), "reason": [CONFLICTING_ID] * len(rows)}
        tables.append(pa.table({**columns, **constant}))
        assert entry.accounting.n_quarantined == len(rows)
    with staged(path) as file:
        pq.write_table(pa.concat_tables(tables), file)
