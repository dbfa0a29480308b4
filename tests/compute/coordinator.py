"""To be killed: `coordinator.py FOLDER DEED SECONDS [guarded]`; logs `tasks are running` at its first result."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from deeds import do

from skymill.compute import Task, group_lock, guard_ancestors, run_tasks
from skymill.config import ComputeSettings


def main(folder: str, deed: str, seconds: int, *, guarded: bool) -> None:
    if guarded:
        guard_ancestors()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    tasks = [Task("first", 1000, ("square", folder, 0)), *(Task(f"t{n}", 1, (deed, folder, seconds)) for n in range(4))]
    settings = ComputeSettings(scratch=folder)
    with group_lock(Path(folder, "group.lock")):
        run_tasks(
            do,
            tasks,
            workers=2,
            settings=settings,
            describe="slow",
            on_result=lambda *_: logging.info("tasks are running"),
        )


main(sys.argv[1], sys.argv[2], int(sys.argv[3]), guarded="guarded" in sys.argv[4:])
