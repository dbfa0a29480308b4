"""A small segmenter from its rendered sky to the sources that its file finds."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from skymill.config import ModelConfig
from skymill.config.images import MeasureSettings
from skymill.config.model import ParitySettings
from skymill.export.parity import ParityError
from skymill.export.segmenter_parity import measure_segmenter_parity
from skymill.export.segmenting import card_of, segmenter_to_onnx
from skymill.features.measuring import MeasureError, measure
from skymill.features.segmenting.segmenter import Segmenter
from skymill.models.unet import UnetSettings
from skymill.sessions.runtime import open_session
from skymill.training.arrays import TrainingSetError
from skymill.training.scenes import Scene, render_scene, scene_settings
from skymill.training.segment_judging import area_under_roc, unrecognised
from skymill.training.segmenting import (
    HELD_OUT_WINDOWS,
    SegmenterFit,
    fit_blend,
    fit_segmenter,
    load_segmenter_fit,
    maps_of,
)

SETTINGS = {
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
MODEL = ModelConfig(name="small", kind="unet", task="segmentation", settings=SETTINGS)


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> SegmenterFit:
    folder = tmp_path_factory.mktemp("fit") / "0123456789ab"
    folder.mkdir()
    fit_segmenter(MODEL, seed=3, output_folder=folder, device="cpu")
    return load_segmenter_fit(folder)


@pytest.fixture(scope="module")
def exported(fit: SegmenterFit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return segmenter_to_onnx(fit.folder / "manifest.json", output=tmp_path_factory.mktemp("run"), model=MODEL).parent


@pytest.fixture(scope="module")
def segmenter(exported: Path) -> Segmenter:
    [file] = exported.glob("*.onnx")
    return Segmenter(file.read_bytes(), source=file.name)


@pytest.fixture(scope="module")
def scenes() -> dict[str, list[Scene]]:
    settings = UnetSettings.model_validate(SETTINGS)
    return {
        split: [render_scene(each) for each in scene_settings(settings, split)] for split in ("train", "validation")
    }


@pytest.fixture(scope="module")
def scene(scenes: dict[str, list[Scene]]) -> Scene:
    return scenes["validation"][0]


def test_a_fit_says_how_good_it_is_beside_both_deblenders(fit: SegmenterFit) -> None:
    metrics = json.loads((fit.folder / "metrics.json").read_text())
    assert metrics["trained_on"] == "rendered sky alone" and metrics["scenes"] == 3
    assert set(metrics["methods"]) == {"unet", "measuring", "sep"}
    ours = metrics["methods"]["unet"]
    assert ours["ap50"]["low"] <= ours["ap50"]["value"] <= ours["ap50"]["high"]
    assert ours["recall_of_places"]["value"] > 0.3
    assert fit.manifest["scenes"] == {"train": 8, "validation": 3, "test": 3}
    assert not (fit.folder / ".resume").exists()


def test_weights_of_blends_are_the_same_bits_each_time(fit: SegmenterFit, scenes: dict[str, list[Scene]]) -> None:
    """And those that the fit has kept."""
    found = fit_blend(fit.model, fit.settings, scenes["train"], scenes["validation"], where="small")
    assert np.array_equal(found, fit.model.blend)


def test_a_changed_file_of_a_fit_is_refused(fit: SegmenterFit, tmp_path: Path) -> None:
    copy = shutil.copytree(fit.folder, tmp_path / "copy")
    (copy / "checkpoint.pt").write_bytes(b"spoilt")
    with pytest.raises(TrainingSetError, match=r"checkpoint\.pt: expected SHA-256 .*, found .*; fit the model again"):
        load_segmenter_fit(copy)


def test_the_file_says_what_the_fit_is(fit: SegmenterFit, exported: Path, segmenter: Segmenter) -> None:
    assert segmenter.card == card_of(fit)
    assert (segmenter.card.bands, segmenter.card.pixel_scale_arcsec) == (["g", "r", "i"], 0.2)
    manifest = json.loads((exported / "manifest.json").read_text())
    assert manifest["sha256"] == segmenter.sha256 and manifest["fit"] == fit.folder.name
    assert manifest["parity"]["windows"] == 3 + 3 + 3 + 5
    assert manifest["parity"]["max_probability_difference"] < 1e-4


def test_a_file_that_differs_from_the_network_is_found_and_not_written(fit: SegmenterFit, exported: Path) -> None:
    [file] = exported.glob("*.onnx")
    session = open_session(file.read_bytes(), provider="cpu", source="x")
    with np.load(fit.folder / HELD_OUT_WINDOWS) as held_out:
        windows = held_out["flux"], held_out["inverse_variance"]
    assert measure_segmenter_parity(fit.model, session, windows).max_map_difference < 1e-2
    changed = load_segmenter_fit(fit.folder).model
    with torch.no_grad():
        changed.network.head[0].bias[16] += 0.3
    parity = measure_segmenter_parity(changed, session, windows)
    assert parity.max_probability_difference > 1e-3 and parity.worst.startswith("centre of windows")
    with pytest.raises(ParityError, match=r"model 'small': .* max_probability_difference is .*, the limit 0\.0001"):
        parity.check(ParitySettings(), model="small")


def test_a_file_over_the_limit_is_not_written(fit: SegmenterFit, tmp_path: Path) -> None:
    strict = MODEL.model_copy(update={"parity": ParitySettings(max_map_difference=1e-12)})
    with pytest.raises(ParityError, match=r"max_map_difference is .*Nothing was written"):
        segmenter_to_onnx(fit.folder / "manifest.json", output=tmp_path, model=strict)
    assert not list(tmp_path.rglob("*.onnx"))


def test_measured_with_it_a_tile_has_its_sources_and_how_likely_each_is_a_blend(
    fit: SegmenterFit, segmenter: Segmenter, scene: Scene
) -> None:
    found = measure(scene.tile, MeasureSettings(), segmenter=segmenter)
    assert found.n > 10 and found.blend_probability is not None
    assert found.blend_probability.shape == (found.n,) and found.blend_probability.dtype == np.float32
    blend = maps_of(fit.model, scene, fit.settings)[7]
    for label in (1, found.n):
        odds = blend[found.labels == label].astype(float).mean()
        assert found.blend_probability[label - 1] == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-4)


def test_blends_are_told_by_more_than_chance(segmenter: Segmenter, scenes: dict[str, list[Scene]]) -> None:
    seen = scenes["train"]
    found = [segmenter(each.tile, each.sky, each.fwhm_px, MeasureSettings()) for each in seen]
    probability = np.concatenate([each.blend_probability for each in found if each.blend_probability is not None])
    blended = np.concatenate([unrecognised(each, one.labels) for each, one in zip(seen, found, strict=True)])
    assert area_under_roc(probability, blended) > 0.65
    assert abs(probability.mean() - blended.mean()) < 0.08


def test_pixels_of_another_size_are_refused(segmenter: Segmenter, scene: Scene) -> None:
    wcs = scene.tile.wcs.deepcopy()
    wcs.wcs.cd = wcs.wcs.cd * 1.3
    with pytest.raises(MeasureError, match=r"made for pixels of 0\.2 arcsec .*, the tile's are of 0\.26"):
        measure(replace(scene.tile, wcs=wcs), MeasureSettings(), segmenter=segmenter)
