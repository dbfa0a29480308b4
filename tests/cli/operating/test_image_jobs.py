"""What the commands know of the catalogue of image tiles, before and after its tiles are planned."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import image_files
import pytest
from segmenters import write_segmenter
from stamp_models import write_stamp_model
from survey_files import edit_yaml, write_yaml

from skymill import export, tiling
from skymill.cli.chain import Chain
from skymill.cli.gc import asked_for
from skymill.cli.operating.jobs import Workflow
from skymill.cli.operating.rates import DOCUMENTED, STAMPS, find_rates
from skymill.cli.operating.retry import retries
from skymill.cli.operating.why import explain
from skymill.cli.where import what_stands
from skymill.config import read_yaml
from skymill.sky import ImageTile
from skymill.store import Accounting, GroupManifest
from skymill.store.manifest import ImageEntry, ImageQuarantined


@pytest.fixture
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Workflow]:
    """The jobs of a survey of images whose folder is the working directory, as it stands when asked."""
    image_files.write_images(tmp_path)
    monkeypatch.chdir(tmp_path)
    return lambda: Workflow(Chain.from_config(read_yaml("config.yaml"), ["config.yaml"]))


def plan_images(workflow: Workflow) -> str:
    """Plan the image tiles; give the one group's manifest."""
    chain = workflow.chain
    tiling.plan_images(chain.run, chain.survey, chain.output, workers=1)
    [group] = Workflow(chain).image_groups
    return workflow.manifest("segmentation", chain.segmentation_settings, group)


def test_the_catalogue_is_sealed_from_the_manifests_of_image_groups(workflow):
    chain = workflow().chain
    assert chain.catalogues == ["sources", "features", "segmentation", "forest"]
    assert chain.catalogue_settings("segmentation") == chain.segmentation_settings
    before = workflow()
    assert before.manifests("segmentation") == []
    assert "tiling_images" in before.jobs["release_seal segmentation"].after
    manifest = plan_images(before)
    seal = workflow().jobs["release_seal segmentation"]
    assert manifest in seal.inputs and f"features_measure segmentation {Path(manifest).stem}" in seal.after
    assert seal.output == "results/catalogues/segmentation/seal.json"
    assert "release_seal segmentation" in workflow().jobs["report_page"].after
    assert not [name for name in workflow().jobs if name.startswith("inference_run segmentation")]


def test_garbage_collection_asks_for_its_manifests_once_they_are_planned(workflow):
    assert asked_for(workflow().chain).groups["segmentation"] is None
    manifest = Path(plan_images(workflow()))
    asked = {str(manifest.relative_to("results/catalogues/segmentation"))}
    assert asked_for(workflow().chain).groups["segmentation"] == asked


def test_an_image_tile_belongs_to_the_group_that_measures_it(workflow):
    assert workflow().group_of(ImageTile("tile=01")) == ""
    manifest = plan_images(workflow())
    assert workflow().group_of(ImageTile("tile=01")) == Path(manifest).stem
    assert workflow().group_of(ImageTile("tile=99")) == ""


def test_a_failed_image_tile_is_named_and_tried_again(workflow):
    path = Path(plan_images(workflow()))
    path.parent.mkdir(parents=True)
    failed = ImageQuarantined("tile=01", "f" * 64, "r-01.fits is cut off")
    settings = workflow().chain.segmentation_settings
    GroupManifest("segmentation", settings, path.stem, quarantined=(failed,)).write(path)
    [(manifest, [tile])] = retries(workflow()).items()
    assert manifest == path and (tile.tile, tile.rows) == ("tile=01", 0) and "cut off" in tile.reason
    told = explain(f"results/catalogues/segmentation/tiles/tile=01/{'f' * 12}.zarr.zip", workflow())
    assert told.kind == f"tile tile=01 of catalogue segmentation, group {path.stem}" and not told.exists
    assert "quarantined: r-01.fits is cut off" in told.notes and "skymill retry" in told.again


def test_sources_whose_images_could_not_be_read_are_tried_again(workflow):
    path = Path(plan_images(workflow()))
    path.parent.mkdir(parents=True)
    seen, unseen = (
        ImageEntry(
            name, "a" * 64, "b" * 64, 100, 30, Accounting(30, 30 - lost, lost, {"no_pixels": lost} if lost else {})
        )
        for name, lost in (("tile=00", 0), ("tile=01", 12))
    )
    settings = workflow().chain.segmentation_settings
    GroupManifest("segmentation", settings, path.stem, tiles=(seen, unseen)).write(path)
    [(manifest, [tile])] = retries(workflow()).items()
    assert manifest == path
    assert (tile.tile, tile.rows, tile.reason) == ("tile=01", 12, "images of its sources could not be read")


def test_a_person_is_shown_the_answers_and_not_the_images(tmp_path):
    for name in ("features", "forest", "segmentation", "sources"):
        (tmp_path / "catalogues" / name).mkdir(parents=True)
        (tmp_path / "catalogues" / name / "current.json").touch()
    told = "\n".join(what_stands(tmp_path))
    assert f"  {tmp_path}/catalogues/segmentation\n" in told
    assert f'open_catalogue("{tmp_path}/catalogues/forest")' in told


def add_segmenter(**settings: object) -> None:
    """Put a U-Net into the run."""
    settings = {"bands": ["g", "r", "i"], **settings}
    write_yaml(Path("unet.yaml"), {"name": "unet", "kind": "unet", "task": "segmentation", "settings": settings})
    edit_yaml(Path("config.yaml"), models=["forest.yaml", "unet.yaml"])


def put_export(workflow: Workflow, **changes: float) -> str:
    """Put a file and its manifest where the export of the U-Net would; give the file's name."""
    folder = Path("results/models/unet")
    folder.mkdir(parents=True, exist_ok=True)
    content = Path(write_segmenter(Path("exported.onnx"), **changes)).read_bytes()
    onnx = hashlib.sha256(content).hexdigest()[:12]
    (folder / f"{onnx}.onnx").write_bytes(content)
    told = {"onnx": onnx, "fit": workflow.chain.segmenter_fit("unet"), "card": {}}
    (folder / "manifest.json").write_text(json.dumps(told))
    return onnx


def test_a_segmenter_has_a_catalogue_of_images_of_its_own_once_it_is_exported(workflow):
    add_segmenter()
    plan_images(workflow())
    chain, jobs = workflow().chain, workflow().jobs
    assert chain.catalogues == ["sources", "features", "segmentation", "unet", "forest"]
    assert jobs["segmenter_fit unet"].output == f"results/training/unet/{chain.segmenter_fit('unet')}/manifest.json"
    assert jobs["segmenter_fit unet"].inputs == ()
    [group] = workflow().image_groups
    assert not jobs[f"segmenter_measure unet {group}"].output and not workflow().manifests("unet")
    onnx = put_export(workflow())
    [manifest] = workflow().manifests("unet")
    assert manifest == f"results/catalogues/unet/groups/{chain.found_settings('unet', onnx)}/{group}.json"
    jobs = workflow().jobs
    assert f"results/models/unet/{onnx}.onnx" in jobs[f"segmenter_measure unet {group}"].inputs
    assert jobs[f"segmenter_measure unet {group}"].ingredients.decides == {"settings": Path(manifest).parent.name}
    assert {manifest, "results/models/unet/manifest.json"} < set(jobs["release_seal unet"].inputs)
    assert not any("catalogues/features" in path for path in jobs["release_seal unet"].inputs)
    assert "release_seal unet" in jobs["report_page"].after
    assert not any(" unet" in name for name in jobs if name.startswith(("training_", "export_", "inference_")))


def test_its_catalogue_is_another_where_its_file_is_and_that_of_detection_stays(workflow):
    add_segmenter()
    plan_images(workflow())
    detected = workflow().chain.segmentation_settings
    first = workflow().chain.found_settings("unet", put_export(workflow()))
    second = workflow().chain.found_settings("unet", put_export(workflow(), threshold=7.0))
    assert len({first, second, detected}) == 3
    assert workflow().chain.segmentation_settings == detected


def test_garbage_collection_knows_its_groups_only_of_the_fit_that_is_asked_for(workflow):
    add_segmenter()
    plan_images(workflow())
    assert asked_for(workflow().chain).groups["unet"] is None
    put_export(workflow())
    [manifest] = workflow().manifests("unet")
    assert asked_for(workflow().chain).groups["unet"] == {str(Path(manifest).relative_to("results/catalogues/unet"))}
    add_segmenter(epochs=3)
    assert asked_for(workflow().chain).groups["unet"] is None


def test_a_segmenter_that_is_only_judged_is_fitted_and_not_run(workflow):
    add_segmenter()
    edit_yaml(Path("unet.yaml"), catalogue=False)
    plan_images(workflow())
    jobs = workflow().jobs
    assert "segmenter_fit unet" in jobs and "unet" not in workflow().chain.catalogues
    assert not any(name.startswith(("segmenter_export", "segmenter_measure", "release_seal unet")) for name in jobs)


def test_a_person_is_not_shown_how_to_search_the_catalogue_of_a_segmenter(workflow, tmp_path):
    for name in ("features", "forest", "unet"):
        (tmp_path / "results" / "catalogues" / name).mkdir(parents=True)
        (tmp_path / "results" / "catalogues" / name / "current.json").touch()
    add_segmenter()
    put_export(workflow())
    assert 'catalogues/forest")' in "\n".join(what_stands(tmp_path / "results"))


def test_a_model_of_stamps_reads_the_plans_of_all_images(workflow):
    """Said by the file itself, once it is exported; its catalogue depends on what the pixels mean."""
    path = write_stamp_model(Path("colour.onnx"))
    write_yaml(Path("colour.yaml"), {"name": "colour", "kind": "onnx", "path": str(path)})
    edit_yaml(Path("config.yaml"), models=["colour.yaml"])
    plan_images(workflow())
    chain = workflow().chain
    assert chain.looked_at("colour") is None
    export.to_onnx(None, output=chain.output, model=chain.models["colour"])
    assert chain.looked_at("colour") is chain.survey.config
    planned = Path("results/tiling/plan.json")
    planned.write_text(json.dumps({"groups": {"o0p6": {"digest": "a" * 64, "n_rows": 1, "n_tiles": 1}}}))
    job = workflow().jobs["inference_run colour o0p6"]
    assert {str(file) for file in Path("results/tiling/images").glob("*.json")} < set(job.inputs)
    assert "tiling_images" in job.after and job.ingredients.explains["settings"]["images"]["layout"] == "fits"
    before = chain.inference_settings("colour", workflow().onnx("colour"))
    edit_yaml(Path("survey.yaml"), images=image_files.configuration()["survey"]["images"] | {"psf_fwhm_arcsec": 0.9})
    assert workflow().chain.inference_settings("colour", workflow().onnx("colour")) != before


def test_the_rates_of_a_model_of_stamps_go_by_their_pixels_and_not_by_rates_of_rows(workflow):
    features = replace(DOCUMENTED["inference_run"], per_core_s=1.0, source="measured")
    rates = {}
    for size in (32, 64):
        stamps = {"size_px": size, "pixel_scale_arcsec": image_files.SCALE_ARCSEC}
        write_yaml(Path(f"cnn{size}.yaml"), {"name": f"cnn{size}", "kind": "cnn", "stamps": stamps})
        split = {"guard_arcsec": 20.0}
        edit_yaml(Path("config.yaml"), models=["forest.yaml", f"cnn{size}.yaml"], split=split)
        rates |= find_rates(workflow(), {"inference_run": features})
    assert rates["inference_run forest"] == features
    assert rates["inference_run cnn32"] == STAMPS["inference_run"]
    assert rates["inference_run cnn64"].per_core_s == rates["inference_run cnn32"].per_core_s / 4
