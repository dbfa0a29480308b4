"""The plan: read what is new of the survey, choose tiles, put them into groups."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from skymill.compute import group_lock
from skymill.config import RunConfig, SurveyConfig
from skymill.store import canonical_json, digest, short
from skymill.store.durable import staged, sweep, write_bytes
from skymill.survey import REASONS, SourceSchema, Survey, inventory_digest
from skymill.survey.ragged import observation_dtype
from skymill.survey.summary import Summary
from skymill.survey.suspicion import suspicions
from skymill.tiling.adaptive import TileTable, add_counts, group_of
from skymill.tiling.conflicts import find_conflicts
from skymill.tiling.crowding import tiles_of_any_depth, tiles_of_input
from skymill.tiling.files import TilingFiles
from skymill.tiling.grouping import Group, make_groups
from skymill.tiling.reading import key_parts, read_parts
from skymill.tiling.settings import NOT_OF_TILES, column_map, count_order, max_rows, plan_name
from skymill.tiling.spill import REJECTED, PartRecord, read_counts, write_buckets

logger = logging.getLogger(__name__)

FORMAT = 1
FEW_GROUPS = 4
FEW_ROWS = 100_000
"""A job takes a second or two to begin; a group of fewer rows is done in less than that."""
MAPS_AT_ONCE = 256
"""Count maps of parts that are added at once: one by one, the work would grow as the square of their number."""


def plan(run: RunConfig, survey: Survey, output: str | Path, *, workers: int) -> None:
    """Plan the tiles of a survey; only parts that have not been read before are read.

    Writes `tiling/plan.json`, its copy named by survey and settings, `tiles.parquet`, `quarantine.parquet` and one file
    a group.

    Parameters
    ----------
    run : RunConfig
        Its `tiling` and `compute` settings are used.
    survey : Survey
        Opened with `tiling.part_rows`.
    output : Path
        Folder of the run.
    workers : int
        Processes that read.

    Raises
    ------
    RuntimeError
        If a part cannot be read; every such part is named.
    ValueError
        If the ids do not tell sources apart, or too many rows are quarantined.
    """
    files = TilingFiles(Path(output))
    with group_lock(files.root / ".lock"):
        sweep(files.staging)
        data = inventory_digest(survey)
        keyed = key_parts(survey, run.tiling)
        fresh = [item for item in keyed if not files.part(item.key).record.is_file()]
        logger.info("%d of %d parts are new", len(fresh), len(keyed))
        read_parts(fresh, run, survey, files, workers=workers)
        records = [PartRecord.read(files.part(item.key).record) for item in keyed]
        _write_quarantine([files.part(item.key).rejected for item in keyed], files)
        _check_quarantined(records, run, survey.config, files)
        row_bytes = survey.schema.row_bytes + observation_bytes(records, survey.schema)
        tiles = _tiles(survey, run, [item.key for item in keyed], files, row_bytes=row_bytes)
        indexes = [files.part(item.key).index for item in keyed]
        conflicts = find_conflicts(indexes, sum(record.n_rows for record in records), run.compute, workers=workers)
        planned = make_groups(tiles, records, conflicts, group_order=run.tiling.group_order)
        _hint_at_small_groups(planned, run.tiling.group_order)
        for group in planned:
            group.write(files)
        write_buckets({short(item.key): record for item, record in zip(keyed, records)}, files)
        _write_tiles(tiles, run.tiling.group_order, files)
        summary = _summary(run, survey.config, records, tiles, planned) | {"data": data}
        for warning in summary["warnings"]:
            logger.warning("survey '%s': %s", survey.config.name, warning)
        _write_plan(canonical_json(summary) + b"\n", plan_name(run, survey.config, data), files)


def _check_quarantined(records: Sequence[PartRecord], run: RunConfig, survey: SurveyConfig, files: TilingFiles) -> None:
    """Tell of rows that were put aside; too many of them are a fault of the survey's file."""
    n_in = sum(record.n_in for record in records)
    reasons = sum((Counter(record.quarantined) for record in records), Counter[str]())
    if not reasons:
        return
    share = reasons.total() / n_in
    listed = ", ".join(f"{count:,} {name} ({REASONS[name].meaning})" for name, count in reasons.most_common())
    told = f"{survey.where}: {reasons.total():,} of {n_in:,} rows ({share:.1%}) are quarantined: {listed}"
    if share > run.tiling.max_quarantined_share:
        raise ValueError(
            f"{told}; that is more than tiling.max_quarantined_share ({run.tiling.max_quarantined_share:g}): correct "
            f"the units and columns in {survey.where}, or raise the limit; the rows stand in {files.quarantine}"
        )
    logger.warning("%s; they stand in %s", told, files.quarantine)


def _hint_at_small_groups(planned: Sequence[Group], group_order: int) -> None:
    n_rows = sum(group.n_rows for group in planned) // max(len(planned), 1)
    if group_order > 0 and len(planned) > FEW_GROUPS and n_rows < FEW_ROWS:
        logger.warning(
            "%d groups of %s rows on average, each a job of seconds per stage and model; a lower tiling.group_order "
            "(now %d) makes fewer",
            len(planned),
            f"{n_rows:,}",
            group_order,
        )


def observation_bytes(records: Sequence[PartRecord], schema: SourceSchema) -> int:
    """Give the bytes that the observations of a source take, on average over the survey and rounded up."""
    n_rows = sum(record.n_rows for record in records)
    n_bytes = sum(
        sum(sum(record.n_observations[name]) for record in records) * observation_dtype(values).itemsize
        for name, values in schema.nested.items()
    )
    return -(-n_bytes // max(n_rows, 1))


def _tiles(survey: Survey, run: RunConfig, keys: Sequence[str], files: TilingFiles, *, row_bytes: int) -> TileTable:
    indexes = [files.part(key).index for key in keys]
    native = survey.native_tiles()
    if native is not None:
        return tiles_of_input(native, indexes)
    counts = add_counts([])
    for start in range(0, len(keys), MAPS_AT_ONCE):
        some = keys[start : start + MAPS_AT_ONCE]
        counts = add_counts([counts, *(read_counts(files.part(key).counts) for key in some)])
    return tiles_of_any_depth(
        counts,
        indexes,
        order=count_order(run.tiling),
        lowest_order=run.tiling.lowest_order,
        max_rows=max_rows(run.tiling, row_bytes),
    )


def _summary(
    run: RunConfig, survey: SurveyConfig, records: Sequence[PartRecord], tiles: TileTable, planned: Sequence[Group]
) -> dict[str, Any]:
    quarantined, excluded = Counter[str](), Counter[str]()
    for record in records:
        quarantined.update(record.quarantined)
        excluded.update(record.excluded)
    bounds = run.tiling.model_dump(mode="json", exclude=NOT_OF_TILES)
    return {
        "format": FORMAT,
        "survey": survey.name,
        "settings": {**bounds, "survey": digest(column_map(survey))},
        "gate": {
            "n_in": sum(record.n_in for record in records),
            "n_rows": sum(record.n_rows for record in records),
            "quarantined": dict(quarantined),
            "excluded": dict(excluded),
        },
        "warnings": suspicions(sum((record.summary for record in records), Summary()), survey),
        "n_tiles": len(tiles.order),
        "groups": {
            group.name: {"digest": group.digest, "n_tiles": len(group.tiles), "n_rows": group.n_rows}
            for group in planned
        },
    }


def _write_plan(content: bytes, name: str, files: TilingFiles) -> None:
    """Write the plan and its copy; those of former plans go."""
    write_bytes(files.plan, content)
    named = files.named_plan(name)
    write_bytes(named, content)
    for former in set(files.root.glob(files.named_plan("*").name)) - {named}:
        former.unlink()


def _write_tiles(tiles: TileTable, group_order: int, files: TilingFiles) -> None:
    order, pixel = group_of(tiles, group_order=group_order)
    names = [f"o{k}p{p}" for k, p in zip(order.tolist(), pixel.tolist())]
    table = pa.table({"order": tiles.order, "pixel": tiles.pixel, "group": names, "n_rows": tiles.n_rows})
    with staged(files.tiles, staging=files.staging) as file:
        pq.write_table(table, file)


def _write_quarantine(rejected: Sequence[Path], files: TilingFiles) -> None:
    with staged(files.quarantine, staging=files.staging) as file, pq.ParquetWriter(file, REJECTED) as writer:
        for path in rejected:
            writer.write_table(pq.read_table(path))
