"""What every workflow script does first: keep a second run out, log to its file, and end when the workflow ends."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from skymill.cli.chain import Chain
from skymill.cli.console import terminal_handler
from skymill.compute import ComputeError, GroupLockedError, TilesFailedError, at_work, group_lock, guard_ancestors

logger = logging.getLogger("skymill")
_held = contextlib.ExitStack()
atexit.register(_held.close)
EXPECTED = (ValueError, OSError, ComputeError, GroupLockedError, TilesFailedError)
"""Errors whose message says what is wrong and what to do, so that no traceback is shown."""

ENDS_JOB = {"ends_job": True}


def start_job(snakemake: Any) -> Chain:
    """Set up a script that Snakemake runs, and give the run it belongs to.

    Warnings and uncaught errors also go into the rule's log file, and the process ends with its workflow. While it
    lives `skymill gc` deletes nothing of the run; one that is at it is waited for.

    Raises
    ------
    GroupLockedError
        If another run is at the same job.
    """
    guard_ancestors()
    lock_job(Path(snakemake.log[0]))
    configure_logging(Path(snakemake.log[0]))
    chain = Chain.from_config(snakemake.config)
    _held.enter_context(at_work(chain.output))
    return chain


def finish_job(snakemake: Any, chain: Chain) -> None:
    """Write the receipt of what the job has made: its ingredients and the digests of its input files."""
    from skymill.cli.operating.ingredients import of_job
    from skymill.cli.operating.receipts import Hasher, Receipt
    from skymill.store import made_with

    digest = Hasher()
    inputs = {path: digest(path) for path in map(os.path.normpath, snakemake.input)}
    model = snakemake.wildcards.get("model") or snakemake.wildcards.get("segmenter", "")
    decides, explains = of_job(chain, snakemake.rule, model=model, inputs=inputs)
    receipt = Receipt(snakemake.rule, os.path.normpath(snakemake.output[0]), decides, explains, inputs, made_with())
    receipt.write(Path(chain.output))


def lock_job(log: Path) -> None:
    """Keep a second run out of a job until this process ends; the lock file stands beside the job's log.

    Raises
    ------
    GroupLockedError
        If another run is at it; names its host and process.
    """
    _held.enter_context(group_lock(log.with_suffix(".lock")))


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
    to_terminal = terminal_handler()
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
