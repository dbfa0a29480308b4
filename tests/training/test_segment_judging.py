"""Figures of merit of segmenters, against hand-made cases and scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from skymill.features.segmentation import GALAXY
from skymill.models.unet import UnetSettings
from skymill.training.scenes import Scene, render_scene, scene_settings, true_classes
from skymill.training.segment_judging import (
    Found,
    area_under_roc,
    found_by_measuring,
    found_by_sep,
    judge_scene,
    signal_over_noise,
    summarise,
    true_labels,
    unrecognised,
)


@pytest.fixture(scope="module")
def scene() -> Scene:
    [settings] = scene_settings(UnetSettings(scenes=1, held_out=1, scene_px=160), "train")
    return render_scene(settings)


def perfect(scene: Scene) -> Found:
    labels, rows = true_labels(scene)
    score = scene.true["i_flux"][rows]
    return Found(labels, scene.true["x"][rows], scene.true["y"][rows], score, true_classes(scene), score / score.max())


def test_the_truth_itself_is_perfect(scene: Scene) -> None:
    told = summarise([judge_scene(scene, perfect(scene))] * 2, seed=1)
    for name in ("ap", "ap50", "recall50", "precision50", "recall_of_places", "median_iou", "iou_star", "iou_galaxy"):
        assert told[name] == {"value": 1.0, "low": 1.0, "high": 1.0}, name


def test_half_of_the_truth_has_half_the_recall_and_full_precision(scene: Scene) -> None:
    whole = perfect(scene)
    n = len(whole.score) // 2
    labels = np.where(whole.labels <= n, whole.labels, 0)
    half = replace(whole, labels=labels, x=whole.x[:n], y=whole.y[:n], score=whole.score[:n], blend=None)
    told = summarise([judge_scene(scene, half)], seed=1)
    assert told["recall50"]["value"] == told["recall_of_places"]["value"] == n / len(whole.score)
    assert told["precision50"]["value"] == told["median_iou"]["value"] == 1
    assert told["ap50"]["value"] == pytest.approx(n / len(whole.score), abs=0.01)
    assert told["blend_auc"] is None


def test_a_wrong_class_costs_overlap(scene: Scene) -> None:
    found, seen = perfect(scene), (scene.sky.weight > 0).any(axis=0)
    true = found.classes == GALAXY
    wrong = true & seen & (np.cumsum(true & seen).reshape(true.shape) % 4 == 0)
    told = summarise([judge_scene(scene, replace(found, classes=np.where(wrong, 0, found.classes)))], seed=1)
    assert told["iou_galaxy"]["value"] == pytest.approx(1 - wrong.sum() / (true & seen).sum())


def test_both_classical_deblenders_find_the_bright_sources(scene: Scene) -> None:
    for find in (found_by_measuring, found_by_sep):
        found = find(scene)
        assert len(found.x) == len(found.score) == found.labels.max() > 10
        bright = scene.true["visible"] & (scene.true["i_flux"] > 3000)
        inside = bright & (np.abs(scene.true["x"] - 80) < 70) & (np.abs(scene.true["y"] - 80) < 70)
        apart = np.hypot(scene.true["x"][inside, None] - found.x, scene.true["y"][inside, None] - found.y)
        assert (apart.min(axis=1) < 3).mean() > 0.7


def bare(**true: Any) -> Scene:
    """A scene of which only the table of sources is looked at."""
    return Scene(None, None, 4.0, {name: np.array(values) for name, values in true.items()}, None)  # type: ignore[arg-type]


def test_a_source_with_a_second_bright_centre_on_its_pixels_is_an_unrecognised_blend() -> None:
    labels = np.zeros((4, 12), np.int32)
    labels[:, :4], labels[:, 4:8], labels[:, 8:] = 1, 2, 3
    scene = bare(
        x=[1.0, 2.0, 5.0, 6.0, 9.0, 10.0, 11.0],
        y=[1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 3.0],
        i_flux=[100.0, 10.0, 100.0, 9.9, 50.0, 500.0, 60.0],
        visible=[True, True, True, True, True, True, False],
    )
    assert unrecognised(scene, labels).tolist() == [True, False, True]
    parted = np.where(np.arange(12) == 2, 4, labels)
    assert unrecognised(scene, parted).tolist() == [False, False, True, False]


def test_close_pairs_count_as_parted_where_each_has_a_detection_of_its_own(scene: Scene) -> None:
    found = perfect(scene)
    everything = replace(scene, true={**scene.true, "visible": np.ones(len(scene.true["x"]), bool)})
    places = {"x": scene.true["x"].astype(float), "y": scene.true["y"].astype(float)}
    assert judge_scene(everything, replace(found, **places)).pairs.all()
    assert len(judge_scene(everything, found).pairs) > 0
    none = np.full(len(found.x), 1e6)
    assert not judge_scene(everything, replace(found, x=none, y=none)).pairs.any()


def test_signal_over_noise_of_a_flat_source(scene: Scene) -> None:
    labels = np.zeros(scene.tile.shape, np.int32)
    labels[:2, :3] = 1
    sky = replace(scene.sky, pixels=np.full_like(scene.sky.pixels, 5), weight=np.full_like(scene.sky.weight, 0.25))
    n = 6 * len(sky.pixels)
    assert signal_over_noise(replace(scene, sky=sky), labels) == pytest.approx([5 * n / (2 * np.sqrt(n))])


def test_the_area_under_the_curve_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(1)
    positive = random.random(300) < 0.2
    score = np.round(random.normal(size=300) + positive, 1)  # with ties
    assert area_under_roc(score, positive) == pytest.approx(roc_auc_score(positive, score))
    assert np.isnan(area_under_roc(score, np.zeros(300, bool)))
