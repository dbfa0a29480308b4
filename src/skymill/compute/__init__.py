"""Dask clusters and the task runner that survives bad tiles and dead workers."""

from skymill.compute.family import die_with_parent, guard_ancestors
from skymill.compute.group import TileGroup, TilesFailedError, TileTask, lost_before, run_group
from skymill.compute.lock import GroupLockedError, alone, at_work, group_lock
from skymill.compute.runner import run_tasks
from skymill.compute.tasks import ComputeError, Outcome, Stopped, Task

__all__ = [
    "ComputeError",
    "GroupLockedError",
    "Outcome",
    "Stopped",
    "Task",
    "TileGroup",
    "TileTask",
    "TilesFailedError",
    "alone",
    "at_work",
    "die_with_parent",
    "group_lock",
    "guard_ancestors",
    "lost_before",
    "run_group",
    "run_tasks",
]
