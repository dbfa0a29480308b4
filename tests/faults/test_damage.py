"""Flipped bits, lost bytes, lost files, files in each other's place: `verify` finds all, readers see no wrong value."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from fault_sizes import DAMAGES, FLIPS
from skies import Sky, write_catalogue

from skymill.store import Accounting, Pool, Quarantined, StoreError, group_file, open_catalogue, seal, verify

from .conftest import contents

pytestmark = pytest.mark.timeout(3600)


def make(root: Path) -> None:
    """Two groups, a tile and some rows put aside, two sealed versions."""
    whole = write_catalogue(root, Sky.draw(900, seed=4), order=0, chunk_rows=64)
    *tiles, last = whole.tiles
    lost = Quarantined(*last.tile, last.key, "out of memory", last.n_rows)
    first = replace(whole, group="first", tiles=tuple(tiles[:6]))
    second = replace(whole, group="second", tiles=tuple(tiles[6:]), quarantined=(lost,))
    for group in (first, second):
        group.write(group_file(root, group.settings, group.group))
    group_file(root, whole.settings, whole.group).unlink()
    Pool(root).path(last.tile, last.key).unlink()
    reasons = ["position_missing", "ra_out_of_range"]
    rows = pa.table({"objectId": [7, 8], "coord_ra": [float("nan"), 5.88e8], "reason": reasons})
    aside = Accounting(n_in=2, quarantined=dict.fromkeys(reasons, 1))
    for number in (1, 2):
        seal(root, [first, second], about={"survey": f"drawn {number}"}, quarantined_rows=rows, unplaced=aside)


def read(root: Path) -> dict[str, object]:
    """Everything that a reader can get out of the current version."""
    catalogue = open_catalogue(root)
    values: dict[str, object] = {"about": catalogue.manifest, "tiles": catalogue.tiles.to_dict()}
    everything = catalogue.to_xarray().compute(scheduler="synchronous")
    values |= {str(name): everything[name].values for name in everything}
    values |= {f"near {name}": array.values for name, array in catalogue.cone(0.0, 0.0, 40.0).items()}
    return values


@dataclass(frozen=True)
class Whole:
    """A catalogue as it was written, what it says, and a place for damaged copies."""

    root: Path
    says: dict[str, object]
    target: Path

    def fresh(self) -> Path:
        """Lay out a whole copy."""
        shutil.rmtree(self.target, ignore_errors=True)
        return shutil.copytree(self.root, self.target, symlinks=True)

    def check(self, damage: str) -> bool:
        """See that the damage is found; tell whether a reader noticed it too (else it reads what was written)."""
        report = verify(self.target)
        assert not report.ok, f"not found by verify: {damage}"
        assert all(problem.mend for problem in report.problems)
        try:
            found = read(self.target)
        except (StoreError, FileNotFoundError):
            return True
        for name, values in self.says.items():
            same = np.array_equal(values, found[name]) if isinstance(values, np.ndarray) else values == found[name]
            assert same, f"read back in silence: {damage} in '{name}'"
        return False


@pytest.fixture(scope="module")
def whole(memory: Path) -> Iterator[Whole]:
    root = memory / "whole" / "demo"
    make(root)
    assert verify(root).ok and not verify(root).extra
    yield Whole(root, read(root), memory / "damaged" / "demo")


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def links(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_symlink())


def pick(number: int, paths: list[Path], chosen: random.Random) -> Path:
    """Choose a path, one kind after the other, so that each has its turn and small files their share."""
    kinds: dict[str, list[Path]] = {}
    for path in paths:
        kind = "link" if path.is_symlink() else "tile" if path.suffix == ".zip" else path.name
        kinds.setdefault(kind, []).append(path)
    return chosen.choice(sorted(kinds.items())[number % len(kinds)][1])


def test_every_flipped_bit_is_found(whole: Whole, record_property) -> None:
    chosen = random.Random(6)
    root, noticed = whole.fresh(), 0
    for number in range(FLIPS):
        path = pick(number, files(root), chosen)
        content = path.read_bytes()
        spoilt, place, bit = bytearray(content), chosen.randrange(len(content)), chosen.randrange(8)
        spoilt[place] ^= 1 << bit
        path.write_bytes(spoilt)
        noticed += whole.check(f"bit {bit} of byte {place} of {path}")
        path.write_bytes(content)
    assert verify(root).ok and noticed
    record_property("bit flips found by verify", FLIPS)
    record_property("bit flips refused by readers", noticed)
    record_property("bit flips read back in silence", 0)
    record_property("bit flips in what readers do not read", FLIPS - noticed)


def truncate(root: Path, number: int, chosen: random.Random) -> str:
    path = pick(number, files(root), chosen)
    size = path.stat().st_size
    kept = chosen.choice([0, size - 1, chosen.randrange(size)])
    path.write_bytes(path.read_bytes()[:kept])
    return f"{path} cut to {kept} of {size} bytes"


def delete(root: Path, number: int, chosen: random.Random) -> str:
    path = pick(number, files(root) + links(root), chosen)
    path.unlink()
    return f"{path} deleted"


def swap(root: Path, number: int, chosen: random.Random) -> str:
    """Swap two files or two links, half of the time of the same kind."""
    one = pick(number, files(root) + links(root), chosen)
    others = [path for path in (links(root) if one.is_symlink() else files(root)) if path != one]
    alike = [path for path in others if path.suffix == one.suffix]
    other = chosen.choice(alike if alike and chosen.random() < 0.5 else others)
    kept = root / "kept"
    one.rename(kept)
    other.rename(one)
    kept.rename(other)
    return f"{one} and {other} swapped"


def mislead(root: Path, number: int, chosen: random.Random) -> str:
    """Let a link lead to another tile."""
    one, other = chosen.sample(links(root), 2)
    target = other.readlink()
    one.unlink()
    one.symlink_to(target)
    return f"{one} leads to {target}"


@pytest.mark.parametrize("spoil", [truncate, delete, swap, mislead])
def test_everything_lost_or_displaced_is_found(whole: Whole, spoil, record_property) -> None:
    chosen = random.Random(7)
    found = tried = 0
    while found < DAMAGES // 4:
        root = whole.fresh()
        damage = spoil(root, tried, chosen)
        tried += 1
        if contents(root) != contents(whole.root):  # two versions have files of the same content: swap those
            whole.check(damage)
            found += 1
    record_property(f"damages by `{spoil.__name__}` found by verify", found)
