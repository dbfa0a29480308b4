"""The real workflow with a learned segmenter in place of detection."""

from __future__ import annotations

from pathlib import Path

import image_files
import pytest
from segmenters import write_segmenter
from snakemake_run import run
from survey_files import edit_yaml

from skymill.store import GroupManifest, open_tile

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
