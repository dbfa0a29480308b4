"""Garbage collection, killed at each call that changes a file: what has a name is whole, the next one finishes."""

from __future__ import annotations

import shutil
from pathlib import Path

import commits
import pytest
from fault_sizes import EVERY_CALL

from skymill.release import verify

from .conftest import ERRORS, KILL, Fault, contents

REFUSALS = [fault for fault in ERRORS if fault.name in ("input/output error", "read-only")]
"""Of those, the ones that stand between a collection and its files: it writes hardly anything."""

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def before(memory: Path) -> Path:
    """A run with garbage."""
    commits.prepare_garbage(memory / "before")
    return memory / "before"


@pytest.fixture
def fresh(before: Path, memory: Path):
    """Lay the run out again."""

    def lay_out() -> Path:
        shutil.rmtree(memory / "run", ignore_errors=True)
        return shutil.copytree(before, memory / "run", symlinks=True)

    return lay_out


def named(folder: Path) -> dict[str, bytes]:
    """What stands under a final name, without locks."""
    return {name: content for name, content in contents(folder).items() if not name.endswith(".lock")}


@pytest.mark.parametrize("fault", [KILL, *REFUSALS], ids=lambda fault: fault.name)
def test_one_who_is_disturbed_leaves_whole_what_has_a_name(before, fresh, faulty, fault, record_property):
    folder = fresh()
    calls = faulty.do("collecting", folder, Fault(fault.name, fault.error)).calls
    after = named(folder)
    assert after.items() < named(before).items() and not verify(folder).extra
    met = range(1, len(calls) + 1, 1 if fault is KILL else EVERY_CALL)
    for at in met:
        ending = faulty.do("collecting", fresh(), fault, at)
        assert ending.killed == (fault is KILL)
        assert after.items() <= named(folder).items() <= named(before).items(), calls[at - 1]
        assert verify(folder).ok, calls[at - 1]
        assert faulty.do("collecting", folder).error == ""
        assert named(folder) == after and not verify(folder).extra
    what = "kills" if fault is KILL else "errors"
    record_property(f"{what} at single calls of gc survived", len(met))
