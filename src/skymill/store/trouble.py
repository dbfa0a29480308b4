"""What to do about a disk, a file server or a limit that refuses: said once, wherever files are read or written."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

_FULL = "free space or raise the quota"
_CLOSED = "make it writable or choose another output"
_OPEN = "raise `ulimit -n`"
MENDS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EROFS: _CLOSED,
    errno.EACCES: _CLOSED,
    errno.EPERM: _CLOSED,
    errno.EMFILE: _OPEN,
    errno.ENFILE: _OPEN,
    errno.EIO: "check the disk or the file server",
}


class TroubleError(OSError):
    """An error of the operating system, with the file it befell and what to do."""


@contextlib.contextmanager
def explained(path: str | Path, doing: str) -> Iterator[None]:
    """Say of errors that have a mend which file they befell and what the mend is; others pass as they are.

    Parameters
    ----------
    path : Path
        The file that is meant to come out of the block or to be read by it.
    doing : str
        `writing`, `reading`, ...

    Raises
    ------
    TroubleError
        In the place of an OSError with a number of `MENDS`; keeps the number.
    """
    try:
        yield
    except TroubleError:
        raise
    except OSError as error:
        if error.errno not in MENDS:
            raise
        at = f" at {error.filename}" if error.filename and str(error.filename) != str(path) else ""
        rest = "; nothing half-written has a final name" if doing == "writing" else ""
        raise TroubleError(
            error.errno,
            f"{os.strerror(error.errno)} while {doing} {path}{at}: {MENDS[error.errno]} and run again{rest}",
        ) from error
