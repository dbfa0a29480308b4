"""`kill -9` of a worker or of snakemake at any moment costs only what was not finished.

One kill of each by default; `make test-faults` does ten.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path

import psutil
import pytest
from snakemake_run import command, environment, pool_digests, run
from survey_files import write_survey

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

KILLS = int(os.environ.get("SKYMILL_KILLS", "1"))
MARKER = "SKYMILL_TEST_RUN"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], float]:
    """A survey, the pool of an undisturbed run of it, and how long the run took."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_survey(folder)
    started = time.monotonic()
    run(folder)
    return folder, pool_digests(folder), time.monotonic() - started


def fresh_copy(source: Path, target: Path) -> Path:
    """Copy the survey without its results."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("results", ".snakemake"))
    return target


def start(folder: Path, marker: str) -> subprocess.Popen[bytes]:
    """Start a run whose processes can be found by `marker`."""
    return subprocess.Popen(
        command(folder),
        env={**environment(), MARKER: marker},
        stdout=(folder / "run.log").open("ab"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def family(marker: str) -> list[psutil.Process]:
    """Every live process that was started by the run of `marker`."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARKER) == marker:
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_until_gone(marker: str, *, seconds: float) -> list[psutil.Process]:
    """Wait for a run's processes to end and give those that did not."""
    deadline = time.monotonic() + seconds
    while (left := family(marker)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def workers(marker: str) -> list[psutil.Process]:
    """Dask's worker processes of a run: the children of a process that runs one of our scripts."""
    return [process for process in family(marker) if "spawn_main" in " ".join(process.cmdline())]


@pytest.mark.parametrize("number", range(KILLS))
def test_killing_snakemake_leaves_nothing_behind(number, undisturbed, tmp_path):
    source, expected, duration = undisturbed
    folder = fresh_copy(source, tmp_path / "survey")
    marker = uuid.uuid4().hex
    process = start(folder, marker)
    time.sleep(random.Random(number).uniform(0.1, 0.95) * duration)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = wait_until_gone(marker, seconds=10)
    assert not left, [entry.cmdline() for entry in left]

    found = pool_digests(folder)
    assert found.items() <= expected.items(), "a tile of the killed run differs"
    run(folder)
    assert pool_digests(folder) == expected
    assert not run(folder).jobs


@pytest.mark.parametrize("number", range(KILLS))
def test_killing_a_worker_changes_nothing(number, undisturbed, tmp_path):
    source, expected, duration = undisturbed
    folder = fresh_copy(source, tmp_path / "survey")
    marker = uuid.uuid4().hex
    process = start(folder, marker)
    time.sleep(random.Random(number).uniform(0.05, 0.7) * duration)
    victim = None
    while victim is None and process.poll() is None:
        alive = workers(marker)
        victim = random.Random(number).choice(alive) if alive else None
        time.sleep(0.02)
    if victim is not None:
        victim.kill()
    process.wait(timeout=600)
    run(folder)
    assert pool_digests(folder) == expected
    assert not wait_until_gone(marker, seconds=10)
