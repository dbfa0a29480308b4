"""`skymill why` tells of any file of a run what it was made from and whether it would be made again."""

from __future__ import annotations

from pathlib import Path

import changes
import pytest
from survey_files import edit_yaml

from skymill.cli.operating.retry import drop, retries
from skymill.cli.operating.status import read_status
from skymill.cli.operating.why import explain
from skymill.compute import GroupLockedError, group_lock
from skymill.store import GroupManifest, Pool, file_sha256

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def _one(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(f"results/{pattern}"))[0]


def test_a_tile_is_explained_by_its_receipt_and_by_who_names_it(folder, workflow):
    features, tile = (_one(folder, f"catalogues/{name}/groups/*/o0p0.json") for name in ("features", "mlp"))
    entry = GroupManifest.read(tile).tiles[0]
    path = Pool(folder / "results/catalogues/mlp").path(entry.tile, entry.key)
    found = explain(path, workflow())
    source = next(other for other in GroupManifest.read(features).tiles if other.tile == entry.tile)
    assert found.made_of["key"] == entry.key
    assert found.made_of["ingredients"]["input"] == source.sha256
    assert found.again == "no"
    assert any("o0p0.json" in note for note in found.notes)
    assert any("(current)" in note for note in found.notes)
    assert found.then == {"release_seal": 1, "training_shift": 1, "report_page": 1}


def test_a_link_of_a_version_leads_to_its_tile(folder, workflow):
    link = _one(folder, "catalogues/mlp/versions/*/Norder=*/Dir=*/*.zarr.zip")
    found = explain(link, workflow())
    assert Path(found.path).resolve() == link.resolve()
    assert "key" in found.made_of


def test_a_tile_that_nothing_names_is_garbage(folder, workflow):
    tile = _one(folder, "catalogues/mlp/tiles/*/*/*/*.zarr.zip")
    stray = tile.with_name("0123456789ab.zarr.zip")
    stray.write_bytes(tile.read_bytes())
    found = explain(stray, workflow())
    assert any(note.startswith("garbage") for note in found.notes)
    assert "another tile in its place" in found.again


def test_a_deleted_tile_is_told_from_one_that_never_was(folder, workflow):
    tile = _one(folder, "catalogues/mlp/tiles/*/*/*/*.zarr.zip")
    changes.lost_tile(folder)
    assert not tile.exists()
    assert read_status(workflow()).is_done  # manifests alone are read, as Snakemake does
    found = explain(tile, workflow())
    assert not found.exists
    assert "Snakemake does not look at tiles" in found.again
    assert "skymill verify" in found.again
    other = explain(tile.with_name("0123456789ab.zarr.zip"), workflow())
    assert f"has key {tile.name[:12]}" in other.again


def test_a_quarantined_tile_says_why_and_retry_has_it_tried_again(folder, workflow):
    changes.quarantined_tile(folder)
    [tile] = read_status(workflow()).quarantined
    assert tile.catalogue == "features"
    assert tile.reason
    manifest = _one(folder, "catalogues/features/groups/*/o0p0.json")
    entry = GroupManifest.read(manifest).quarantined[0]
    found = explain(Pool(folder / "results/catalogues/features").path(entry.tile, entry.key), workflow())
    assert not found.exists
    assert any(note == f"quarantined: {entry.reason}" for note in found.notes)
    assert "skymill retry" in found.again
    to_retry = retries(workflow())
    assert [path.resolve() for path in to_retry] == [manifest.resolve()]
    with group_lock(manifest.with_suffix(".lock")), pytest.raises(GroupLockedError):
        drop(to_retry)
    assert manifest.exists()
    drop(to_retry)
    assert not manifest.exists()
    assert retries(workflow()) == {}


def test_a_manifest_of_former_settings_names_what_is_asked_for_instead(folder, workflow):
    manifest = _one(folder, "catalogues/features/groups/*/o0p0.json")
    edit_yaml(folder / "config.yaml", features={"deredden": False})
    found = explain(manifest, workflow())
    assert found.exists
    assert found.again.startswith("no: ")
    assert "features.extinction" in found.again
    asked = next(job.output for job in workflow().jobs.values() if job.name == "features_compute features o0p0")
    missing = explain(asked, workflow())
    assert not missing.exists
    assert missing.job == "features_compute features o0p0"
    assert missing.again.startswith("yes: settings: features.extinction")


def test_a_missing_output_shows_the_end_of_the_log_that_failed(folder, workflow):
    manifest = _one(folder, "catalogues/sources/groups/*/o0p4.json")
    manifest.unlink()
    log = folder / "results/logs/tiling_partition/o0p4.log"
    assert explain(manifest, workflow()).log == ()
    log.write_text(log.read_text() + "2026-01-01 00:00:00,000 ERROR skymill: PartitionError: told to fail\n")
    assert "told to fail" in explain(manifest, workflow()).log[-1]


@pytest.mark.parametrize(
    ("pattern", "job"),
    [
        ("tiling/plan.json", "tiling_plan"),
        ("tiling/groups/o0p0-*.json", "tiling_plan"),
        ("training/set.json", "training_set"),
        ("training/sets/*.parquet", "training_set"),
        ("training/mlp/*/metrics.json", "training_fit mlp"),
        ("training/shift/mlp/shift.json", "training_shift mlp"),
        ("training/shift/mlp/card.md", "training_shift mlp"),
        ("models/mlp/*.onnx", "export_onnx mlp"),
        ("catalogues/mlp/current.json", "release_seal mlp"),
        ("catalogues/mlp/versions/*/tiles.parquet", "release_seal mlp"),
        ("report/index.html", "report_page"),
    ],
)
def test_every_product_names_its_job_and_need_not_be_made_again(folder, workflow, pattern, job):
    found = explain(_one(folder, pattern), workflow())
    assert found.job == job
    assert found.again == "no"


def test_inputs_are_told_by_their_digests(folder, workflow):
    fit = _one(folder, "training/mlp/*/manifest.json")
    [(path, digest)] = explain(fit, workflow()).made_of["inputs"].items()
    assert digest == file_sha256(path)


def test_what_no_run_makes_is_refused(folder, workflow, tmp_path):
    with pytest.raises(ValueError, match="not below results"):
        explain(tmp_path / "elsewhere.json", workflow())
    with pytest.raises(ValueError, match="nothing that this run makes"):
        explain(folder / "results" / "nonsense.json", workflow())
