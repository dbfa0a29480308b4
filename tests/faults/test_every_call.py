"""One tile, one manifest, one seal, disturbed at each call that changes a file: nothing or all of it stands there."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import commits
import pytest
from fault_sizes import EVERY_CALL

from skymill.store import verify

from .conftest import ERRORS, KILL, Ending, Fault, FaultyProcess, contents

DEEDS = ("tile", "manifest", "sealing")
MENDS = {
    "disk full": "free space or raise the quota",
    "input/output error": "check the disk",
    "too many open files": "raise `ulimit -n`",
    "read-only": "make it writable",
}

pytestmark = pytest.mark.timeout(3600)


@dataclass(frozen=True)
class Undisturbed:
    """A deed, and what it makes of what."""

    deed: str
    before: Path
    after: dict[str, bytes]

    def fresh(self, target: Path) -> Path:
        """Lay out again what stood there before the deed."""
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.before, target, symlinks=True)
        return target

    def check(self, root: Path, *, pointer_may_lack: bool = False) -> None:
        """Hold what a disturbed deed left against before and after.

        A seal that has written its version and is then refused the pointer says so, and `verify` does too.
        """
        before, found = contents(self.before), contents(root)
        assert before.keys() <= found.keys() <= self.after.keys()
        for name, content in found.items():
            assert content in (before.get(name), self.after[name]), name
        versions = {name for name in found if name.startswith("versions/")}
        assert versions in (set(), {name for name in self.after if name.startswith("versions/")})
        report = verify(root)
        lacking = [problem for problem in report.problems if problem.path != root / "current.json"]
        assert report.ok or (pointer_may_lack and not lacking), report.lines()


@pytest.fixture(scope="module", params=DEEDS)
def undisturbed(request, memory: Path, faulty: FaultyProcess) -> Undisturbed:
    """Do a deed without a fault."""
    deed: str = request.param
    before = memory / deed / "demo"
    commits.prepare(before)
    for earlier in DEEDS[: DEEDS.index(deed)]:
        getattr(commits, earlier)(before)
    root = shutil.copytree(before, before.parent / "after" / "demo", symlinks=True)
    ending = faulty.do(deed, root)
    assert ending == Ending(False, "", ending.calls)
    return Undisturbed(deed, before, contents(root))


def calls_of(state: Undisturbed, root: Path, faulty: FaultyProcess, fault: Fault) -> tuple[str, ...]:
    """The calls that a fault can befall."""
    return faulty.do(state.deed, state.fresh(root), Fault(fault.name, fault.error), at=0).calls


def test_a_kill_at_any_call_leaves_nothing_or_all(undisturbed, faulty, memory, record_property):
    root = memory / "demo"
    calls = calls_of(undisturbed, root, faulty, KILL)
    assert {"open", "write", "fsync", "rename"} <= {call.split()[0] for call in calls}
    for at in range(1, len(calls) + 1):
        ending = faulty.do(undisturbed.deed, undisturbed.fresh(root), KILL, at)
        assert ending.killed and ending.calls[-1].split()[0] == calls[at - 1].split()[0]
        undisturbed.check(root)
        assert faulty.do(undisturbed.deed, root).error == ""
        assert contents(root) == undisturbed.after and not list(root.glob(".staging/*"))
    record_property("kills at single calls survived", len(calls))


@pytest.mark.parametrize("fault", ERRORS, ids=lambda fault: fault.name)
def test_an_error_at_any_call_is_named_and_leaves_nothing_or_all(undisturbed, faulty, fault, memory, record_property):
    root = memory / "demo"
    calls = calls_of(undisturbed, root, faulty, fault)
    met = range(1, len(calls) + 1, EVERY_CALL)
    for at in met:
        ending = faulty.do(undisturbed.deed, undisturbed.fresh(root), fault, at)
        assert not ending.killed and len(ending.calls) >= at
        where = f"{fault.name} at {at}, {calls[at - 1]}: {ending.error}"
        if ending.error:
            assert str(root) in ending.error and MENDS[fault.name] in ending.error, where
        else:  # nothing was lost by it: a folder that is there already, a leftover that stays for the next sweep
            assert calls[at - 1].split()[0] in ("mkdir", "unlink") and contents(root) == undisturbed.after, where
        undisturbed.check(root, pointer_may_lack=True)
        assert faulty.do(undisturbed.deed, root).error == ""
        assert contents(root) == undisturbed.after and not list(root.glob(".staging/*"))
    record_property("errors at single calls survived", len(met))


def test_what_is_renamed_has_reached_the_disk_before_and_its_name_after(undisturbed, faulty, memory):
    """A power cut keeps what was fsynced: a file's bytes before its final name, then the folder's names."""
    calls = [call.split() for call in calls_of(undisturbed, memory / "demo", faulty, KILL)]
    renames = [number for number, (name, _) in enumerate(calls) if name == "rename"]
    assert renames
    for number in renames:
        staged = calls[number][1]
        made = {path for name, path in calls[:number] if name in ("open", "mkdir") and path.startswith(staged)}
        assert made
        for path in made:
            last_write = max((i for i, call in enumerate(calls[:number]) if call == ["write", path]), default=-1)
            assert ["fsync", path] in calls[last_write + 1 : number], path
        assert "fsync" in {name for name, _ in calls[number + 1 :]}
