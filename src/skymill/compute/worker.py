"""What runs in a worker process: its setup and the calls of the user's function."""

from __future__ import annotations

import errno
import os
import pickle  # noqa: TID251 (writes only, to see whether a value can be sent)
import signal
import socket
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from skymill.compute.family import die_with_parent
from skymill.compute.tasks import ComputeError
from skymill.store.trouble import MENDS

INFRASTRUCTURE = set(MENDS) - {errno.EIO}
"""Errors that every following task would meet too: disk or quota full, size limit, read-only, no permission, too many
open files. A disk may fail to read one file only, so that is the task's own trouble."""
FRAMES = 3
LONGEST_MESSAGE = 500


class Answer(NamedTuple):
    """What became of one call.

    `done` carries the value; `failed` (the task's fault) and `infrastructure` (no task's fault) a reason; `dead` (the
    worker ended) nothing.
    """

    kind: Literal["done", "failed", "infrastructure", "dead"]
    value: Any


def dask_setup(worker: Any) -> None:
    """Prepare a local worker; Dask calls this in each new worker process (`preload`)."""
    die_with_parent()
    # Ctrl-C reaches the whole process group, but only the coordinator may decide what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def call_batch(
    function: Callable[[Any], Any], payloads: Sequence[Any], timeout_s: float, folder: str | None = None
) -> list[Answer]:
    """Call `function` with each payload in turn; one that raises does not keep the others from being done.

    `folder` is the coordinator's: paths of a run are relative to it, and a worker somebody else started is elsewhere.
    A call longer than `timeout_s` ends the process: the kernel's alarm also reaches code that never gives the
    interpreter back.
    """
    try:
        if folder is not None and Path(folder) != Path.cwd():
            os.chdir(folder)
    except OSError as error:
        reason = f"{error}: the worker on {socket.gethostname()} does not see the run's folder; share it with all nodes"
        return [Answer("infrastructure", reason)] * len(payloads)
    return [_call(function, payload, timeout_s) for payload in payloads]


def _call(function: Callable[[Any], Any], payload: Any, timeout_s: float) -> Answer:
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        value = function(payload)
        pickle.dumps(value)  # here it is this task's error, later it would be its whole batch's
        return Answer("done", value)
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        return Answer("infrastructure" if _is_infrastructure(error) else "failed", explain(error))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _is_infrastructure(error: BaseException | None) -> bool:
    """Whether `error`, or what it was raised from, is one that every task would meet; a `ComputeError` says so."""
    while error is not None:
        if isinstance(error, (KeyboardInterrupt, ComputeError)):
            return True
        if isinstance(error, OSError) and error.errno in INFRASTRUCTURE:
            return True
        error = error.__cause__ or error.__context__
    return False


def explain(error: BaseException) -> str:
    """Say in a few lines what was raised and where: type, message, notes, innermost calls.

    Files are named by their last two parts, so that the text is the same wherever skymill is installed.
    """
    head = traceback.format_exception_only(error)
    message = "".join(head).strip()[:LONGEST_MESSAGE]
    frames = traceback.extract_tb(error.__traceback__)[1:][-FRAMES:]
    where = [f"{'/'.join(Path(f.filename).parts[-2:])}:{f.lineno} in {f.name}: {f.line}" for f in frames]
    return "\n  ".join([message, *where])
