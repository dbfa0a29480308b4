"""Files that are whole or absent: staged under a unique name, fsynced, renamed, their folder fsynced."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from skymill.store.paths import STAGING
from skymill.store.trouble import explained

TAKEN = {errno.ENOTEMPTY, errno.EEXIST}
"""A folder of that name has something in it."""
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


def _unique(staging: Path, name: str) -> Path:
    """Give a path in a staging folder that nobody else uses."""
    return staging / f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex}-{name}"


def _claim(staging: Path, name: str, *, folder: bool) -> tuple[Path, int]:
    """Create an unfinished file or folder under a lock, which tells `sweep` that its writer is alive."""
    make_folder(staging)
    while True:
        path = _unique(staging, name)
        if folder:
            path.mkdir()
        with contextlib.suppress(FileNotFoundError):  # a sweep may come between any two of these lines
            descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if path.exists():
                return path, descriptor
            os.close(descriptor)


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
    TroubleError
        If the disk is full or cannot be written: with what to do about it.
    """
    with explained(path, "writing"):
        temporary, descriptor = _claim(staging or path.parent / STAGING, path.name, folder=False)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 (a descriptor has no path)
                yield file
                file.flush()
                os.fsync(descriptor)
                make_folder(path.parent)
                temporary.replace(path)
            sync_folder(path.parent)
        finally:
            with contextlib.suppress(OSError):  # on a disk that refuses even this it waits for the next sweep
                temporary.unlink()


@contextlib.contextmanager
def staged_folder(path: Path, *, staging: Path, exclusive: bool = False) -> Iterator[Path]:
    """Give an empty folder that gets its name only when the block ends without an error.

    Parameters
    ----------
    path : Path
        The final name, which says what the folder holds: if another writer was faster, that one's stays.
    staging : Path
        Folder for the unfinished one, on the same file system.
    exclusive : bool
        Another writer's stays, but that is an error.

    Raises
    ------
    TroubleError
        If the disk is full or cannot be written: with what to do about it.
    OSError
        If it has another reason.
    """
    with explained(path, "writing"):
        temporary, descriptor = _claim(staging, path.name, folder=True)
        try:
            yield temporary
            for folder, _, names in os.walk(temporary):
                for name in names:
                    if not os.path.islink(os.path.join(folder, name)):  # noqa: PTH114, PTH118 (1e5 of them)
                        _sync_file(Path(folder, name))
                sync_folder(Path(folder))
            make_folder(path.parent)
            try:
                temporary.rename(path)
            except OSError as error:
                if exclusive or error.errno not in TAKEN:
                    raise
            sync_folder(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            os.close(descriptor)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a small file that is whole or absent; a former one is replaced."""
    sweep(path.parent / STAGING)
    with staged(path) as file:
        file.write(content)


def sweep(staging: Path) -> list[Path]:
    """Delete what killed writers left behind, and nothing that a living one may still need; see `stale`.

    Returns
    -------
    list of Path
        The files deleted.
    """
    swept = []
    for path in stale(staging):
        with explained(path, "deleting"), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            swept.append(path)
    return swept


def stale(staging: Path) -> Iterator[Path]:
    """Find what killed writers left behind, one after the other, each under its lock while it is looked at.

    A file of this machine is stale once nobody holds its lock; one of another machine only when it has also not
    been written to for a day, since locks do not reach across every shared file system.
    """
    here = re.compile(rf"{re.escape(socket.gethostname())}-\d+-[0-9a-f]{{32}}-")  # as `_unique` names what is staged
    for path in sorted(staging.iterdir()) if staging.is_dir() else []:
        with explained(path, "deleting"), contextlib.suppress(FileNotFoundError, BlockingIOError):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                ours = here.match(path.name) is not None
                if ours or time.time() - path.stat().st_mtime > FOREIGN_AGE:
                    yield path
            finally:
                os.close(descriptor)


def discard(folder: Path, *, staging: Path) -> None:
    """Delete a folder that nobody ever sees half of: it loses its name, on the disk as well, and then its files.

    Of one who is killed in between, a `sweep` finishes the work.
    """
    make_folder(staging)
    with explained(folder, "deleting"):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            nameless = folder.rename(_unique(staging, folder.name))
            sync_folder(folder.parent)
            sync_folder(staging)
            shutil.rmtree(nameless)
        finally:
            os.close(descriptor)


def remove_empty_folders(folder: Path) -> None:
    """Delete the folders below one as far as no file is in them."""
    for path, _, _ in os.walk(folder, topdown=False):
        if Path(path) == folder:  # it may be a link to another disk
            continue
        try:
            Path(path).rmdir()
        except OSError as error:
            if error.errno not in TAKEN:
                raise
