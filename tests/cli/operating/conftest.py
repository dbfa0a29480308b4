"""One finished run that all tests of this folder look at; whoever changes it takes a copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from once import finished_run
from snakemake_run import Checkout

from skymill.cli.chain import Chain
from skymill.cli.operating.jobs import Workflow
from skymill.config import read_yaml


@pytest.fixture(scope="session")
def code(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The code that made the run; a copy, so that a test may edit one of its own."""
    return finished_run(tmp_path_factory)[1]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the workflow has run to its end."""
    return finished_run(tmp_path_factory)[0]


@pytest.fixture
def folder(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run, file times kept, which is the working directory."""
    copy = tmp_path / "run"
    shutil.copytree(finished, copy, symlinks=True)
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture
def workflow(folder: Path) -> Callable[[], Workflow]:
    """Look at the copy anew."""
    return lambda: Workflow(Chain.from_config(read_yaml(folder / "config.yaml")))
