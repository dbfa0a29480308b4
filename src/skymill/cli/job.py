"""What every workflow script does first: log to its file, and end when the workflow ends."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from skymill.cli.chain import Chain
from skymill.compute import ComputeError, GroupLockedError, TilesFailedError, guard_ancestors

logger = logging.getLogger("skymill")
EXPECTED = (ValueError, OSError, ComputeError, GroupLockedError, TilesFailedError)
"""Errors whose message says what is wrong and what to do, so that no traceback is shown."""

ENDS_JOB = {"ends_job": True}


def start_job(snakemake: Any) -> Chain:
    """Set up a script that Snakemake runs, and give the run it belongs to.

    Warnings and uncaught errors also go into the rule's log file, and the process ends with its workflow.
    """
    guard_ancestors()
    configure_logging(Path(snakemake.log[0]))
    return Chain.from_config(snakemake.config)


def files_of(named: Any) -> list[str]:
    """Give the files behind one name of a rule's input; Snakemake gives a single one as a plain string."""
    return [named] if isinstance(named, str) else list(named)


def check_output(written: Path, declared: str) -> None:
    """Make sure that a stage wrote what the workflow waits for.

    Raises
    ------
    RuntimeError
        If code or settings, whose digests stand in the path, have changed since the workflow read them.
    """
    if Path(written).resolve() != Path(declared).resolve():
        raise RuntimeError(
            f"expected to write {declared}, wrote {written}: skymill's code or settings changed while the workflow "
            "was running; run it again"
        )


def configure_logging(path: Path) -> None:
    """Log to `path` and, from level INFO, to the terminal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    to_file = logging.FileHandler(path, mode="w")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    to_terminal = logging.StreamHandler()
    to_terminal.setFormatter(logging.Formatter("%(message)s"))
    to_terminal.addFilter(lambda record: not hasattr(record, "ends_job"))
    logging.basicConfig(level=logging.INFO, handlers=[to_file, to_terminal], force=True)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log what ends the job, into the file alone: Snakemake shows the log of a job that failed."""
    if issubclass(kind, EXPECTED):
        # Our own messages say what is wrong; the traceback is for the log of whoever wants it.
        logger.error("%s: %s", kind.__name__, error, extra=ENDS_JOB)
        logger.debug("traceback", exc_info=(kind, error, trace))
    else:
        logger.critical("%s: %s", kind.__name__, error, exc_info=(kind, error, trace), extra=ENDS_JOB)
