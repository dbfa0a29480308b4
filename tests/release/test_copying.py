"""Copies of releases: complete, without a link, verified wherever they stand; and releases on other disks."""

from __future__ import annotations

import shutil
import socket
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest
from answers import Answers, make_run
from typer.testing import CliRunner

from skymill.cli.main import app
from skymill.compute import at_work
from skymill.config.run import GateSettings
from skymill.release import ReleaseError, Releases, copy_release, diff, publish, verify, verify_release
from skymill.report.diffing import diff_page
from skymill.store import StoreError, open_catalogue
from skymill.store.inventory import inventory
from skymill.store.paths import VERSIONS

N = 900
OTHER_DISK = Path("/dev/shm")


def published(run: Path, answers: Answers, name: str = "DR1") -> Path:
    publish(make_run(run, answers), name, gate=GateSettings(), page=diff_page)
    return run


@pytest.fixture(scope="module")
def answers() -> Answers:
    return Answers.draw(N, seed=3, spread_deg=1.2)


@pytest.fixture(scope="module")
def run(answers, tmp_path_factory) -> Path:
    """A run with a release DR1, which tests only read."""
    return published(tmp_path_factory.mktemp("copied") / "results", answers)


@pytest.fixture(scope="module")
def copied(run, tmp_path_factory) -> Path:
    """A copy of DR1, which tests only read."""
    target = tmp_path_factory.mktemp("elsewhere") / "copy"
    copy_release(run, "DR1", target)
    return target


@pytest.fixture
def copy(copied, tmp_path) -> Path:
    """A copy of DR1 to spoil; what made it is far away."""
    return Path(shutil.copytree(copied, tmp_path / "DR1 of ours"))


def test_a_copy_holds_every_file_and_no_link(run, copied):
    files, others = inventory(copied)
    release = run / "releases" / "DR1"
    own = set(inventory(release)[0])
    tiles = {name for name in files if name.endswith(".zarr.zip")}
    assert others == [] and own <= files.keys() and not list(copied.parent.glob(".*"))
    for name in ("mlp", "features"):
        version = open_catalogue(run / "catalogues" / name)
        assert sum(tile.startswith(f"catalogues/{name}/Norder=6/Dir=") for tile in tiles) == len(version.tiles) > 5
    assert all(path.stat().st_mode & 0o222 == 0 for path in files.values())


def test_a_moved_copy_is_whole_and_gives_the_same_answers(run, copy, answers, tmp_path, serve):
    report = verify(copy)
    assert report.ok and not report.extra
    n_tiles = len(list(copy.rglob("*.zarr.zip")))
    assert (report.n_versions, report.n_tiles) == (2, n_tiles)
    for below in (copy / "catalogues" / "mlp", copy / "catalogues" / "features"):
        assert verify(below).ok
    here = open_catalogue(run / "catalogues" / "mlp")
    expected = here.to_xarray(["objectId", "probabilities"]).compute()
    ra, dec = float(answers.ra[0]), float(answers.dec[0])
    for place in (copy / "catalogues" / "mlp", f"{serve(copy)}/catalogues/mlp"):
        there = open_catalogue(place)
        assert there.version == here.version
        assert there.to_xarray(["objectId", "probabilities"]).compute().identical(expected)
        assert there.cone(ra, dec, 1.0).identical(here.cone(ra, dec, 1.0)) and len(there.cone(ra, dec, 1.0)["objectId"])
    told = diff(run / "catalogues" / "mlp", copy / "catalogues" / "mlp", tmp_path / "diff", magnitude="i_asinh_mag")
    assert told["rows"]["in_shared_tiles"] == N and told["rows"]["changed"] == 0


def test_every_damage_of_every_file_of_a_copy_is_named(copy):
    rng = np.random.default_rng(4)
    files, _ = inventory(copy)
    tiles = [path for path in files.values() if path.suffix == ".zip"]
    for path in [*tiles[::9], *(path for path in files.values() if path.suffix != ".zip")]:
        content = path.read_bytes()
        path.chmod(0o644)
        spoilt = bytearray(content)
        spoilt[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        for change, found in {"flip": spoilt, "cut": content[: len(content) // 2], "delete": None}.items():
            path.unlink()
            if found is not None:
                path.write_bytes(found)
            report = verify(copy)
            assert {problem.path for problem in report.problems} == {path}, change
            assert "copy the release again" in report.problems[0].mend
            path.unlink(missing_ok=True)
            path.write_bytes(content)
    assert verify(copy).ok


def test_swapped_renamed_and_added_files_and_links_are_named(copy, tmp_path):
    tiles = sorted((copy / "catalogues" / "mlp").rglob("*.zarr.zip"))
    first, second, third = tiles[:3]
    first.rename(tmp_path / "tile")
    second.rename(first)
    (tmp_path / "tile").rename(second)
    renamed = third.rename(third.with_name("Npix=1.zarr.zip"))
    (copy / "catalogues" / "mlp" / "more.txt").write_text("?")
    (copy / "more.txt").write_text("?")
    card, elsewhere = copy / "models" / "mlp" / "manifest.json", tmp_path / "card"
    card.rename(elsewhere)
    card.symlink_to(elsewhere)
    linked = tiles[3].rename(tmp_path / tiles[3].name)
    tiles[3].symlink_to(linked)
    report = verify(copy)
    kinds = {problem.path: problem.kind for problem in report.problems if problem.path != card}
    assert kinds == {first: "corrupt", second: "corrupt", third: "missing", tiles[3]: "wrong"}
    assert {problem.kind for problem in report.problems if problem.path == card} == {"missing", "wrong"}
    assert set(report.extra) == {copy / "more.txt", copy / "catalogues" / "mlp" / "more.txt", renamed}


@pytest.mark.parametrize("name", ["catalogues", "catalogues/mlp", "catalogues/mlp/Norder=6"])
def test_a_folder_that_is_a_link_is_not_followed(copy, tmp_path, name):
    outside = (copy / name).rename(tmp_path / "outside")
    (copy / name).symlink_to(outside)
    report = verify(copy)
    assert copy / name in {problem.path for problem in report.problems if problem.kind == "wrong"}
    others = len(list((copy / "catalogues" / "features").rglob("*.zarr.zip")))
    assert report.n_tiles == (0 if name == "catalogues" else others)


def test_a_tar_file_has_the_same_files_and_always_the_same_bytes(run, copied, tmp_path):
    members = copy_release(run, "DR1", tmp_path / "one.tar")
    copy_release(run, "DR1", tmp_path / "two", tar=True)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as archive:
        entries = archive.getmembers()
        archive.extractall(tmp_path, filter="data")
    assert {(entry.uid, entry.gid, entry.uname, entry.mtime) for entry in entries} == {(0, 0, "", 315532800)}
    assert [entry.name for entry in entries] == sorted(f"DR1/{member.name}" for member in members)
    for name, path in inventory(copied)[0].items():
        assert (tmp_path / "DR1" / name).read_bytes() == path.read_bytes()
    assert verify(tmp_path / "DR1").ok


@pytest.mark.parametrize("target", ["copy", "copy.tar"])
@pytest.mark.parametrize("change", ["flip", "cut", "delete"])
def test_a_spoilt_tile_is_named_and_nothing_is_left_behind(answers, tmp_path, target, change):
    run = published(tmp_path / "results", answers[:100])
    tile = sorted((run / "catalogues" / "mlp" / "tiles").rglob("*.zarr.zip"))[-1]
    content = bytearray(tile.read_bytes())
    content[len(content) // 2] ^= 1
    tile.unlink()
    if change != "delete":
        tile.write_bytes(content if change == "flip" else content[:-5])
    (tmp_path / "out").mkdir()
    with pytest.raises(StoreError, match=rf"{tile}: expected .*; .*run `skymill release verify DR1`, mend it"):
        copy_release(run, "DR1", tmp_path / "out" / target)
    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_killed_copy_left_is_swept(run, tmp_path):
    left = tmp_path / ".copy.staging" / f"{socket.gethostname()}-1-{'0' * 32}-copy"
    left.mkdir(parents=True)
    copy_release(run, "DR1", tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_a_copy_needs_a_new_name_and_a_known_release(run, tmp_path):
    for target in (tmp_path, run / "releases" / "DR2"):
        with pytest.raises(ReleaseError, match="expected a new name outside of"):
            copy_release(run, "DR1", target)
    with pytest.raises(ReleaseError, match=r"release 'DR7': not found in .*; there are: DR1"):
        copy_release(run, "DR7", tmp_path / "copy")


def test_a_release_is_copied_while_others_publish_and_jobs_are_at_work(run, tmp_path):
    with Releases(run).committing(), at_work(run):
        copy_release(run, "DR1", tmp_path / "copy")
    assert verify(tmp_path / "copy").ok


def test_the_command_copies_and_verifies(run, tmp_path):
    done = CliRunner().invoke(app, ["release", "copy", "DR1", str(tmp_path / "copy"), "--run", str(run)])
    assert done.exit_code == 0 and f"{tmp_path / 'copy'}: release DR1," in done.output
    done = CliRunner().invoke(app, ["verify", str(tmp_path / "copy")])
    assert done.exit_code == 0 and "all is well" in done.output
    (tmp_path / "copy" / "gate.json").unlink()
    done = CliRunner().invoke(app, ["verify", str(tmp_path / "copy")])
    assert done.exit_code == 1 and f"missing: {tmp_path / 'copy' / 'gate.json'}" in done.output


def test_a_release_is_verified_by_its_folder_too(run):
    for folder in (run / "releases" / "DR1", run / "releases" / "current"):
        report = verify(folder)
        assert report.ok and report.n_versions == 2 and report.n_tiles > 10


@pytest.fixture
def disk():
    """A folder on another file system."""
    if not OTHER_DISK.is_dir() or OTHER_DISK.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev:
        pytest.skip(f"{OTHER_DISK} is not there, or is no other file system")
    with tempfile.TemporaryDirectory(dir=OTHER_DISK) as folder:
        yield Path(folder)


@pytest.mark.parametrize("moved", ["releases", "catalogues", "catalogues/mlp"])
def test_releases_and_catalogues_may_stand_on_other_disks(answers, tmp_path, disk, moved):
    run = tmp_path / "results"
    content = make_run(run, answers[:200])
    if (run / moved).exists():
        shutil.copytree(run / moved, disk / "moved", symlinks=True)
        shutil.rmtree(run / moved)
    (disk / "moved").mkdir(exist_ok=True)
    (run / moved).symlink_to(disk / "moved")
    publish(content, "DR1", gate=GateSettings(), page=diff_page)
    link = run / "releases" / "current" / "catalogues" / "mlp"
    assert link.readlink().is_absolute() and VERSIONS in link.readlink().parts
    assert len(open_catalogue(link)) == 200
    assert verify_release(run, "DR1").ok
    report = verify(run)
    assert (report.n_catalogues, report.n_versions) == (2, 2)
    assert {problem.path.parent for problem in report.problems} == {run / "models" / "mlp"}  # which is made up
    copy_release(run, "DR1", tmp_path / "copy")
    assert verify(tmp_path / "copy").ok
    link.unlink()
    link.symlink_to("../../../catalogues/mlp/versions/0123456789ab")
    [problem] = verify_release(run, "DR1").problems
    assert problem.kind == "wrong" and problem.mend.startswith("make it a link to /")


def test_links_within_a_run_are_relative_so_that_it_can_be_moved(run, tmp_path):
    assert not (run / "releases" / "DR1" / "catalogues" / "mlp").readlink().is_absolute()
    moved = shutil.copytree(run, tmp_path / "moved", symlinks=True)
    assert verify_release(moved, "DR1").ok
