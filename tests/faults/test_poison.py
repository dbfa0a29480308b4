"""Tiles that harm their worker: they are quarantined, all others are made, byte for byte."""

from __future__ import annotations

from pathlib import Path

import lab
import pytest
from fault_sizes import LONG

from skymill.config import ComputeSettings
from skymill.store import GroupManifest, verify

TILES = 100
KINDS = ("raise", "wrong_shape", "segfault", "out_of_memory", "hang")
DEATH = "killed its worker 3 times"
WORDS = {
    "raise": "ValueError: tile {pixel} is broken",
    "wrong_shape": "variable 'values': expected float32 (40, 2), found float32 (40, 1)",
    "segfault": DEATH,
    "out_of_memory": DEATH,
    "hang": "took longer than compute.task_timeout_s",
}
ONE_OF_EACH = dict(zip((7, 23, 41, 60, 88), KINDS, strict=True))
CASES = {"five per cent of all kinds": ONE_OF_EACH, "one segfault": {50: "segfault"}}
if LONG:
    CASES |= {f"one {kind}": {50: kind} for kind in KINDS}
    CASES |= {f"five per cent {kind}": dict.fromkeys(ONE_OF_EACH, kind) for kind in KINDS}
SETTINGS = {"max_quarantined_tiles": 5, "memory_per_worker": "400MB"}
HANG_S = 3.0

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an undisturbed run makes."""
    return lab.expected(tmp_path_factory.mktemp("whole"), TILES)


@pytest.mark.parametrize("guilty", CASES.values(), ids=CASES.keys())
def test_exactly_the_guilty_are_quarantined(guilty, whole, tmp_path: Path, record_property) -> None:
    root = tmp_path / "demo"
    hangs = "hang" in guilty.values()
    settings = ComputeSettings(**SETTINGS, task_timeout_s=HANG_S if hangs else 60.0)
    manifest = GroupManifest.read(lab.run(root, tiles=TILES, guilty=guilty, settings=settings))
    reasons = {entry.pixel: entry.reason for entry in manifest.quarantined}
    innocent = sorted(reasons.keys() - guilty.keys())
    assert not innocent and reasons.keys() == guilty.keys()
    for pixel, deed in guilty.items():
        words = WORDS[deed].format(pixel=pixel)
        # A busy machine may take longer than so short a limit to notice that a worker is dead.
        assert words in reasons[pixel] or (hangs and words == DEATH and WORDS["hang"] in reasons[pixel]), deed
    assert manifest.accounting.check().n_quarantined == lab.ROWS * len(guilty)
    lost = {f"Npix={pixel}" for pixel in guilty}
    assert lab.pool(root) == {name: content for name, content in whole.items() if lost.isdisjoint(Path(name).parts)}
    lab.run(root, tiles=TILES)
    assert lab.pool(root) == whole and verify(root).ok
    record_property("poison tiles quarantined", len(guilty))
    record_property("innocent tiles beside them", TILES - len(guilty))
    record_property("innocent tiles quarantined", len(innocent))
