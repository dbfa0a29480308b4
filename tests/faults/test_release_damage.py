"""Whatever is changed, lost, moved or added in a release or a copy of it: `verify` names it, and its mend mends it."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import release_deeds as deeds
from fault_sizes import RELEASE_DAMAGES

from skymill.release import Releases, copy_release, rollback, verify, verify_release
from skymill.sky import Tile
from skymill.store import Report, open_catalogue
from skymill.store.inventory import inventory
from skymill.store.paths import MANIFEST, TILES, VERSIONS, pool_file
from skymill.store.report import Problem

from .conftest import FaultyProcess

RELEASES = ("DR1", "DR2")
ADDED, MOVED = "more.txt", "moved.txt"

pytestmark = pytest.mark.timeout(3600)


@dataclass(frozen=True)
class Whole:
    """A run with two releases and a copy of each, as they were written, and a place for damaged ones.

    What DR2 holds is what the run has sealed; some of what DR1 holds is named by nothing else.
    """

    run: Path
    copies: dict[str, Path]
    target: Path

    def fresh(self, which: Path) -> Path:
        """Lay out the run or the copy again."""
        target = self.target / which.name
        shutil.rmtree(target, ignore_errors=True)
        return Path(shutil.copytree(which, target, symlinks=True))


@pytest.fixture(scope="module")
def whole(memory: Path, faulty: FaultyProcess, cluster: str) -> Whole:
    lab = memory / "whole"
    deeds.prepare(lab / "results")
    deeds.seal(lab / "results", deeds.SAID[1])
    assert faulty.do("publishing", lab, of="release_deeds", name="DR2", scheduler=cluster).error == ""
    copies = {name: lab / name for name in RELEASES}
    for name, copy in copies.items():
        copy_release(lab / "results", name, copy)
        assert verify(copy).ok and verify_release(lab / "results", name).ok
    assert verify(lab / "results").ok and not verify(lab / "results").extra
    return Whole(lab / "results", copies, memory / "damaged")


def parts(run: Path, release: str) -> list[Path]:
    """Every file and link of a release, of its versions and of its tiles, the history, and `current`."""
    releases = Releases(run)
    folder = releases.folder(release)
    found = [releases.root / "history.jsonl", releases.root / "current", *sorted(inventory(folder)[0].values())]
    for link in sorted((folder / "catalogues").iterdir()):
        catalogue = open_catalogue(link)
        files, others = inventory(Path(catalogue.location))
        found += [link, *files.values(), *others]
        root = Path(catalogue.location).parents[1]
        entries = zip(*(catalogue.tiles[name].tolist() for name in ("order", "pixel", "key")))
        found += [root / pool_file(Tile(order, pixel), key) for order, pixel, key in entries]
    return found


def pick(paths: list[Path], chosen: random.Random) -> Path:
    """Choose a kind of file, then one of these, so that what there is few of has its share."""
    kinds: dict[str, list[Path]] = {}
    for path in paths:
        kind = "link" if path.is_symlink() else "tile" if path.suffix == ".zip" else path.name
        kinds.setdefault(kind, []).append(path)
    return chosen.choice(kinds[chosen.choice(sorted(kinds))])


def replace(path: Path, content: bytes) -> None:
    """Give a file or a link other content: the old file may be read-only."""
    linked = path.is_symlink()
    path.unlink()
    if linked:
        path.symlink_to(content.decode(errors="surrogateescape"))
    else:
        path.write_bytes(content)


def flip(paths: list[Path], chosen: random.Random) -> set[Path]:
    path = pick(paths, chosen)
    content = bytearray(bytes(path.readlink()) if path.is_symlink() else path.read_bytes())
    content[chosen.randrange(len(content))] ^= 1 << chosen.randrange(8)
    if path.is_symlink() and 0 in content:
        return set()  # the name of no file
    replace(path, bytes(content))
    return {path}


def truncate(paths: list[Path], chosen: random.Random) -> set[Path]:
    path = pick([path for path in paths if not path.is_symlink()], chosen)
    content = path.read_bytes()
    lines = [number + 1 for number, byte in enumerate(content[:-1]) if byte == ord("\n")]
    kept = [0, len(content) - 1, chosen.randrange(len(content)), *chosen.sample(lines, min(1, len(lines)))]
    replace(path, content[: chosen.choice(kept)])
    return {path}


def delete(paths: list[Path], chosen: random.Random) -> set[Path]:
    path = pick(paths, chosen)
    path.unlink()
    return {path}


def swap(paths: list[Path], chosen: random.Random) -> set[Path]:
    one = pick(paths, chosen)
    other = pick([path for path in paths if path.is_symlink() == one.is_symlink()], chosen)
    contents = [bytes(path.readlink()) if path.is_symlink() else path.read_bytes() for path in (one, other)]
    if contents[0] == contents[1]:
        return set()
    replace(one, contents[1])
    replace(other, contents[0])
    return {one, other}


def rename(paths: list[Path], chosen: random.Random) -> set[Path]:
    path = pick(paths, chosen)
    return {path, path.rename(path.with_name(MOVED))}


def add(paths: list[Path], chosen: random.Random) -> set[Path]:
    path = pick(paths, chosen).with_name(ADDED)
    if chosen.random() < 0.5:
        path.write_bytes(b"?")
    else:
        path.symlink_to(chosen.choice(paths))
    return {path}


DAMAGES = (flip, truncate, delete, swap, rename, add)


def check_found(damaged: set[Path], report: Report, what: str) -> None:
    """See that a report names what was damaged, and nothing else; what a lost manifest names it cannot know."""
    named = {problem.path for problem in report.problems} | set(report.extra)
    blind = any(path.name == MANIFEST or path.suffix == ".parquet" for path in damaged)
    assert named and named <= damaged and (blind or named == damaged), f"{what} {damaged}: {report.lines()}"
    assert not report.ok or all(path.name in (ADDED, MOVED) for path in damaged)


@dataclass(frozen=True)
class Mender:
    """Who does what a report says."""

    copy: Path
    run: Path

    def mend(self, problem: Problem) -> str:
        """Do what is said about a problem, and give the words that were followed."""
        ways: dict[str, Callable[[Problem, re.Match[str]], None]] = {
            r"make it a link to (\S+) again": self._link,
            r"delete it and (\S+), then run again": self._run_again,
            r"^delete it; ": lambda problem, _: problem.path.unlink(),
            r"move it away": self._begin_again,
            r"run `skymill release rollback (\S+)`": lambda _, words: rollback(self.run, words[1]) and None,
            r"restore it from a copy": self._restore,
        }
        for way, follow in ways.items():
            if (words := re.search(way, problem.mend)) is not None:
                follow(problem, words)
                return way
        raise AssertionError(f"nobody knows how to follow this: {problem}")

    @staticmethod
    def _link(problem: Problem, words: re.Match[str]) -> None:
        problem.path.unlink(missing_ok=True)
        problem.path.symlink_to(words[1])

    def _run_again(self, problem: Problem, words: re.Match[str]) -> None:
        for path in (problem.path, Path(words[1])):
            path.unlink(missing_ok=True)
        deeds.seal(self.run, deeds.SAID[1])

    def _begin_again(self, problem: Problem, words: re.Match[str]) -> None:
        problem.path.unlink(missing_ok=True)
        rollback(self.run, "DR2")

    def _restore(self, problem: Problem, words: re.Match[str]) -> None:
        below = problem.path.relative_to(self.run).parts
        if VERSIONS in below:
            place = Path("catalogues", below[1], *below[below.index(VERSIONS) + 2 :])
        elif TILES in below:
            place = Path("catalogues", below[1], *below[3:-1]).with_suffix(".zarr.zip")
        else:
            place = Path(*below[2:])
        problem.path.unlink(missing_ok=True)
        shutil.copy(self.copy / place, problem.path)


def test_every_damage_of_a_release_is_named_and_its_mend_mends_it(whole: Whole, record_property) -> None:
    chosen, found, followed = random.Random(11), 0, set()
    while found < RELEASE_DAMAGES // 3 * 2:
        run, spoil, release = whole.fresh(whole.run), DAMAGES[found % len(DAMAGES)], chosen.choice(RELEASES)
        damaged = spoil(parts(run, release), chosen)
        if not damaged:
            continue
        found += 1
        report = verify(run)
        check_found(damaged, report, spoil.__name__)
        check_release(run, release, damaged, spoil.__name__)
        followed |= mend(whole.copies[release], run, report)
        after = verify(run)
        if not after.ok or after.extra:  # what could not be told as long as a manifest was lost
            followed |= mend(whole.copies[release], run, after)
            after = verify(run)
        assert after.ok and not after.extra, f"{spoil.__name__} {damaged}: {report.lines()}, then {after.lines()}"
        assert verify_release(run, release).ok
    record_property("damages of releases found by verify and mended", found)
    record_property("ways to mend followed", len(followed))


def mend(copy: Path, run: Path, report: Report) -> set[str]:
    """Do what a report says, from its first line to its last, and give the words that were followed."""
    followed = {Mender(copy, run).mend(problem) for problem in sorted(report.problems)}
    for path in report.extra:
        path.unlink()
    return followed


def check_release(run: Path, release: str, damaged: set[Path], what: str) -> None:
    """See that `skymill release verify` finds what belongs to the release: not `current`, nor what is beside it."""
    releases = Releases(run)
    beside = {path for path in damaged if path.parent == releases.root or path.name in (ADDED, MOVED)}
    if damaged - beside:
        report = verify_release(run, release)
        named = {problem.path for problem in report.problems}
        assert named and named <= damaged, f"{what} {damaged}: {report.lines()}"


def test_every_damage_of_a_copy_is_named_and_copying_again_mends_it(whole: Whole, record_property) -> None:
    chosen, found = random.Random(12), 0
    while found < RELEASE_DAMAGES - RELEASE_DAMAGES // 3 * 2:
        copy, spoil = whole.fresh(whole.copies["DR2"]), DAMAGES[found % len(DAMAGES)]
        damaged = spoil(list(inventory(copy)[0].values()), chosen)
        if not damaged:
            continue
        found += 1
        report = verify(copy)
        check_found(damaged, report, spoil.__name__)
        assert all("copy the release again" in problem.mend for problem in report.problems)
        shutil.rmtree(copy)
        copy_release(whole.run, "DR2", copy)
        assert verify(copy).ok and inventory(copy)[0].keys() == inventory(whole.copies["DR2"])[0].keys()
    record_property("damages of copies found by verify and mended", found)
