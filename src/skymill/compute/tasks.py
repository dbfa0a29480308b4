"""What the runner takes and gives back."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

LARGEST_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Task:
    """One independent piece of work.

    Attributes
    ----------
    name : str
        Unique in its run; the key of the results and the failures.
    weight : int
        How much work it is, in the unit of the progress bar (rows); at least 0.
    payload : object
        What the function is called with; picklable and small (paths and numbers, not arrays).
    """

    name: str
    weight: int
    payload: Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of every task; together the two hold each name once, in the order of the tasks.

    Attributes
    ----------
    results : dict of str to object
        What the function returned.
    failures : dict of str to str
        Why a task has no result, in words for the quarantine.
    """

    results: dict[str, Any]
    failures: dict[str, str]


class ComputeError(RuntimeError):
    """The run cannot go on for a reason that is no task's fault: disk full, no workers, cluster gone."""


class Stopped(SystemExit):
    """A signal asked the run to stop (exit code 128 + signal); ends the program without a traceback."""


def check_tasks(tasks: Sequence[Task]) -> None:
    """Refuse two tasks of one name and negative weights.

    Raises
    ------
    ValueError
        With the first offending name.
    """
    seen: set[str] = set()
    for task in tasks:
        if task.name in seen:
            raise ValueError(f"task names must be unique, found '{task.name}' twice")
        if task.weight < 0:
            raise ValueError(f"task '{task.name}': weight must be at least 0, found {task.weight}")
        seen.add(task.name)


def make_batches(tasks: list[Task], largest: int) -> deque[list[Task]]:
    """Put tasks together, heaviest first, up to a weight of `largest`; a heavier task stands alone.

    Light tasks last lets the workers end at about the same time.
    """
    batches: deque[list[Task]] = deque()
    room = 0
    for task in sorted(tasks, key=lambda task: -task.weight):
        if not batches or task.weight > room or len(batches[-1]) == LARGEST_BATCH:
            batches.append([])
            room = largest
        batches[-1].append(task)
        room -= task.weight
    return batches
