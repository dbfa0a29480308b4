"""`kill -9` of a worker or of the coordinator of a group, at random moments, and two coordinators at once."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

import families
import lab
import psutil
import pytest
from fault_sizes import COORDINATOR_KILLS, WORKER_KILLS

from skymill.store import GroupManifest, Pool, verify

HERE = Path(__file__).parent
TILES = 60
SECONDS = 0.02
KILLS_PER_COMPLETION = 5

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an undisturbed run makes."""
    return lab.expected(tmp_path_factory.mktemp("whole"), TILES)


class Coordinator:
    """A process that makes the group in `root`."""

    def __init__(self, root: Path, *, seconds: float = SECONDS) -> None:
        self.marker = uuid.uuid4().hex
        self.log = root.parent / f"{self.marker}.log"
        self.root = root
        environment = os.environ | {families.MARKER: self.marker, "PYTHONPATH": os.pathsep.join(sys.path)}
        with self.log.open("wb") as log:
            command = [sys.executable, str(HERE / "lab.py"), str(root), str(TILES), str(seconds)]
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    def kill_a_worker(self, chosen: random.Random) -> bool:
        """Kill one as soon as there is one; False if the run ended before."""
        while self.process.poll() is None:
            if alive := families.workers(self.marker):
                with suppress(psutil.NoSuchProcess):  # it ended by itself since
                    chosen.choice(alive).kill()
                    return True
            time.sleep(0.02)
        return False

    def wait_for_another_tile(self) -> None:
        """Let the run get on: who kills faster than workers start would kill the same tile three times."""
        before = len(lab.pool(self.root))
        while self.process.poll() is None and len(lab.pool(self.root)) == before:
            time.sleep(0.02)

    def finish(self) -> None:
        """Wait for its end, which has to be a good one, and for that of its family."""
        assert self.process.wait(timeout=120) == 0, self.log.read_text()
        assert not families.wait_until_gone(self.marker, seconds=10)


def check_whole(root: Path, whole: dict[str, bytes]) -> None:
    """All tiles byte for byte, none put aside, nothing left over."""
    [manifest] = root.glob("groups/*/*.json")
    assert not GroupManifest.read(manifest).quarantined
    assert lab.pool(root) == whole and verify(root).ok
    Pool(root).sweep()
    assert not list(root.glob(".staging/*"))


def test_killed_workers_cost_nothing(whole, tmp_path: Path, record_property) -> None:
    """The first of each run dies while the cluster is being started."""
    chosen, kills, runs = random.Random(8), 0, 0
    while kills < WORKER_KILLS:
        root = tmp_path / str(runs)
        run = Coordinator(root)
        while kills < WORKER_KILLS and run.kill_a_worker(chosen):
            kills += 1
            run.wait_for_another_tile()
            time.sleep(chosen.uniform(0.0, 0.5))
        run.finish()
        check_whole(root, whole)
        shutil.rmtree(root)
        runs += 1
    record_property("worker kills survived", kills)
    record_property("runs byte for byte the same", runs)
    record_property("innocent tiles quarantined", 0)


def test_a_killed_coordinator_leaves_nobody_and_what_it_finished(whole, tmp_path: Path, record_property) -> None:
    chosen = random.Random(9)
    started = time.monotonic()
    run = Coordinator(tmp_path / "first")
    run.finish()
    duration = time.monotonic() - started
    for number in range(COORDINATOR_KILLS):
        root = tmp_path / str(number // KILLS_PER_COMPLETION)
        run = Coordinator(root)
        time.sleep(chosen.uniform(0.2, 0.9) * duration)
        run.process.kill()
        run.process.wait()
        assert not families.wait_until_gone(run.marker, seconds=10)
        assert lab.pool(root).items() <= whole.items()
        assert not root.exists() or not (root / "tiles").exists() or verify(root).ok
        if (number + 1) % KILLS_PER_COMPLETION == 0:
            Coordinator(root).finish()
            check_whole(root, whole)
            shutil.rmtree(root)
    record_property("coordinator kills survived", COORDINATOR_KILLS)
    record_property("runs byte for byte the same", COORDINATOR_KILLS // KILLS_PER_COMPLETION)


def test_of_two_coordinators_one_is_refused_and_the_result_is_whole(whole, tmp_path: Path) -> None:
    root = tmp_path / "demo"
    both = [Coordinator(root, seconds=0.1) for _ in range(2)]
    codes = [run.process.wait(timeout=120) for run in both]
    assert sorted(codes) == [0, lab.LOCKED], [run.log.read_text() for run in both]
    refused, other = both[codes.index(lab.LOCKED)], both[codes.index(0)]
    holder = f"computed by process {other.process.pid} on {socket.gethostname()}"
    assert holder in refused.log.read_text()
    check_whole(root, whole)
