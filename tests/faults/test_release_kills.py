"""`kill -9` of who publishes, goes back, collects garbage or copies, while others read: nobody sees half a release."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import release_deeds as deeds
from fault_sizes import RELEASE_KILLS
from readers import values_digest

from skymill.release import Releases, verify, verify_release
from skymill.store import open_catalogue

from .conftest import Ending, FaultyProcess

HERE = Path(__file__).parent
DEEDS = ("publishing", "rolling_back", "collecting", "copying")
ALREADY = "it is there since"
"""What a second publication is told where the first was killed after its last rename."""

pytestmark = pytest.mark.timeout(3600)


class Reader:
    """A process that reads releases all the time."""

    def __init__(self, which: str, run: Path, truth: Path) -> None:
        self.log = truth.with_name(f"{which}.log")
        with self.log.open("wb") as log:
            command = [sys.executable, str(HERE / "readers.py"), str(run), str(truth), which]
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    @property
    def n_readings(self) -> int:
        """How often it was given what it should be given."""
        return len(self.log.read_bytes().splitlines())

    def check(self) -> None:
        """See that it reads on: it ends as soon as something is wrong."""
        assert self.process.poll() is None, self.log.read_text()

    def wait_for(self, n: int) -> None:
        """Wait until it has read so often."""
        while self.n_readings < n:
            self.check()
            time.sleep(0.01)


@dataclass
class Lab:
    """A run with releases, and what is done to it.

    Attributes
    ----------
    folder : Path
        Of the run's and of the copies.
    faulty : FaultyProcess
    scheduler : str
        Of the cluster that compares.
    versions : list of str
        Those of `release_deeds.SAID`.
    number : int
        Of what was done last.
    calls, seconds : dict
        How many calls each deed makes, and how long it takes where nothing disturbs it.
    """

    folder: Path
    faulty: FaultyProcess
    scheduler: str
    versions: list[str]
    number: int = 1
    calls: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.folder / "results"

    def prepare(self, deed: str, chosen: random.Random) -> dict[str, str]:
        """See that there is something to do, and say what."""
        self.number += 1
        releases = Releases(self.run)
        held = self.versions.index(releases.read(str(releases.current))["catalogues"]["mlp"]["version"])
        if deed == "publishing":
            deeds.seal(self.run, deeds.SAID[1 - held])
            return {"name": f"DR{self.number}", "scheduler": self.scheduler}
        if deed == "collecting":
            deeds.seal(self.run, deeds.other_answers(deeds.FIRST, chosen.random()))
            deeds.seal(self.run, deeds.SAID[held])
            return {}
        told = {"name": chosen.choice(releases.names())}
        return told if deed == "rolling_back" else {**told, "target": f"copy{self.number}"}

    def do(self, deed: str, more: dict[str, str]) -> Ending:
        """Do a deed undisturbed, and measure it."""
        began = time.monotonic()
        ending = self.faulty.do(deed, self.folder, of="release_deeds", **more)
        self.seconds[deed] = min(time.monotonic() - began, self.seconds.get(deed, math.inf))
        self.calls.setdefault(deed, len(ending.calls))
        return ending

    def kill(self, deed: str, more: dict[str, str], chosen: random.Random) -> Ending:
        """Begin a deed and kill it: at one of its calls, or at any time."""
        if chosen.random() < 0.5:
            return self.faulty.do(deed, self.folder, of="release_deeds", at=chosen.randint(1, self.calls[deed]), **more)
        after = chosen.uniform(0.0, self.seconds[deed])
        return self.faulty.do(deed, self.folder, of="release_deeds", after=after, **more)

    def check_visible(self, known: set[str]) -> None:
        """See that whatever has a name is whole, and that the history knows what is current, or what was."""
        releases, report = Releases(self.run), verify(self.run)
        unnoted = [problem for problem in report.problems if problem.path != releases.root / "current"]
        assert not unnoted, report.lines()
        assert releases.current in releases.names() and releases.history()[-1]["current"] in known
        for name in {str(releases.current), releases.names()[-1], *known} & {*releases.names()}:
            assert verify_release(self.run, name).ok, verify_release(self.run, name).lines()
        for copy in self.folder.glob("copy*"):
            assert verify(copy).ok and not verify(copy).extra, verify(copy).lines()

    def check_settled(self, deed: str, more: dict[str, str]) -> None:
        """See that the deed is done, and that nothing else is left of it."""
        releases, report = Releases(self.run), verify(self.run)
        assert report.ok, report.lines()
        assert releases.history()[-1]["current"] == releases.current
        assert [str(path) for path in self.folder.rglob("*.staging/*")] == []
        if deed in ("publishing", "rolling_back"):
            assert releases.current == more["name"]
        elif deed == "collecting":
            assert report.extra == []
        else:
            assert verify(self.folder / more["target"]).ok
            shutil.rmtree(self.folder / more["target"])


@pytest.fixture
def lab(memory: Path, faulty: FaultyProcess, cluster: str) -> Lab:
    """A run with the releases DR1 and DR2, of two versions."""
    folder = memory / "lab"
    deeds.prepare(folder / "results")
    lab = Lab(folder, faulty, cluster, [open_catalogue(folder / "results" / "catalogues" / "mlp").version, ""])
    deeds.seal(lab.run, deeds.SAID[1])
    lab.versions[1] = open_catalogue(lab.run / "catalogues" / "mlp").version
    for deed in DEEDS:
        more = lab.prepare(deed, random.Random(1))
        assert lab.do(deed, more).error == ""
        lab.check_settled(deed, more)
    return lab


@pytest.fixture
def readers(lab: Lab, memory: Path) -> Iterator[tuple[Reader, ...]]:
    """Two processes that read: what is current, and what was current when they began."""
    truth = {}
    for version, said in zip(lab.versions, deeds.SAID):
        catalogue = open_catalogue(lab.run / "catalogues" / "mlp" / "versions" / version)
        rows = catalogue.to_xarray(["objectId", "probabilities"]).compute().sortby("objectId")
        by_id = np.argsort(said.object_id)
        assert np.array_equal(rows["objectId"], said.object_id[by_id])
        expected = np.where(said.scored[by_id, None], said.probabilities[by_id], np.nan)
        assert np.array_equal(rows["probabilities"], expected, equal_nan=True)
        truth[version] = values_digest(catalogue)
    assert len(set(truth.values())) == 2
    (memory / "truth.json").write_text(json.dumps(truth))
    both = tuple(Reader(which, lab.run, memory / "truth.json") for which in ("current", "DR1"))
    for reader in both:
        reader.wait_for(1)
    yield both
    for reader in both:
        reader.process.kill()
        reader.process.wait()


def test_nobody_sees_what_a_killed_one_left_and_the_next_one_clears_it_up(lab: Lab, readers, record_property) -> None:
    chosen, kills = random.Random(10), Counter[str]()
    began = sum(reader.n_readings for reader in readers)
    while kills.total() < RELEASE_KILLS:
        deed = DEEDS[kills.total() % len(DEEDS)]
        more = lab.prepare(deed, chosen)
        before = str(Releases(lab.run).current)
        ending = lab.kill(deed, more, chosen)
        assert ending.error == ""
        lab.check_visible({before, more.get("name", before)})
        if ending.killed:
            kills[deed] += 1
            error = lab.do(deed, more).error
            assert error == "" or (deed == "publishing" and ALREADY in error), error
        lab.check_settled(deed, more)
        for reader in readers:
            reader.check()
    for reader in readers:  # once more, of what stands there in the end
        reader.wait_for(reader.n_readings + 1)
    for deed in DEEDS:
        record_property(f"kills while {deed.replace('_', ' ')} survived", kills[deed])
    record_property("readings of releases meanwhile, all whole", sum(each.n_readings for each in readers) - began)
