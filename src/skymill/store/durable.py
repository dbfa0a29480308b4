"""Files that are whole or absent: staged under a unique name, fsynced, renamed, their folder fsynced."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from skymill.store.paths import STAGING

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FOREIGN_AGE = 24 * 3600.0
"""Seconds after which a leftover of another machine is swept: its lock may not be visible here."""


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, and make each survive a power cut."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        sync_folder(new.parent)


def _create(staging: Path, name: str) -> tuple[Path, BinaryIO]:
    """Open a staging file under a lock, which tells `sweep` that its writer is alive."""
    while True:
        path = staging / f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex}-{name}"
        file = path.open("xb")
        fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():  # else a sweep came between the two lines above
            return path, file
        file.close()


@contextlib.contextmanager
def staged(path: Path, *, staging: Path | None = None) -> Iterator[BinaryIO]:
    """Open a new file that gets its name only when the block ends without an error.

    Parameters
    ----------
    path : Path
        The final name.
    staging : Path, optional
        Folder for the unfinished file, on the same file system; default `.staging` beside `path`.

    Raises
    ------
    OSError
        If the disk is full (with what to do about it), or cannot be written.
    """
    staging = staging or path.parent / STAGING
    make_folder(staging)
    temporary, file = _create(staging, path.name)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            make_folder(path.parent)
            temporary.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in FULL:
            reason = f"{error.strerror} while writing {path}: free space or raise the quota and run again"
            raise OSError(error.errno, f"{reason}; no incomplete file is left") from error
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a small file that is whole or absent; a former one is replaced."""
    with staged(path, staging=path.parent) as file:
        file.write(content)


def sweep(staging: Path) -> list[Path]:
    """Delete what killed writers left behind, and nothing that a living one may still need.

    A file of this machine is stale once nobody holds its lock; one of another machine only when it has also not
    been written to for a day, since locks do not reach across every shared file system.

    Returns
    -------
    list of Path
        The files deleted.
    """
    swept = []
    for path in sorted(staging.iterdir()) if staging.is_dir() else []:
        with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = path.name.startswith(f"{socket.gethostname()}-")
            if ours or time.time() - path.stat().st_mtime > FOREIGN_AGE:
                path.unlink()
                swept.append(path)
    return swept
