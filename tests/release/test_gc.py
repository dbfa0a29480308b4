"""Garbage collection: what is named stays and is whole, the rest goes, and is told before."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_sizes import HISTORIES, STEPS
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tiny_runs import SETTINGS, TinyRun

from skymill.compute import GroupLockedError, at_work
from skymill.release import (
    Asked,
    Garbage,
    ReleaseError,
    Releases,
    collect_garbage,
    find_garbage,
    rollback,
    verify,
    verify_release,
)
from skymill.store import digest, group_file, open_catalogue, short
from skymill.store.document import to_document
from skymill.store.durable import write_bytes
from skymill.store.paths import pool_file

MEMORY = Path("/dev/shm")
CATALOGUES = ("one", "two")
PLACES = 4
CONTENTS = st.tuples(*[st.integers(0, 2)] * PLACES)
GROUPS = ("even", "odd")
NOTHING_ASKED = Asked({}, ())


def asked_groups(root: Path, settings12: str) -> set[str]:
    return {str(group_file(root, settings12, name).relative_to(root)) for name in GROUPS}


def gone(found: Garbage) -> dict[str, int]:
    """The files of what is said to go, by path, with their bytes; to be called while they are there."""
    told = found.as_dict()
    parts = [told["leftovers"], *(told["learned"][name] for name in ("fits", "training_sets", "onnx_files"))]
    parts += [of[name] for of in told["catalogues"].values() for name in ("versions", "groups", "tiles")]
    files: dict[str, int] = {}
    for item in (item for part in parts for item in part["deleted"]):
        path = Path(item["path"])
        below = [each for each in path.rglob("*") if each.is_symlink() or each.is_file()] if path.is_dir() else [path]
        assert item["n_bytes"] == sum(each.lstat().st_size for each in below)
        files |= {str(each): each.lstat().st_size for each in below}
    assert told["n_bytes"] == sum(part["n_bytes"] for part in parts) == sum(files.values())
    return {name: size for name, size in files.items() if not name.endswith(".lock")}


class Histories(RuleBasedStateMachine):
    """The model: which tiles each version and each group manifest names, what is current, released and asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="skymill-gc-", dir=MEMORY if MEMORY.is_dir() else None))
        self.run = TinyRun(self.folder / "results")
        self.versions: dict[str, dict[str, set[str]]] = {name: {} for name in CATALOGUES}
        self.groups: dict[str, dict[str, set[str]]] = {name: {} for name in CATALOGUES}
        self.current: dict[str, tuple[str, set[str]]] = {}
        self.asked = dict.fromkeys(CATALOGUES, SETTINGS[0])
        self.releases: list[dict[str, str]] = []

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @initialize(contents=CONTENTS)
    def begin(self, contents: tuple[int, ...]) -> None:
        for name in CATALOGUES:
            self.seal(name, contents, SETTINGS[0])

    @rule(name=st.sampled_from(CATALOGUES), contents=CONTENTS, settings12=st.sampled_from(SETTINGS))
    def write_groups(self, name: str, contents: tuple[int, ...], settings12: str) -> None:
        """A run that was ended before it sealed."""
        root = self.run.root(name)
        for group in self.run.write_groups(name, dict(enumerate(contents)), settings12):
            manifest = str(group_file(root, settings12, group.group).relative_to(root))
            self.groups[name][manifest] = {pool_file(entry.tile, entry.key) for entry in group.tiles}

    @rule(name=st.sampled_from(CATALOGUES), contents=CONTENTS, settings12=st.sampled_from(SETTINGS))
    def seal(self, name: str, contents: tuple[int, ...], settings12: str) -> None:
        self.write_groups(name, contents, settings12)
        version = self.run.seal(name, dict(enumerate(contents)), settings12)
        manifests = asked_groups(self.run.root(name), settings12)
        self.versions[name][version] = set().union(*(self.groups[name][manifest] for manifest in manifests))
        self.current[name] = version, manifests

    @rule(name=st.sampled_from(CATALOGUES), pixel=st.integers(0, 11))
    def write_tile_that_nothing_names(self, name: str, pixel: int) -> None:
        self.run.write_tile(name, pixel, 9)

    @rule(name=st.sampled_from(CATALOGUES))
    def kill_a_writer(self, name: str) -> None:
        staging = self.run.root(name) / ".staging"
        (staging / f"elsewhere-1-{uuid.uuid4().hex}-current.json").write_text("half")  # of a machine that may live
        (staging / f"{socket.gethostname()}-1-{uuid.uuid4().hex}-tile").write_text("half")

    @rule(name=st.sampled_from(CATALOGUES), settings12=st.sampled_from(SETTINGS))
    def change_settings(self, name: str, settings12: str) -> None:
        self.asked[name] = settings12

    @rule()
    def publish(self) -> None:
        self.run.publish(f"DR{len(self.releases)}", *CATALOGUES)
        self.releases.append({name: self.current[name][0] for name in CATALOGUES})

    @precondition(lambda self: self.releases)
    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        rollback(self.run.folder, f"DR{data.draw(st.integers(0, len(self.releases) - 1))}")

    @rule()
    def collect(self) -> None:
        asked = Asked({name: asked_groups(self.run.root(name), self.asked[name]) for name in CATALOGUES}, ())
        before = self.run.files()
        told = find_garbage(self.run.folder, asked, older_than_days=0)
        assert self.run.files() == before
        promised = gone(told)
        assert collect_garbage(self.run.folder, asked, older_than_days=0) == told
        assert {name: size for name, size in before.items() if name not in self.run.files()} == promised
        assert self.run.files().items() <= before.items()
        for name in CATALOGUES:
            self.check(name)
        assert verify(self.run.folder).ok
        for number in range(len(self.releases)):
            assert verify_release(self.run.folder, f"DR{number}").ok

    def check(self, name: str) -> None:
        """Hold what stands of a catalogue against the model, and forget what went."""
        root, (version, manifests) = self.run.root(name), self.current[name]
        keep = {version, *(release[name] for release in self.releases)}
        manifests = manifests | (asked_groups(root, self.asked[name]) & self.groups[name].keys())
        self.versions[name] = {kept: tiles for kept, tiles in self.versions[name].items() if kept in keep}
        self.groups[name] = {kept: tiles for kept, tiles in self.groups[name].items() if kept in manifests}
        assert {path.name for path in (root / "versions").iterdir()} == keep
        assert {str(path.relative_to(root)) for path in root.glob("groups/*/*.json")} == manifests
        named = set().union(*self.versions[name].values(), *self.groups[name].values())
        assert {str(path.relative_to(root)) for path in root.glob("tiles/*/*/*/*")} == named
        assert not [path for path in (root / "tiles").rglob("*") if path.is_dir() and not any(path.iterdir())]


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=HISTORIES // 2,
    stateful_step_count=STEPS // 2,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DR1, and after it a version that is current; between them one that nothing names."""
    made = TinyRun(tmp_path_factory.mktemp("made") / "results")
    made.seal("one", {0: 0, 1: 0, 2: 0})
    made.publish("DR1", "one")
    made.seal("one", {0: 0, 1: 1, 2: 1})
    made.seal("one", {0: 0, 1: 0, 2: 2})
    return made.folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> TinyRun:
    return TinyRun(shutil.copytree(made, tmp_path / "results", symlinks=True))


def versions(run: TinyRun) -> set[str]:
    return {path.name for path in run.root("one").glob("versions/*")}


def test_a_reader_of_a_release_keeps_reading_and_one_can_go_back(run):
    opened = open_catalogue(run.folder / "releases" / "DR1" / "catalogues" / "one")
    lazy = opened.to_xarray(["content"])
    run.publish("DR2", "one")
    collect_garbage(run.folder, NOTHING_ASKED, older_than_days=0)
    assert lazy["content"].to_numpy().tolist() == [0, 0, 0]
    assert rollback(run.folder) == "DR1"
    now = open_catalogue(run.folder / "releases" / "current" / "catalogues" / "one")
    assert now.to_xarray(["content"])["content"].to_numpy().tolist() == [0, 0, 0]
    assert verify(run.folder).ok


def test_who_keeps_a_version_is_said(run):
    run.publish("DR2", "one")
    told = find_garbage(run.folder, NOTHING_ASKED, older_than_days=0).catalogues["one"]
    released = {name: Releases(run.folder).read(name)["catalogues"]["one"]["version"] for name in ("DR1", "DR2")}
    assert told.why == {released["DR1"]: ("release DR1",), released["DR2"]: ("release DR2", "current")}
    assert [item.path.name for item in told.versions.deleted] == sorted(versions(run) - set(released.values()))


def test_what_is_young_stays_with_all_it_names(run):
    before = run.files()
    assert collect_garbage(run.folder, NOTHING_ASKED).n_bytes == 0 and run.files() == before
    run.age(days=2)
    doomed, *_ = find_garbage(run.folder, NOTHING_ASKED).catalogues["one"].versions.deleted
    (doomed.path / "manifest.json").touch()
    stray = run.write_tile("one", 7, 1)
    assert collect_garbage(run.folder, NOTHING_ASKED).n_bytes == 0 and run.files().items() >= before.items()
    assert verify(run.folder).ok
    run.age(days=2)
    collect_garbage(run.folder, NOTHING_ASKED)
    assert len(versions(run)) == 2 and not (run.root("one") / pool_file(stray.tile, stray.key)).exists()
    assert verify(run.folder).ok


def test_what_is_asked_for_cannot_be_told_stays(run):
    run.write_groups("one", {0: 3, 1: 3}, SETTINGS[1])
    told = find_garbage(run.folder, Asked({"one": None}, None), older_than_days=0).catalogues["one"]
    assert told.groups.deleted == () and told.groups.kept == 4
    assert find_garbage(run.folder, NOTHING_ASKED, older_than_days=0).catalogues["one"].groups.kept == 2


DAMAGES = {
    "current.json": "current.json",
    "group manifest": "groups/*/even.json",
    "version": "versions/{kept}/manifest.json",
    "table of tiles": "versions/{kept}/tiles.parquet",
}


@pytest.mark.parametrize("how", ["changed", "gone"])
@pytest.mark.parametrize("what", DAMAGES)
def test_of_a_catalogue_that_cannot_be_read_nothing_is_deleted(run, what, how):
    run.seal("two", {0: 0})
    run.seal("two", {0: 1})
    root = run.root("one")
    kept = open_catalogue(run.folder / "releases" / "DR1" / "catalogues" / "one").version
    [path] = root.glob(DAMAGES[what].format(kept=kept))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    if how == "changed":
        path.write_bytes(content)
    before = {name for name in run.files() if "/one/" in name}
    found = collect_garbage(run.folder, NOTHING_ASKED, older_than_days=0)
    if (what, how) == ("group manifest", "gone"):  # as `skymill retry` leaves it: a job makes it again
        assert not found.refused
        return
    assert str(path) in found.catalogues["one"].refused and "skymill verify" in found.catalogues["one"].refused
    assert {name for name in run.files() if "/one/" in name} == before
    assert len(found.catalogues["two"].versions.deleted) == 1 and not found.catalogues["two"].refused


@pytest.mark.parametrize("how", ["changed", "gone", "lost"])
def test_while_a_release_cannot_be_read_nothing_is_deleted(run, how):
    path = run.folder / "releases" / "DR1" / "manifest.json"
    content = path.read_bytes().replace(b"DR1", b"DR3")
    path.unlink()
    if how == "changed":
        path.write_bytes(content)
    elif how == "lost":
        shutil.rmtree(path.parent)
    before = run.files()
    with pytest.raises(ReleaseError, match=r"release.*DR1.*nothing is deleted while it cannot be told"):
        collect_garbage(run.folder, NOTHING_ASKED, older_than_days=0)
    assert run.files() == before


class TestLearned:
    """Fits, training sets and ONNX files."""

    FITS = ("asked", "exported", "released", "member", "pool", "old")

    @pytest.fixture
    def folder(self, run) -> Path:
        """Of model `m` a fit of each kind, each on a training set of its own; of `pool` an ensemble."""
        for name in self.FITS:
            model, members = ("pool", [self.fit("member")]) if name == "pool" else ("m", [])
            self.write_fit(run.folder, model, name, members)
        self.write_model(run.folder, "exported")
        release = run.folder / "releases" / "DR1"
        self.write_model(release, "released")
        self.write_set(run.folder, "asked")
        write_bytes(run.folder / "models" / "m" / f"{self.fit('old')}.onnx", b"old")
        return run.folder

    @staticmethod
    def fit(name: str) -> str:
        return short(digest({"fit": name}))

    @staticmethod
    def training_set(name: str) -> str:
        return digest({"set": name})

    def write_fit(self, folder: Path, model: str, name: str, members: list[str]) -> None:
        training_set = self.training_set(name)
        write_bytes(folder / "training" / "sets" / f"{short(training_set)}.parquet", name.encode())
        told = {"training_set": training_set, "members": members, "files": {}}
        write_bytes(folder / "training" / model / self.fit(name) / "checkpoint.pt", bytes(100))
        write_bytes(folder / "training" / model / self.fit(name) / "manifest.json", to_document(told))

    def write_model(self, folder: Path, name: str) -> None:
        file = f"{self.fit(name)}.onnx"
        write_bytes(folder / "models" / "m" / file, name.encode())
        write_bytes(
            folder / "models" / "m" / "manifest.json", to_document({"fit": self.fit(name), "files": {file: ""}})
        )

    def write_set(self, folder: Path, name: str) -> None:
        told = {"file": f"sets/{short(self.training_set(name))}.parquet", "files": {}}
        write_bytes(folder / "training" / "set.json", to_document(told))

    def test_what_is_named_stays(self, folder):
        asked = Asked({}, {("m", self.fit("asked")), ("pool", self.fit("pool")), ("m", self.fit("not made yet"))})
        found = collect_garbage(folder, asked, older_than_days=0).learned
        assert found.why == {
            f"m/{self.fit('asked')}": ("asked for",),
            f"m/{self.fit('exported')}": ("exported",),
            f"m/{self.fit('released')}": ("release DR1",),
            f"m/{self.fit('member')}": (f"member of pool/{self.fit('pool')}",),
            f"pool/{self.fit('pool')}": ("asked for",),
        }
        assert [item.path.name for item in found.fits.deleted] == [self.fit("old")]
        assert not (folder / "training" / "m" / self.fit("old")).exists()
        sets = {path.stem for path in (folder / "training" / "sets").glob("*.parquet")}
        assert sets == {short(self.training_set(name)) for name in self.FITS if name != "old"}
        assert [path.stem for path in (folder / "models" / "m").glob("*.onnx")] == [self.fit("exported")]

    def test_all_fits_of_a_model_that_is_gone_go_with_its_folder(self, folder):
        collect_garbage(folder, NOTHING_ASKED, older_than_days=0)
        assert not (folder / "training" / "pool").exists()
        sets = {path.stem for path in (folder / "training" / "sets").glob("*.parquet")}
        assert sets == {short(self.training_set(name)) for name in ("asked", "exported", "released")}

    @pytest.mark.parametrize("lost", ["training/set.json", "models/m/manifest.json"])
    def test_what_a_job_has_yet_to_tell_stays(self, folder, lost):
        """Snakemake deletes what a checkpoint declares before it starts it."""
        (folder / lost).unlink()
        found = find_garbage(folder, Asked({}, None), older_than_days=0).learned
        assert not found.fits.deleted
        assert bool(found.onnx_files.deleted) == (lost == "training/set.json")
        assert [item.path.stem for item in found.training_sets.deleted] == []

    @pytest.mark.parametrize("lost", ["training/set.json", "models/m/manifest.json", "training/m/*/manifest.json"])
    def test_while_something_cannot_be_read_nothing_is_deleted(self, folder, lost):
        path = next(iter(sorted(folder.glob(lost))))
        path.write_bytes(path.read_bytes().replace(b'"files"', b'"fales"'))
        before = {str(each) for each in (folder / "training").rglob("*")}
        found = collect_garbage(folder, Asked({}, None), older_than_days=0)
        assert str(path) in found.learned.refused and found.refused == [found.learned.refused]
        assert {str(each) for each in (folder / "training").rglob("*")} == before
        assert len(versions(TinyRun(folder))) == 2


HOLD = """
import sys
from skymill.compute import at_work
with at_work(sys.argv[1]):
    print("at work", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def job(run) -> Iterator[subprocess.Popen[str]]:
    """A process that is at work in the run until a line is written to it."""
    command = [sys.executable, "-c", HOLD, str(run.folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_while_a_job_is_at_work_nothing_is_deleted(run, job):
    assert job.stdout.readline() == "at work\n"
    before = run.files()
    with pytest.raises(
        GroupLockedError, match=r"results/.run.lock: jobs of the workflow are at work in this folder; wait"
    ):
        collect_garbage(run.folder, NOTHING_ASKED, older_than_days=0)
    assert run.files() == before and find_garbage(run.folder, NOTHING_ASKED, older_than_days=0).n_bytes
    with at_work(run.folder):
        job.communicate("\n")
        with pytest.raises(GroupLockedError):
            collect_garbage(run.folder, NOTHING_ASKED, older_than_days=0)
    assert collect_garbage(run.folder, NOTHING_ASKED, older_than_days=0).n_bytes


def test_a_killed_job_is_not_at_work(run, job):
    assert job.stdout.readline() == "at work\n"
    job.kill()
    job.wait()
    assert collect_garbage(run.folder, NOTHING_ASKED, older_than_days=0).n_bytes


def test_while_somebody_publishes_nothing_is_deleted(run):
    before = run.files()
    with Releases(run.folder).committing(), pytest.raises(GroupLockedError):
        collect_garbage(run.folder, NOTHING_ASKED, older_than_days=0)
    assert run.files() == before


def test_one_tile_in_a_thousand(record_property):
    """A tile that changes costs itself and what names it; nothing else of the pool is touched or deleted."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        run = TinyRun(Path(folder, "results"), order=4)
        contents = dict.fromkeys(range(1000), 0)
        run.seal("one", contents)
        run.publish("DR1", "one")
        before = run.files()
        [old_tile] = (path for path in before if "/Npix=500/" in path)

        version = run.seal("one", {**contents, 500: 1})
        after = run.files()
        [new_tile] = (path for path in after.keys() - before.keys() if "/tiles/" in path)
        assert "/Npix=500/" in new_tile and before.keys() <= after.keys()
        links_and_tables = sum(size for path, size in after.items() if f"/versions/{version}/" in path)
        rewritten = sum(after[path] - before[path] for path in before)  # a group manifest and current.json
        growth = sum(after.values()) - sum(before.values())
        assert growth == after[new_tile] + links_and_tables + rewritten and abs(rewritten) < 100
        record_property("bytes by which one tile of 1,000 grew a catalogue", growth)

        assert collect_garbage(run.folder, NOTHING_ASKED, older_than_days=0).n_bytes == 0
        shutil.rmtree(run.folder / "releases")
        found = collect_garbage(run.folder, NOTHING_ASKED, older_than_days=0).catalogues["one"]
        assert [(str(item.path), item.n_bytes) for item in found.tiles.deleted] == [(old_tile, before[old_tile])]
        assert {path for path in after.keys() - run.files().keys() if "/tiles/" in path} == {old_tile}
        assert verify(run.folder).ok
