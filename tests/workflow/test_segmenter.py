"""The real workflow with a learned segmenter in place of detection."""

from __future__ import annotations

from pathlib import Path

import image_files
import pytest
from segmenters import write_segmenter
from snakemake_run import run
from survey_files import edit_yaml, write_yaml

from skymill.cli.chain import Chain
from skymill.cli.operating.jobs import Workflow
from skymill.cli.operating.status import read_status
from skymill.config import ConfigError, read_yaml
from skymill.store import GroupManifest, open_catalogue, open_tile

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_new_segmenter_measures_the_images_again_and_a_renamed_one_does_not(tmp_path: Path):
    """All sources of the survey's table are those that it found; nothing is planned anew but what follows from them."""
    image_files.write_images(tmp_path)
    write_segmenter(tmp_path / "learned.onnx")
    edit_yaml(tmp_path / "config.yaml", models=[], features={"measure": {"segmenter": "learned.onnx"}})
    target = "results/tiling/plan.json"
    outcome = run(tmp_path, target)
    assert outcome.jobs == {"tiling_images": 1, "features_measure": 1, "tiling_plan": 1}
    catalogue = tmp_path / "results" / "catalogues" / "segmentation"
    [path] = catalogue.glob("groups/*/*.json")
    manifest = GroupManifest.read(path)
    assert manifest.accounting.n_in > 0.99 * len(image_files.sources()["x"])
    for file in catalogue.glob("tiles/**/*.zarr.zip"):
        assert open_tile(file).attrs["segmenter"]["name"] == "significance"
    (tmp_path / "learned.onnx").rename(tmp_path / "other.onnx")
    edit_yaml(tmp_path / "config.yaml", features={"measure": {"segmenter": "other.onnx"}})
    assert run(tmp_path, target).jobs == {}
    write_segmenter(tmp_path / "other.onnx", threshold=6.0)
    assert run(tmp_path, target, "--dry-run").jobs["features_measure"] == 1


def test_a_segmenter_is_fitted_on_rendered_sky_and_has_a_catalogue_beside_the_survey_s_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its blends are told; a new one leaves the survey's sources alone; nothing is done twice; a pin keeps it."""
    image_files.write_images(tmp_path)
    settings = {
        "bands": ["g", "r", "i"],
        "scenes": 8,
        "held_out": 3,
        "scene_px": 128,
        "crop_px": 64,
        "window_px": 96,
        "width": 8,
        "levels": 2,
        "depth": 1,
        "batch_size": 4,
        "epochs": 16,
        "pairs": 40,
    }
    model = {"name": "unet", "kind": "unet", "task": "segmentation", "settings": settings}
    write_yaml(tmp_path / "unet.yaml", model)
    edit_yaml(tmp_path / "config.yaml", models=["unet.yaml"], labels=None)
    outcome = run(tmp_path)
    made = {"segmenter_fit": 1, "segmenter_export": 1, "segmenter_measure": 1, "features_measure": 1}
    assert made.items() <= outcome.jobs.items() and outcome.jobs["release_seal"] == 4
    assert "training_set" not in outcome.jobs
    catalogues = tmp_path / "results" / "catalogues"
    found, detected = (open_catalogue(catalogues / name) for name in ("unet", "segmentation"))
    tile = found.tile(found.tiles["image"][0])
    assert len(found) > 50 and tile.attrs["segmenter"]["name"] == "unet" and tile.attrs["catalogue"] == "unet"
    assert ((tile["blend_probability"] > 0) & (tile["blend_probability"] < 1)).all()
    assert "blend_probability" not in detected.tile(detected.tiles["image"][0])
    assert "unet: sources that it finds itself" in (tmp_path / "results" / "report" / "index.html").read_text()
    assert run(tmp_path).jobs == {}
    edit_yaml(tmp_path / "unet.yaml", settings={**settings, "epochs": 17})
    planned = run(tmp_path, "--dry-run").jobs
    assert planned["segmenter_fit"] == 1 and "features_measure" not in planned
    [fit] = (tmp_path / "results" / "training" / "unet").glob("*/manifest.json")
    edit_yaml(tmp_path / "unet.yaml", pin=fit.parent.name)
    assert run(tmp_path, "--dry-run").jobs == {}
    monkeypatch.chdir(tmp_path)
    status = read_status(Workflow(Chain.from_config(read_yaml("config.yaml"), ["config.yaml"])))
    [pinned] = status.pinned
    assert status.is_done and (pinned.model, pinned.fit) == ("unet", fit.parent.name)
    assert pinned.words.startswith("stale: model: settings.epochs")
    edit_yaml(tmp_path / "unet.yaml", pin="0" * 12)
    with pytest.raises(ConfigError, match=f"pin: 000000000000: no such fit .* there are: {fit.parent.name}"):
        Chain.from_config(read_yaml("config.yaml"), ["config.yaml"])
