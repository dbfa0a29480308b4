"""`kill -9` of a worker or of snakemake at any moment costs only what was not finished.

One kill of each by default; `make test-faults` does more.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
import uuid
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from families import MARKER, command_line, wait_until_gone, workers
from fault_sizes import WORKFLOW_KILLS as KILLS
from snakemake_run import command, environment, pool_digests, run
from survey_files import write_survey

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


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


@pytest.mark.parametrize("number", range(KILLS))
def test_killing_snakemake_leaves_nothing_behind(number, undisturbed, tmp_path, record_property):
    source, expected, duration = undisturbed
    folder = fresh_copy(source, tmp_path / "survey")
    marker = uuid.uuid4().hex
    process = start(folder, marker)
    time.sleep(random.Random(number).uniform(0.1, 0.95) * duration)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = wait_until_gone(marker, seconds=10)
    assert not left, [command_line(entry) for entry in left]

    found = pool_digests(folder)
    assert found.items() <= expected.items(), "a tile of the killed run differs"
    run(folder)
    assert pool_digests(folder) == expected
    assert not run(folder).jobs
    record_property("snakemake kills survived, whole workflow", 1)


@pytest.mark.parametrize("number", range(KILLS))
def test_killing_a_worker_changes_nothing(number, undisturbed, tmp_path, record_property):
    source, expected, duration = undisturbed
    folder = fresh_copy(source, tmp_path / "survey")
    marker = uuid.uuid4().hex
    process = start(folder, marker)
    time.sleep(random.Random(number).uniform(0.05, 0.7) * duration)
    assert kill_a_worker(marker, process, choice=random.Random(number)), (folder / "run.log").read_text()
    process.wait(timeout=600)
    run(folder)
    assert pool_digests(folder) == expected
    assert not wait_until_gone(marker, seconds=10)
    record_property("worker kills survived, whole workflow", 1)


def kill_a_worker(marker: str, run: subprocess.Popen[bytes], *, choice: random.Random) -> bool:
    """Kill a worker as soon as there is one; False if the run ended before."""
    while run.poll() is None:
        alive = workers(marker)
        if alive:
            with suppress(psutil.NoSuchProcess):  # it ended by itself since
                choice.choice(alive).kill()
                return True
        time.sleep(0.02)
    return False
