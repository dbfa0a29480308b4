"""What is made once for all processes of a test session: whole runs, which tests then only copy."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from snakemake_run import Checkout, run
from survey_files import write_survey


def made_once(name: str, tmp_path_factory: pytest.TempPathFactory, make: Callable[[Path], object]) -> Path:
    """Give a folder that `make` has filled; of several processes one calls it, and the others wait."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = root / name, root / f"{name}.done"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def finished_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Checkout]:
    """Give the folder of a finished run of the small survey, and the code that made it; both only to be copied."""
    code = Checkout(made_once("finished_code", tmp_path_factory, Checkout.copy))

    def make(folder: Path) -> None:
        write_survey(folder)
        run(folder, checkout=code)

    return made_once("finished", tmp_path_factory, make), code
