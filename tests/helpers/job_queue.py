"""A queue for cluster jobs on this machine: `job_queue.py FOLDER SCRIPT` submits a script and prints its number.

At most two run at the same time. A job has no ties to whoever submitted it, as on a cluster.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SLOTS = 2


def submit(folder: Path, script: str) -> None:
    """Leave a process behind that waits for a slot and runs the script."""
    print(os.getpid(), flush=True)
    log = os.open(folder / f"{os.getpid()}.log", os.O_WRONLY | os.O_CREAT)
    if os.fork():
        os._exit(0)
    os.setsid()
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    if os.fork():
        os._exit(0)
    with _slot(folder):
        subprocess.run(["bash", script], stdin=subprocess.DEVNULL, check=False)


@contextmanager
def _slot(folder: Path) -> Iterator[None]:
    """Wait until fewer than so many jobs run; notes how many there are then."""
    while True:
        for number in range(SLOTS):
            with (folder / f"slot{number}").open("a") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                file.write(f"{os.getpid()}\n")
                yield
                return
        time.sleep(0.1)


if __name__ == "__main__":
    submit(Path(sys.argv[1]), sys.argv[2])
