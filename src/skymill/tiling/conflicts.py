"""Ids that stand at two positions on the sky, found in parallel, range of ids by range."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skymill.compute import Task, run_tasks
from skymill.config import ComputeSettings
from skymill.tiling.identity import INDEX, id_extents, id_ranges, ids_at_two_positions

IDS_AT_ONCE = 4_000_000
"""Rows of the range of ids that one task compares."""
TOLERATED = 1000
"""As many rows may share their id with another position, however small the survey; beyond, half of all rows."""


def find_conflicts(
    indexes: Sequence[Path], n_rows: int, settings: ComputeSettings, *, workers: int
) -> NDArray[np.void]:
    """Find the ids that stand at two positions, anywhere on the sky.

    Returns
    -------
    structured ndarray
        (objectId, _healpix_29) of their rows.

    Raises
    ------
    ValueError
        If they are so many that the column cannot be an identifier.
    """
    ranges = id_ranges(indexes, n_ranges=-(-n_rows // IDS_AT_ONCE) or 1)
    if len(ranges) == 1:
        conflicts = ids_at_two_positions(indexes, *ranges[0])
    else:
        tasks = compare_tasks(ranges, indexes, n_rows // len(ranges))
        outcome = run_tasks(compare_ids, tasks, workers=workers, settings=settings, describe="comparing ids")
        if outcome.failures:
            raise RuntimeError(f"comparing ids failed: {next(iter(outcome.failures.values()))}")
        conflicts = np.concatenate([np.empty(0, INDEX), *outcome.results.values()])
    if len(conflicts) > max(TOLERATED, n_rows / 2):
        raise ValueError(
            f"expected objectId to tell sources apart, found {len(np.unique(conflicts['objectId']))} ids that stand at "
            f"{len(conflicts)} different positions (e.g. {conflicts['objectId'][0]}), out of {n_rows} rows; "
            "correct `id` in the survey's file: another column, or `pack` or `hash` of several"
        )
    return conflicts


def compare_tasks(ranges: Sequence[tuple[int, int]], indexes: Sequence[Path], weight: int) -> list[Task]:
    """Make a task of each range, of the parts that may have ids in it."""
    lowest, highest = id_extents(indexes).T
    tasks = []
    for low, high in ranges:
        some = np.flatnonzero((lowest <= high) & (highest >= low)).tolist()
        tasks.append(Task(f"ids from {low} to {high}", weight, (low, high, [indexes[k] for k in some])))
    return tasks


def compare_ids(work: tuple[int, int, list[Path]]) -> NDArray[np.void]:
    """Do one of `compare_tasks`."""
    low, high, indexes = work
    return ids_at_two_positions(indexes, low, high)
