"""However a run ends, nothing of it goes on running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import families
import psutil
import pytest

from skymill.compute import GroupLockedError, group_lock

HERE = Path(__file__).parent
START_S = 60.0


class Family:
    """Processes that carry one marker in their environment, whoever their parents are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.marker = uuid.uuid4().hex
        self.head: subprocess.Popen[bytes] | None = None

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = os.environ | {families.MARKER: self.marker, "PYTHONPATH": path}
        with self.log.open("wb") as log:
            self.head = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        return self.head

    def members(self) -> list[psutil.Process]:
        return families.family(self.marker)

    def wait_for_tasks(self) -> None:
        wait_until(lambda: b"tasks are running" in self.log.read_bytes(), START_S, self.log)


def wait_until(condition: Callable[[], object], limit_s: float, log: Path) -> None:
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < limit_s, log.read_text()
        time.sleep(0.05)


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    family = Family(tmp_path)
    yield family
    for process in family.members():
        process.kill()
    if family.head:
        family.head.wait()


def coordinator(folder: Path, deed: str = "sleep") -> list[str]:
    return [sys.executable, str(HERE / "coordinator.py"), str(folder), deed, "600"]


@pytest.mark.parametrize("deed", ["sleep", "hang"])
def test_killed_coordinator_leaves_nobody(family: Family, tmp_path: Path, deed: str) -> None:
    """Not even a worker that is in C code and never looks up."""
    head = family.start(*coordinator(tmp_path, deed))
    family.wait_for_tasks()
    assert len(family.members()) >= 3
    head.kill()
    wait_until(lambda: not family.members(), 3, family.log)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_cleanly(family: Family, tmp_path: Path, number: signal.Signals) -> None:
    head = family.start(*coordinator(tmp_path))
    family.wait_for_tasks()
    os.killpg(head.pid, number) if number == signal.SIGINT else head.send_signal(number)
    assert head.wait(timeout=10) == 128 + number
    wait_until(lambda: not family.members(), 3, family.log)
    text = family.log.read_text()
    assert f"slow: stopped by {number.name}; what is finished is kept" in text
    assert "Traceback" not in text
    assert not list(tmp_path.glob("skymill-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("delay_s", [0.1, 0.6])
def test_signal_during_start_is_one_line_and_leaves_nobody(
    family: Family, tmp_path: Path, number: signal.Signals, delay_s: float
) -> None:
    """From the moment the server of the workers is there: it and they import what they need for a second."""
    head = family.start(*coordinator(tmp_path))
    wait_until(lambda: len(family.members()) > 1, START_S, family.log)
    time.sleep(delay_s)
    os.killpg(head.pid, number) if number == signal.SIGINT else head.send_signal(number)
    assert head.wait(timeout=60) == 128 + number
    wait_until(lambda: not family.members(), 3, family.log)
    lines = [line for line in family.log.read_text().splitlines() if line != "tasks are running"]
    assert lines == [f"slow: stopped by {number.name}; what is finished is kept, run again to go on"]


@pytest.mark.parametrize("victim", ["snakemake", "bash"])
def test_run_ends_with_the_workflow(family: Family, tmp_path: Path, victim: str) -> None:
    """Snakemake starts bash, which starts Python; when either is killed, all go."""
    job = " ".join([*coordinator(tmp_path), "guarded"])
    fake = tmp_path / "snakemake"
    fake.write_text(
        f"import subprocess\nsubprocess.run(['bash', '-c', {job + '; true'!r}])\nimport time; time.sleep(600)\n"
    )
    family.start(sys.executable, str(fake))
    family.wait_for_tasks()
    chosen = [
        process
        for process in family.members()
        if any(Path(word).name == victim for word in families.command_line(process)[:2])
    ]
    assert len(chosen) == 1
    chosen[0].kill()
    left = ["snakemake"] if victim == "bash" else []
    wait_until(lambda: len(family.members()) == len(left), 5, family.log)


def test_script_does_not_begin_when_snakemake_is_gone(family: Family, tmp_path: Path) -> None:
    head = family.start(*coordinator(tmp_path), "guarded")
    assert head.wait(timeout=START_S) == 1
    assert "expected Snakemake among the ancestors of this process, found none" in family.log.read_text()
    assert not (tmp_path / "group.lock").exists()


def test_group_is_locked_while_it_is_computed(family: Family, tmp_path: Path) -> None:
    head = family.start(*coordinator(tmp_path))
    family.wait_for_tasks()
    lock = tmp_path / "group.lock"
    with pytest.raises(GroupLockedError, match=f"group.lock: .* computed by process {head.pid} on "), group_lock(lock):
        pass
    head.kill()
    head.wait()
    with group_lock(lock):
        assert str(os.getpid()) in lock.read_text()


def test_groups_do_not_lock_each_other(tmp_path: Path) -> None:
    with group_lock(tmp_path / "new" / "a.lock"), group_lock(tmp_path / "new" / "b.lock"):
        pass
    with group_lock(tmp_path / "new" / "a.lock"):
        pass
