"""Releases that hold a catalogue of image tiles: published, compared, copied, verified, forged, collected."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mapped import NAMES, write_image_catalogue
from skies import group_of_all
from tiny_runs import TinyRun
from typer.testing import CliRunner

from skymill import release
from skymill.cli.main import app
from skymill.config.run import GateSettings
from skymill.release import (
    Asked,
    Content,
    ReleaseError,
    collect_garbage,
    compared,
    copy_release,
    publish,
    rollback,
    tile_changes,
    verify,
    verify_release,
)
from skymill.store import (
    GroupManifest,
    ImageCatalogue,
    StoreError,
    digest,
    file_sha256,
    open_catalogue,
    seal,
    short,
)
from skymill.store.document import to_document
from skymill.store.inventory import inventory
from skymill.store.manifest import ImageQuarantined
from skymill.store.paths import MANIFEST, TILE_TABLE
from skymill.store.tables import table_digest

SEGMENTATION = "segmentation"
N = 3 + 4 + 5
PIXELS = dict.fromkeys(range(N), 0)


def seal_images(run: TinyRun, contents: dict[str, int] | None = None) -> str:
    """Seal twelve sources on three image tiles."""
    root = run.root(SEGMENTATION)
    entries = write_image_catalogue(root, contents=contents)
    return seal(root, [group_of_all(root, entries)])


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """DR1, and DR2 with one image tile measured anew; tests only read it."""
    run = TinyRun(tmp_path_factory.mktemp("images") / "results")
    run.seal("sources", PIXELS)
    for name, contents in (("DR1", {}), ("DR2", {NAMES[0]: 1})):
        seal_images(run, contents)
        run.publish(name, "sources", SEGMENTATION)
    return run


@pytest.fixture
def run(released: TinyRun, tmp_path: Path) -> TinyRun:
    """A copy to change."""
    return TinyRun(Path(shutil.copytree(released.folder, tmp_path / "results", symlinks=True)))


def test_a_release_holds_the_image_tiles(released):
    manifest = json.loads((released.folder / "releases" / "DR2" / MANIFEST).read_bytes())
    told = manifest["catalogues"]
    assert told[SEGMENTATION]["kind"] == "images" and "kind" not in told["sources"]
    assert (told[SEGMENTATION]["n_tiles"], told[SEGMENTATION]["n_rows"]) == (3, N)
    catalogue = open_catalogue(released.folder / "releases" / "current" / "catalogues" / SEGMENTATION)
    assert isinstance(catalogue, ImageCatalogue) and catalogue.tile(NAMES[0])["labels"].values.max() == 3
    for name in ("DR1", "DR2"):
        report = verify_release(released.folder, name)
        assert report.ok and report.n_tiles == N + 3 and not report.extra
    assert verify(released.folder).ok


def test_the_documents_name_the_images_as_what_sources_come_from(released):
    folder = released.folder / "releases" / "DR1"
    prov = json.loads((folder / "prov.json").read_text())
    used = {one["prov:activity"].split("/")[1]: one["prov:entity"] for one in prov["used"].values()}
    assert used["tiling"].startswith("sm:catalogue/segmentation/") and used["features"].startswith("sm:tables/")
    assert "segmentation" in (folder / "ro-crate-metadata.json").read_text()


def test_the_gate_limits_the_rows_of_tiles_of_the_sky_alone(run):
    """Image tiles are as the survey cut them; those of the sky hold one source each."""
    content = Content(run.folder, ["sources", SEGMENTATION], [])
    told = publish(content, "DR3", gate=GateSettings(rows_per_tile=1, quarantined_share=0.0), page=lambda *_: Path())
    rules = {(rule["rule"], rule["catalogue"]) for rule in told["gate"]["rules"]}
    assert ("rows_per_tile", "sources") in rules and ("rows_per_tile", SEGMENTATION) not in rules
    assert ("quarantined_share", SEGMENTATION) in rules


def test_a_segmentation_of_other_sources_is_not_published_with_them(run):
    entries = write_image_catalogue(run.root(SEGMENTATION), NAMES[:2])
    seal(run.root(SEGMENTATION), [group_of_all(run.root(SEGMENTATION), entries)])
    with pytest.raises(ReleaseError, match=r"do not account for the same rows \(sources 12, segmentation 7\)"):
        run.publish("DR3", "sources", SEGMENTATION)


def test_changed_image_tiles_are_counted_and_sources_are_not_compared(released):
    [sides] = compared("DR1", "DR2", released.folder)
    assert sides.name == SEGMENTATION and sides.of_images
    changes = tile_changes(sides.before, sides.after)
    assert changes.changed == (NAMES[0],) and changes.shared == NAMES[1:] and not changes.added + changes.removed
    done = CliRunner().invoke(app, ["diff", "DR1", "DR2", "--run", str(released.folder)])
    assert done.exit_code == 0, done.output
    told = " ".join(done.output.split())
    assert "segmentation: 2 tiles of images are the same, 1 changed, 0 added, 0 removed; sources are not" in told
    with pytest.raises(StoreError, match="expected a catalogue of image tiles, found tiles of the sky"):
        tile_changes(sides.before, str(released.root("sources")))


def test_image_tiles_that_come_and_go_are_counted(released, tmp_path):
    root = tmp_path / SEGMENTATION
    seal(root, [group_of_all(root, write_image_catalogue(root, [NAMES[0], "tract=1/patch=1"]))])
    [sides] = compared(str(released.root(SEGMENTATION)), str(root), tmp_path)
    changes = tile_changes(sides.before, sides.after)
    assert changes.added == ("tract=1/patch=1",) and changes.removed == NAMES[1:]


def test_one_may_go_back_to_another_segmentation(run):
    current = run.folder / "releases" / "current" / "catalogues" / SEGMENTATION
    now = open_catalogue(current).version
    assert rollback(run.folder) == "DR1" and open_catalogue(current).version != now
    assert verify(run.folder).ok


def test_a_copy_holds_tiles_as_files_and_verifies_elsewhere(released, tmp_path, serve):
    members = copy_release(released.folder, "DR1", tmp_path / "copy")
    files, others = inventory(tmp_path / "copy")
    assert not others and {f"catalogues/{SEGMENTATION}/{name}.zarr.zip" for name in NAMES} <= files.keys()
    assert {member.name for member in members} == files.keys()
    report = verify(tmp_path / "copy")
    assert report.ok and report.n_tiles == N + 3 and not report.extra
    here = open_catalogue(released.folder / "releases" / "DR1" / "catalogues" / SEGMENTATION)
    for place in (
        tmp_path / "copy" / "catalogues" / SEGMENTATION,
        f"{serve(tmp_path / 'copy')}/catalogues/segmentation",
    ):
        there = open_catalogue(place)
        assert there.tile(NAMES[1]).load().identical(here.tile(NAMES[1]).load())
        assert there.to_xarray().compute(scheduler="synchronous").identical(here.to_xarray().compute())
    copy_release(released.folder, "DR1", tmp_path / "copy.tar")
    assert (tmp_path / "copy.tar").stat().st_size > sum(member.n_bytes for member in members)


@pytest.fixture
def copy(released: TinyRun, tmp_path: Path) -> Path:
    """The catalogue of image tiles in a copy of DR1, to spoil."""
    copy_release(released.folder, "DR1", tmp_path / "DR1 of ours")
    for path in (tmp_path / "DR1 of ours").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
    return tmp_path / "DR1 of ours" / "catalogues" / SEGMENTATION


def test_every_damage_of_a_copy_is_named(copy):
    for path in sorted(inventory(copy)[0].values()):
        content = path.read_bytes()
        spoilt = bytearray(content)
        spoilt[len(content) // 3] ^= 4
        for found in (spoilt, content[:-1], None):
            path.unlink()
            if found is not None:
                path.write_bytes(found)
            [problem] = verify(copy.parents[1]).problems
            assert problem.path == path and "copy the release again" in problem.mend
        path.write_bytes(content)
    assert verify(copy.parents[1]).ok


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Change what a document says, its checksum included."""
    values = json.loads(path.read_bytes())
    change(values)
    path.write_bytes(to_document(values))
    return values


def forge(folder: Path, name: str) -> None:
    """Give the first tile of a version another name, with every checksum of version and release in order."""
    table = pq.read_table(folder / TILE_TABLE)
    table = table.set_column(0, "image", pa.array([name, *table["image"].to_pylist()[1:]], pa.string()))
    pq.write_table(table, folder / TILE_TABLE, compression="zstd")

    def agree(values: dict[str, Any]) -> None:
        values["content"]["tables"][TILE_TABLE] = table_digest(table.to_batches(), table.schema.names)
        values["files"][TILE_TABLE] = file_sha256(folder / TILE_TABLE)
        values["version"] = short(digest(values["content"]))

    version = rewrite(folder / MANIFEST, agree)["version"]
    rewrite(folder.parents[1] / MANIFEST, lambda values: values["catalogues"][SEGMENTATION].update(version=version))


def test_what_is_forged_without_harm_passes(copy):
    (copy / f"{NAMES[0]}.zarr.zip").rename(copy / "tract=9813" / "patch=.zarr.zip")
    forge(copy, "tract=9813/patch=")
    assert verify(copy.parents[1]).ok and open_catalogue(copy).tile("tract=9813/patch=").sizes["source"] == 3


@pytest.mark.parametrize(
    "name",
    ["a=1/../../../../etc", "/etc/a=1", "a\\=1", "a=\n", "a=1//b=2", "", "..", "a=\x1b[2J", "a=\u202e", "passwd"],
)
def test_names_that_lead_elsewhere_are_refused(copy, name):
    forge(copy, name)
    with pytest.raises(StoreError, match=r"tiles\.parquet: expected names of image tiles"):
        open_catalogue(copy)
    [problem] = [one for one in verify(copy.parents[1]).problems if one.path == copy]
    assert "expected names of image tiles" in problem.found and problem.found.isprintable()


def test_links_devices_and_pipes_in_the_place_of_tiles_are_not_opened(copy, tmp_path):
    tile = copy / f"{NAMES[0]}.zarr.zip"
    outside = tile.rename(tmp_path / "outside")
    tile.symlink_to(outside)
    assert {("wrong", tile)} == {(one.kind, one.path) for one in verify(copy.parents[1]).problems}
    tile.unlink()
    os.mkfifo(tile)
    assert tile in {problem.path for problem in verify(copy.parents[1]).problems}


def test_what_releases_and_asked_for_manifests_name_stays(run):
    """DR1's tile stays while DR1 names it; the tile of a manifest that nobody asks for goes."""
    root = run.root(SEGMENTATION)
    seal_images(run, {NAMES[0]: 2})  # is current, and its group manifest the only one
    other = write_image_catalogue(root.parent / "other", ["tract=7/patch=7"])
    (root / "tiles" / "tract=7" / "patch=7").mkdir(parents=True)
    stray = root / "tiles" / "tract=7" / "patch=7" / f"{short(other[0].key)}.zarr.zip"
    shutil.copy(next((root.parent / "other" / "tiles").rglob("*.zip")), stray)
    shutil.rmtree(root.parent / "other")
    run.age(3)
    found = collect_garbage(run.folder, Asked({}, ()), older_than_days=1).catalogues[SEGMENTATION]
    assert [item.path for item in found.tiles.deleted] == [stray] and not stray.parent.exists()
    assert (found.tiles.kept, found.versions.kept) == (5, 3)
    assert verify(run.folder).ok and verify_release(run.folder, "DR1").ok


def test_what_a_segmenter_finds_is_published_beside_the_survey_s_sources_with_its_file(run):
    """It has found others, which is no fault of it; without being told so, the same is refused."""
    entries = write_image_catalogue(run.root("unet"), NAMES[:2])
    seal(run.root("unet"), [group_of_all(run.root("unet"), entries)])
    model, fit = run.folder / "models" / "unet", run.folder / "training" / "unet" / "0123456789ab"
    for folder in (model, fit):
        folder.mkdir(parents=True)
    (model / MANIFEST).write_text(json.dumps({"fit": fit.name, "onnx": "ab"}))
    (model / "ab.onnx").write_bytes(b"graph")
    (fit / "metrics.json").write_text("{}")
    content = Content(run.folder, ["sources", SEGMENTATION, "unet"], [])
    with pytest.raises(ReleaseError, match="the catalogues do not account for the same rows"):
        publish(content, "DR3", gate=GateSettings(), page=lambda *_: Path())
    told = publish(replace(content, segmenters=["unet"]), "DR3", gate=GateSettings(), page=lambda *_: Path())
    assert told["catalogues"]["unet"]["n_tiles"] == 2
    assert {"models/unet/ab.onnx", "models/unet/metrics.json"} < told["files"].keys()
    assert verify_release(run.folder, "DR3").ok


def planned(folder: Path, entries: list[Any], n_in: int, *, digest_of: str = "d" * 64) -> list[Path]:
    """The plans of a run whose one group of image tiles is called like the one of the sky, and its manifest."""
    (folder / "tiling").mkdir(parents=True)
    gate = {"n_in": n_in, "n_rows": n_in - 2, "quarantined": {}, "excluded": {"not_primary": 2}}
    plan = {"survey": "pictures", "data": "", "groups": {"o0p0": {"digest": "e" * 64}}, "gate": gate}
    (folder / "tiling" / "plan.json").write_text(json.dumps(plan))
    (folder / "tiling" / "images.json").write_text(json.dumps({"groups": {"o0p0": {"digest": "d" * 64}}}))
    failed = ImageQuarantined("tract=1/patch=1", "f" * 64, "no pixels")
    manifest = GroupManifest(SEGMENTATION, "a" * 12, "o0p0", {"group": digest_of}, tuple(entries), (failed,))
    path = folder / "catalogues" / SEGMENTATION / "groups" / ("a" * 12) / "o0p0.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    manifest.write(path)
    return [path]


def test_the_run_seals_every_detection_and_holds_the_plan_of_images_against_them(tmp_path):
    """Rows that are not primary stand in image tiles, so nothing is added to their account."""
    root = tmp_path / "catalogues" / SEGMENTATION
    entries = write_image_catalogue(root)
    shutil.rmtree(root / "groups")
    manifests = planned(tmp_path, entries, N)
    version = release.seal(SEGMENTATION, manifests, sources=[], output=tmp_path)
    told = open_catalogue(root).manifest
    assert told["accounting"]["n_in"] == told["accounting"]["n_ok"] == N and told["about"] == {"survey": "pictures"}
    assert json.loads((root / "seal.json").read_bytes()) == {"catalogue": SEGMENTATION, "version": version}
    older = replace(GroupManifest.read(manifests[0]), inputs={"group": "b" * 64})
    older.write(manifests[0])
    with pytest.raises(StoreError, match=r"segmentation: group o0p0 was made from group of digest b+, found d+"):
        release.seal(SEGMENTATION, manifests, sources=[], output=tmp_path)
    shutil.rmtree(tmp_path / "tiling")
    with pytest.raises(StoreError, match="expected 13 sources, found 12 accounted for"):
        release.seal(SEGMENTATION, planned(tmp_path, entries, N + 1), sources=[], output=tmp_path)


def test_a_segmenter_accounts_for_what_it_has_found_itself(tmp_path):
    """However many detections the survey's plan counts."""
    root = tmp_path / "catalogues" / SEGMENTATION
    entries = write_image_catalogue(root)
    shutil.rmtree(root / "groups")
    manifests = planned(tmp_path, entries, N + 100)
    with pytest.raises(StoreError, match="expected 112 sources, found 12 accounted for"):
        release.seal(SEGMENTATION, manifests, sources=[], output=tmp_path)
    release.seal(SEGMENTATION, manifests, sources=[], output=tmp_path, own_sources=True)
    assert open_catalogue(root).manifest["accounting"]["n_in"] == N
