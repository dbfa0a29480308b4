"""One run at a time for a group or any other job; many jobs together, or one who clears up behind them."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TextIO

from skymill.store.trouble import explained

logger = logging.getLogger(__name__)

SECONDS_TO_WRITE_A_NAME = 1.0
UNSUPPORTED = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}
RUN_LOCK = ".run.lock"
"""In a run's folder: held by all its jobs together, or alone by who deletes what they need no more."""


class GroupLockedError(RuntimeError):
    """Another run works on this group, or does this job."""


def group_lock(path: str | os.PathLike[str]) -> AbstractContextManager[None]:
    """Hold the lock file at `path`, or fail at once and say who holds it.

    The kernel frees the lock when its holder ends, however it ends. The file itself stays: removing it would let a
    third run lock a new file of the same name beside the second one.

    Raises
    ------
    GroupLockedError
        If another run holds the lock; names its host and process.
    """
    return _hold(Path(path), "this is being computed by {holder}; wait for it to end, or end it, and run again")


def alone(run: str | os.PathLike[str]) -> AbstractContextManager[None]:
    """Hold the lock of a run's folder while none of its jobs is at work; those that start meanwhile wait.

    Raises
    ------
    GroupLockedError
        If a job is at work.
    """
    return _hold(
        Path(run, RUN_LOCK),
        "jobs of the workflow are at work in this folder; wait for them to end, or end them, and try again",
    )


@contextmanager
def at_work(run: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the lock of a run's folder together with other jobs; wait while somebody holds it `alone`."""
    with _open(Path(run, RUN_LOCK)) as file:
        if not _locked(file, fcntl.LOCK_SH | fcntl.LOCK_NB):
            logger.warning("%s: waiting for %s, which deletes what no job needs", file.name, _holder(file))
            _locked(file, fcntl.LOCK_SH)
        yield


@contextmanager
def _hold(path: Path, refusal: str) -> Iterator[None]:
    """Hold a lock file alone, and write into it who does."""
    with _open(path) as file:
        if not _locked(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
            raise GroupLockedError(f"{path}: {refusal.format(holder=_holder(file))}")
        with explained(path, "writing"):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
        yield
        with explained(path, "writing"):
            file.truncate(0)


def _open(path: Path) -> TextIO:
    with explained(path, "writing"):
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+", encoding="utf-8")


def _locked(file: TextIO, how: int) -> bool:
    """Lock a file; False if somebody else has it."""
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        # Immutable tiles and unique staging names keep two runs from harming each other; only work is done twice.
        logger.warning(
            "%s: this file system has no locks (%s); do not run a group twice at once, nor `skymill gc` meanwhile",
            file.name,
            error,
        )
    return True


def _holder(file: TextIO) -> str:
    """Name who has written into a lock file that it holds it; who has just locked it is given a moment to write."""
    deadline = time.monotonic() + SECONDS_TO_WRITE_A_NAME
    while True:
        file.seek(0)
        if name := file.read().strip():
            return name
        if time.monotonic() > deadline:
            return "another process"
        time.sleep(0.01)
