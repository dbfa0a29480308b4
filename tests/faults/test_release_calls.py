"""Publishing, going back and copying, disturbed at each call that changes a file: a release has its name or has not."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import release_deeds as deeds
from fault_sizes import RELEASE_CALLS

from skymill.release import Releases, verify

from .conftest import ERRORS, KILL, Ending, Fault, FaultyProcess
from .test_every_call import MENDS

ALL = {
    "first_publishing": {},
    "rolling_back": {"name": "DR1"},
    "copying": {"name": "DR1", "target": "copy"},
}
ALREADY = {"first_publishing": "it is there since", "copying": "expected a new name"}
"""What a second one is told where the first one failed after its last rename."""

pytestmark = pytest.mark.timeout(3600)


@dataclass(frozen=True)
class State:
    """A deed, and what stands there before it."""

    deed: str
    before: Path
    lab: Path
    faulty: FaultyProcess

    def do(self, fault: Fault = KILL, at: int = 0) -> Ending:
        """Do the deed."""
        return self.faulty.do(self.deed, self.lab, fault, at, of="release_deeds", **ALL[self.deed])

    def fresh(self) -> None:
        """Lay out again what stood there before."""
        shutil.rmtree(self.lab, ignore_errors=True)
        shutil.copytree(self.before, self.lab, symlinks=True)

    def calls(self, fault: Fault) -> tuple[str, ...]:
        """The calls that a fault can befall."""
        self.fresh()
        return self.do(Fault(fault.name, fault.error)).calls

    def check_visible(self) -> None:
        """See that what has a name is whole; that `current` has moved may not have been noted yet."""
        releases = Releases(self.lab / "results")
        report, unnoted = verify(releases.run), {releases.root / "current", releases.root / "history.jsonl"}
        assert all(each.path in unnoted and each.kind != "corrupt" for each in report.problems), report.lines()
        assert releases.current is None or releases.current in releases.names()
        if (copy := self.lab / "copy").exists():
            assert verify(copy).ok and not verify(copy).extra

    def finish(self) -> None:
        """Do the deed again: all is done, and nothing is left."""
        ending = self.do()
        assert ending.error == "" or ALREADY.get(self.deed, "nothing") in ending.error, ending.error
        releases = Releases(self.lab / "results")
        report = verify(releases.run)
        assert report.ok and not report.extra, report.lines()
        assert releases.current == "DR1" == releases.history()[-1]["current"]
        assert [str(path) for path in self.lab.rglob("*.staging/*")] == []
        assert self.deed != "copying" or verify(self.lab / "copy").ok


@pytest.fixture(scope="module", params=ALL)
def state(request, memory: Path, faulty: FaultyProcess) -> State:
    """A run: sealed; or released, and with another release the current one."""
    before = memory / request.param
    deeds.seal(before / "results", deeds.SAID[0])
    if request.param != "first_publishing":
        assert faulty.do("first_publishing", before, of="release_deeds").error == ""
    if request.param == "rolling_back":
        assert faulty.do("second_publishing", before, of="release_deeds").error == ""
    return State(request.param, before, memory / "lab", faulty)


def test_a_kill_at_any_call_leaves_nothing_or_a_whole_release(state: State, record_property) -> None:
    calls = state.calls(KILL)
    assert {"open", "write", "fsync", "rename"} <= {call.split()[0] for call in calls}
    met = range(len(calls), 0, -RELEASE_CALLS)
    for at in met:
        state.fresh()
        assert state.do(at=at).killed, calls[at - 1]
        state.check_visible()
        state.finish()
    record_property("kills at single calls of releases survived", len(met))


@pytest.mark.parametrize("fault", ERRORS, ids=lambda fault: fault.name)
def test_an_error_at_any_call_names_file_and_mend(state: State, fault: Fault, record_property) -> None:
    calls = state.calls(fault)
    met = range(len(calls), 0, -RELEASE_CALLS)
    for at in met:
        state.fresh()
        ending = state.do(fault, at)
        where = f"{fault.name} at {at}, {calls[at - 1]}: {ending.error}"
        assert not ending.killed and len(ending.calls) >= at, where
        if ending.error:
            assert str(state.lab) in ending.error and MENDS[fault.name] in ending.error, where
        else:  # nothing was lost by it: a folder that is there already, a leftover that stays for the next sweep
            assert calls[at - 1].split()[0] in ("mkdir", "unlink"), where
        state.check_visible()
        state.finish()
    record_property("errors at single calls of releases survived", len(met))
