"""Rendered scenes that segmenters learn from."""

from __future__ import annotations

import numpy as np
import pytest

from skymill.features.segmentation import ARTEFACT, GALAXY, SKY, STAR
from skymill.models.unet import UnetSettings
from skymill.training.scenes import SPLITS, Scene, examples, has_companion, render_scene, scene_settings, true_classes

SETTINGS = UnetSettings(bands=["i", "g"], scenes=3, held_out=2, scene_px=96, crop_px=64, years=[2.0, 5.0])


@pytest.fixture(scope="module")
def scene() -> Scene:
    return render_scene(scene_settings(SETTINGS, "train")[0])


def test_no_two_scenes_have_a_seed_in_common_and_depths_are_those_asked_for() -> None:
    rendered = [each for split in SPLITS for each in scene_settings(SETTINGS, split)]
    assert [each.seed for each in rendered] == list(SETTINGS.seeds)
    years = [each.years for each in rendered]
    assert len(set(years)) == len(years) == 7 and min(years) >= 2 and max(years) <= 5
    assert scene_settings(SETTINGS, "test") == scene_settings(SETTINGS, "test") == rendered[5:]


def test_pixels_are_those_of_the_bands_in_their_order(scene: Scene) -> None:
    told = examples([scene], SETTINGS.bands)
    for place, band in enumerate(SETTINGS.bands):
        assert np.array_equal(told.flux[0, place], scene.sky.pixels["ugrizy".index(band)])
    assert told.flux.dtype == told.inverse_variance.dtype == told.offset.dtype == told.centre.dtype == np.float32


def test_offsets_lead_from_a_source_s_pixels_to_its_true_centre(scene: Scene) -> None:
    told, row = examples([scene], ["i"]), int(np.argmax(scene.true["i_flux"] * scene.true["visible"]))
    y, x = np.nonzero(scene.instances == row + 1)
    assert len(y) > 5
    assert np.allclose(y + told.offset[0, 0, y, x], scene.true["y"][row], atol=1e-4)
    assert np.allclose(x + told.offset[0, 1, y, x], scene.true["x"][row], atol=1e-4)
    assert np.array_equal(np.isfinite(told.offset[0, 0]), scene.instances > 0)


def test_each_visible_source_has_a_centre(scene: Scene) -> None:
    centre, true = examples([scene], ["i"]).centre[0], scene.true
    y, x = (np.rint(true[axis][true["visible"]]).astype(int) for axis in "yx")
    assert (centre[y, x] == 1).all() and (centre == 1).sum() == len({*zip(y.tolist(), x.tolist())})


def test_classes_are_those_of_the_sources_shown(scene: Scene) -> None:
    classes, owner = true_classes(scene), scene.instances
    kinds = scene.true["class"][owner[owner > 0] - 1]
    assert np.array_equal(classes[owner > 0] == GALAXY, kinds == "GALAXY")
    assert {STAR, GALAXY} <= set(classes[owner > 0]) <= {STAR, GALAXY}
    assert set(classes[scene.masks.instances == 0]) <= {SKY, ARTEFACT}


def test_a_companion_is_near_visible_and_bright_enough() -> None:
    true = {
        "x": np.array([0.0, 3.0, 30.0, 33.0, 60.0, 61.0]),
        "y": np.zeros(6),
        "i_flux": np.array([100.0, 10.0, 100.0, 9.0, 100.0, 100.0]),
        "visible": np.array([True, True, True, True, True, False]),
    }
    assert has_companion(true, 4.0).tolist() == [True, True, False, True, False, False]
    assert not has_companion(true, 2.0).any()
