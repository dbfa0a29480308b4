"""`kill -9` of a worker or of snakemake at any moment costs only what was not finished.

Part of `make test-faults` alone: each costs some runs of the whole workflow. `tests/faults/test_kills.py` always kills
workers and coordinators.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
import uuid
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
from families import MARKER, command_line, wait_until_gone, workers
from fault_sizes import WORKFLOW_KILLS as KILLS
from once import finished_run
from snakemake_run import THIS, Checkout, Outcome, command, environment, pool_digests, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

CALL = "        value = function(payload)"
LINGER = '''def _linger() -> None:
    """In one call of all, after some others, tell the process and wait to be killed."""
    import contextlib, os, time

    victim = Path(os.environ["TEST_VICTIM"])
    with victim.with_suffix(".calls").open("a") as file:
        file.write(".")
    if victim.with_suffix(".calls").stat().st_size >= int(os.environ["TEST_CALLS"]):
        with contextlib.suppress(FileExistsError), victim.open("x") as file:
            file.write(str(os.getpid()))
            file.flush()
            time.sleep(600)


def _is_infrastructure'''
"""Code for `skymill.compute.worker`, which is in no digest."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A survey and the pool of an undisturbed run of it."""
    folder, _ = finished_run(tmp_path_factory)
    return folder, pool_digests(folder)


def fresh_copy(source: Path, target: Path) -> Path:
    """Copy the survey without its results."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("results", ".snakemake"))
    return target


def start(folder: Path, marker: str, checkout: Checkout = THIS, **variables: str) -> subprocess.Popen[bytes]:
    """Start a run whose processes can be found by `marker`."""
    return subprocess.Popen(
        command(folder, checkout=checkout),
        env={**environment(checkout), MARKER: marker, **variables},
        stdout=(folder / "run.log").open("ab"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )


@pytest.mark.long
@pytest.mark.parametrize("number", range(KILLS))
def test_stopping_and_killing_snakemake_leaves_nothing_behind_but_what_is_finished(
    number, undisturbed, tmp_path, record_property
):
    """First Ctrl-C, which reaches all its processes at once; then, when it has gone on for a while, `kill -9`."""
    source, expected = undisturbed
    folder, chosen = fresh_copy(source, tmp_path / "survey"), random.Random(number)
    log = folder / "run.log"  # of both
    for jobs, end in ((chosen.randint(2, 8), interrupt), (chosen.randint(9, 14), subprocess.Popen.kill)):
        marker = uuid.uuid4().hex
        process = start(folder, marker)
        while process.poll() is None and Outcome(0, log.read_text(), {}).jobs.total() < jobs:
            time.sleep(0.05)
        time.sleep(chosen.uniform(0, 1))
        end(process)
        assert process.wait(timeout=60) != 0, log.read_text()
        left = wait_until_gone(marker, seconds=10)
        assert not left, [command_line(entry) for entry in left]
        found = pool_digests(folder)
        assert found.items() <= expected.items(), "a tile of the ended run differs"

    written = {name: (folder / name).stat().st_mtime_ns for name in found}
    assert run(folder).pool == expected
    assert {name: (folder / name).stat().st_mtime_ns for name in found} == written
    assert not list(folder.glob("results/**/.staging/*"))
    assert not run(folder).jobs
    record_property("snakemake stops and kills survived, whole workflow", 2)


@pytest.mark.long
@pytest.mark.parametrize("number", range(KILLS))
def test_a_run_goes_on_when_workers_are_killed(number, undisturbed, tmp_path, record_property):
    """One as soon as it is there, while its cluster is being started, and one in the middle of a task."""
    source, expected = undisturbed
    folder = fresh_copy(source, tmp_path / "survey")
    marker, victim = uuid.uuid4().hex, folder / "victim"
    code = Checkout.copy(tmp_path / "code")
    code.edit("src/skymill/compute/worker.py", CALL, f"        _linger()\n{CALL}")
    code.edit("src/skymill/compute/worker.py", "def _is_infrastructure", LINGER)
    calls = random.Random(number).randint(1, 15)
    process = start(folder, marker, code, TEST_VICTIM=str(victim), TEST_CALLS=str(calls))
    kill_a_worker(marker, process)
    while process.poll() is None and not (victim.exists() and victim.read_text()):
        time.sleep(0.05)
    log = folder / "run.log"
    assert process.poll() is None, log.read_text()
    os.kill(int(victim.read_text()), signal.SIGKILL)
    assert process.wait(timeout=600) == 0, log.read_text()
    assert "was on a worker that died" in log.read_text()
    assert not wait_until_gone(marker, seconds=10)
    assert pool_digests(folder) == expected
    assert not run(folder, checkout=code).jobs
    record_property("worker kills survived, whole workflow", 2)


def interrupt(process: subprocess.Popen[bytes]) -> None:
    """Press Ctrl-C."""
    os.killpg(process.pid, signal.SIGINT)


def kill_a_worker(marker: str, run: subprocess.Popen[bytes]) -> None:
    """Kill a worker as soon as there is one."""
    while run.poll() is None:
        for worker in workers(marker):
            with suppress(psutil.NoSuchProcess):  # it ended by itself since
                worker.kill()
                return
        time.sleep(0.02)
