"""The whole chain from images: sources found, measured, sorted into the sky's tiles and classified."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import image_files
import numpy as np
import pytest
from snakemake_run import REPOSITORY, run
from survey_files import edit_yaml

import skymill.store as store
from skymill.cli.chain import Chain
from skymill.cli.operating.jobs import Workflow
from skymill.cli.operating.status import read_status
from skymill.cli.where import what_stands
from skymill.config import read_yaml
from skymill.sky import unit_vectors
from skymill.store import GroupManifest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the workflow has run to its end."""
    folder = tmp_path_factory.mktemp("pictures")
    image_files.write_images(folder)
    run(folder)
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return shutil.copytree(finished, tmp_path / "run", symlinks=True)


def positions(folder: Path, catalogue: str) -> dict[str, np.ndarray]:
    """Ids and positions of a catalogue's rows."""
    opened = store.open_catalogue(folder / "results" / "catalogues" / catalogue)
    rows = opened.to_xarray(["objectId", "coord_ra", "coord_dec"])
    return {str(name): rows[name].to_numpy() for name in rows.data_vars}


def test_each_source_of_the_field_is_catalogued_once(finished):
    """Found on up to four tiles, catalogued on one: the true sources, no id twice."""
    truth, found = image_files.sources(), positions(finished, "forest")
    assert len(np.unique(found["objectId"])) == len(found["objectId"])
    apart = np.linalg.norm(
        unit_vectors(truth["ra"], truth["dec"])[:, None] - unit_vectors(found["coord_ra"], found["coord_dec"]), axis=2
    )
    arcsec = np.degrees(apart) * 3600
    assert ((arcsec < 0.5).sum(axis=1) == 1).mean() > 0.99
    assert ((arcsec < 0.5).sum(axis=1) <= 1).all()
    assert len(found["objectId"]) < 1.03 * len(truth["ra"])
    assert np.median(arcsec.min(axis=1)) < 0.1 * image_files.SCALE_ARCSEC


def test_every_detection_is_accounted_for(finished):
    """What is detected is a source or excluded, because another tile owns it."""
    plan = json.loads((finished / "results" / "tiling" / "plan.json").read_text())["gate"]
    groups = (finished / "results" / "catalogues" / "segmentation" / "groups").glob("*/*.json")
    detected = sum(GroupManifest.read(path).accounting.n_in for path in groups)
    assert plan["n_in"] == detected
    assert plan["quarantined"] == {}
    assert plan["excluded"]["not_primary"] == detected - plan["n_rows"] > 100


def test_the_report_has_a_page_of_the_images(finished, monkeypatch):
    """Linked from the first page; it counts what was detected, and `skymill status` knows its files."""
    monkeypatch.chdir(finished)
    report = Path("results") / "report"
    assert 'href="images.html"' in (report / "index.html").read_text()
    numbers = json.loads((report / "images.json").read_text())
    assert numbers["accounting"]["sources"]["n_in"] == numbers["accounting"]["detected"] > 400
    assert numbers["tiles"] == {"measured": 4, "quarantined": 0}
    declared = Workflow(Chain.from_config(read_yaml("config.yaml"))).jobs["report_page"].beside
    assert {str(report / "images.html"), str(report / "images.json")} < set(declared)
    assert all(Path(path).is_file() for path in declared)


def test_the_segmentation_catalogue_is_sealed_with_every_detection(finished):
    """Its rows are those of the sources and those that another tile owns; each is where its pixels are."""
    catalogues = finished / "results" / "catalogues"
    opened, sources = (store.open_catalogue(catalogues / name) for name in ("segmentation", "sources"))
    assert list(opened.tiles["image"]) == ["tile=00", "tile=01", "tile=10", "tile=11"]
    assert opened.manifest["accounting"]["n_in"] == sources.manifest["accounting"]["n_in"] == len(opened)
    rows = opened.to_xarray(["objectId", "detect_isPrimary"]).compute()
    primary = rows["objectId"].values[rows["detect_isPrimary"].values]
    assert np.array_equal(np.sort(primary), np.sort(positions(finished, "sources")["objectId"]))
    for name in opened.tiles["image"]:
        tile = opened.tile(name)
        assert set(np.unique(tile["labels"])) == {0, *tile["label"].values.tolist()}
    assert store.verify(finished / "results").ok
    assert f"  {catalogues / 'segmentation'}" in what_stands(finished / "results")


@pytest.mark.parametrize("page", ["images", "store"])
def test_what_the_pages_show_of_it_runs(finished, monkeypatch, page):
    monkeypatch.chdir(finished)
    blocks = re.findall(r"```py\n(.*?)```", (REPOSITORY / "docs" / f"{page}.md").read_text(), re.DOTALL)
    known: dict[str, object] = {}
    for block in blocks:
        if "import napari" not in block:
            exec(block, known)  # noqa: S102 (our own page)
    segmentation = known["segmentation"]
    assert isinstance(segmentation, store.ImageCatalogue)
    if page == "images":
        tile, row, mask, wcs = (known[name] for name in ("tile", "row", "mask", "wcs"))
        assert mask.any() and mask.shape == tuple(np.diff(tile["bbox"][row].values)[[0, 2]])
        place = wcs.pixel_to_world(tile["centre_x"][row], tile["centre_y"][row])
        assert np.allclose([place.ra.deg, place.dec.deg], [tile["coord_ra"][row], tile["coord_dec"][row]], atol=1e-8)


def test_nothing_is_done_twice_and_the_status_says_so(folder, monkeypatch):
    assert run(folder).jobs == {}
    monkeypatch.chdir(folder)
    status = read_status(Workflow(Chain.from_config(read_yaml("config.yaml"), ["config.yaml"])))
    assert status.is_done and {item.name: item.state for item in status.catalogues}["segmentation"] == "done"


def test_a_new_tile_is_measured_with_its_neighbours_only(folder):
    """New sky: the tile itself, and the one whose inner region it narrows; the others keep their files."""
    before = {path.name for path in (folder / "results/catalogues/segmentation/tiles").rglob("*.zarr.zip")}
    step = image_files.TILE - image_files.OVERLAP
    image_files.write_tile(folder / "images", "02", 2 * step, 0, size=image_files.SIZE - 2 * step)
    edit_yaml(folder / "config.yaml", models=[])
    outcome = run(folder)
    assert outcome.jobs["tiling_images"] == outcome.jobs["features_measure"] == 1
    after = {path.name for path in (folder / "results/catalogues/segmentation/tiles").rglob("*.zarr.zip")}
    assert before < after
    assert len(after - before) == 2


def test_a_broken_tile_is_put_aside_and_the_survey_goes_on(folder):
    """A truncated file: its tile is quarantined with the reason, the others are catalogued."""
    broken = folder / "images" / "r-11.fits"
    broken.write_bytes(broken.read_bytes()[:40_000])
    edit_yaml(folder / "config.yaml", models=[])
    refused = run(folder, check=False)
    assert refused.returncode == 1
    assert "r-11.fits" in refused.text
    edit_yaml(folder / "config.yaml", compute={"memory_per_worker": "2GB", "max_quarantined_tiles": 1, "retries": 0})
    run(folder)
    [path] = (folder / "results/catalogues/segmentation/groups").glob("*/*.json")
    manifest = GroupManifest.read(path)
    assert [entry.tile.name for entry in manifest.quarantined] == ["tile=11"]
    assert "r-11.fits" in manifest.quarantined[0].reason
    assert len(positions(folder, "sources")["objectId"]) > 200
