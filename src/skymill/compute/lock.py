"""One run at a time for a group, or any other job."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)

UNSUPPORTED = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


class GroupLockedError(RuntimeError):
    """Another run works on this group, or does this job."""


@contextmanager
def group_lock(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the lock file at `path`, or fail at once and say who holds it.

    The kernel frees the lock when its holder ends, however it ends. The file itself stays: removing it would let a
    third run lock a new file of the same name beside the second one.

    Raises
    ------
    GroupLockedError
        If another run holds the lock; names its host and process.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise GroupLockedError(
                f"{path}: this is being computed by {holder}; wait for it to end, or end it, and run again"
            ) from None
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            # Immutable tiles and unique staging names keep two runs from harming each other; only work is done twice.
            logger.warning(
                "%s: this file system has no locks (%s); do not run the same group twice at once", path, error
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
        file.truncate(0)
