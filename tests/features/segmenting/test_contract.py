"""A segmenter's file keeps the contract, or is refused with the file, what was found and the mend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from astropy.wcs import WCS
from onnx import TensorProto
from segmenters import card, constant_model, significance_model
from tiles import flat_wcs, make_tile

from skymill.config.images import MeasureSettings
from skymill.export.graph import to_bytes
from skymill.features.measuring import MeasureError, measure
from skymill.features.segmenting.segmenter import Segmenter, load_segmenter
from skymill.sessions.entry import ModelFileError
from skymill.survey.images.tile import TilePixels

SETTINGS = MeasureSettings(background_px=32)


def opened(model: onnx.ModelProto | None = None, **changes: Any) -> Segmenter:
    """Open a segmenter; keyword arguments change its metadata."""
    return Segmenter(to_bytes(model or constant_model(), card(**changes)), source="my.onnx")


def noise(side: int = 64) -> np.ndarray:
    """Noise in three bands."""
    return np.random.default_rng(0).normal(0, 1, (3, side, side))


def tile(pixels: np.ndarray | None = None, wcs: WCS | None = None) -> TilePixels:
    """A tile of such pixels."""
    return make_tile(noise() if pixels is None else pixels, bands="gri", name="t0", wcs=wcs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"halo_px": None}, r"'skymill': halo_px: required key is missing; add it \(see docs/measuring\.md"),
        ({"window": 64}, r"window: unknown key \(value 64\); did you mean 'window_px'\?"),
        ({"task": "classification"}, r"task: value 'classification': Input should be 'segmentation'"),
        ({"format": 2}, "metadata format 2, this skymill reads up to 1; update skymill"),
        ({"format": None}, "is not complete"),
        ({"bands": ["g", "g", "i"]}, "bands: expected each band once, found g twice"),
        ({"pixel_scale_arcsec": 0}, "pixel_scale_arcsec: value 0: .*greater than 0"),
        ({"min_centre": 1.5}, "min_centre: value 1.5: .*less than or equal to 1"),
        ({"window_px": 16}, "window_px: expected more than twice the halo of 8 px, 17 at least, found 16"),
        ({"window_px": 96, "multiple_px": 10}, "window_px: expected a multiple of multiple_px = 10, found 96"),
        ({"window_px": 24, "multiple_px": 8}, None),
        ({"window_px": 24, "multiple_px": 8, "halo_px": 9}, "twice the halo of 9 px, 40 at least, found 24"),
    ],
)
def test_metadata_are_whole_and_agree(changes: dict[str, Any], message: str | None):
    if message is None:
        assert opened(**changes).card.windows.step == 8
    else:
        with pytest.raises(ModelFileError, match=f"my.onnx: .*{message}"):
            opened(**changes)


def test_a_file_without_metadata_is_refused():
    with pytest.raises(ModelFileError, match=r"my\.onnx: no metadata entry 'skymill', found none; add it as docs/"):
        Segmenter(constant_model().SerializeToString(), source="my.onnx")


def test_a_classifier_is_refused():
    """Its metadata say another task and lack what a segmenter has to say."""
    model = constant_model()
    content = {"format": 1, "task": "classification", "model": "forest", "kind": "forest", "classes": ["a", "b"]}
    with pytest.raises(ModelFileError, match=r"task: value 'classification'.*"):
        Segmenter(to_bytes(model, content), source="my.onnx")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 1}, r"input 'flux': expected .* \(n, 3, h, w\) with free n, .* found tensor\(float\) \(1, 3, "),
        ({"sides": (32, 32)}, r"h and w free or 96 \(window_px\), found tensor\(float\) \('n', 3, 32, 32\)"),
        ({"dtype": TensorProto.DOUBLE}, r"output 'centre': .* found tensor\(double\)"),
        ({"n_bands": 2}, r"input 'inverse_variance': expected .* \(n, 3, h, w\).* found .*'n', 2, "),
        ({"outputs": ("classes", "centre")}, "expected the outputs classes, centre, offset, found classes, centre;"),
    ],
)
def test_tensors_are_those_of_the_contract(changes: dict[str, Any], message: str):
    with pytest.raises(ModelFileError, match=f"my.onnx: .*{message}.*mend the graph as docs/measuring.md"):
        opened(constant_model(**changes))


def test_log_odds_of_blends_are_an_output_that_a_file_may_have():
    """One source on all pixels, of log-odds 2, then of ones that are no number."""
    whole = {"classes": (0, 0, 1, 0), "centre": 0.5}
    with_blends = measure(tile(), SETTINGS, segmenter=opened(constant_model(blend=2.0, **whole)))
    assert with_blends.n > 0
    assert np.allclose(with_blends.blend_probability, 1 / (1 + np.exp(-2.0)))
    assert measure(tile(), SETTINGS, segmenter=opened(constant_model(**whole))).blend_probability is None
    with pytest.raises(MeasureError, match="expected finite numbers, found NaN"):
        measure(tile(), SETTINGS, segmenter=opened(constant_model(blend=np.nan, **whole)))


def test_other_names_and_ranks_are_refused():
    model = constant_model()
    for node in model.graph.node:
        node.input[:] = ["image" if name == "flux" else name for name in node.input]
    model.graph.input[0].name = "image"
    with pytest.raises(ModelFileError, match="expected the inputs flux, inverse_variance, found image, inverse_varian"):
        opened(model)
    model = constant_model()
    del model.graph.output[1].type.tensor_type.shape.dim[0]
    content = onnx.helper.make_model(model.graph)
    onnx.helper.set_model_props(content, {"skymill": json.dumps(card())})
    with pytest.raises(ModelFileError, match=r"my\.onnx: "):
        Segmenter(content.SerializeToString(), source="my.onnx")


def test_sides_may_be_those_of_the_window():
    found = measure(tile(), SETTINGS, segmenter=opened(constant_model(sides=(96, 96))))
    assert found.n == 0


def test_a_file_that_needs_another_is_refused(tmp_path: Path):
    """Weights beside it would be read from wherever the file says."""
    model = significance_model(3)
    onnx.helper.set_model_props(model, {"skymill": json.dumps(card())})
    path = tmp_path / "my.onnx"
    onnx.save_model(
        model, path, save_as_external_data=True, location="weights.bin", size_threshold=0, convert_attribute=False
    )
    with pytest.raises(ModelFileError, match="keeps its weights in another file"):
        Segmenter(path.read_bytes(), source=str(path))


def test_a_file_that_changed_is_refused(tmp_path: Path):
    path = tmp_path / "my.onnx"
    path.write_bytes(to_bytes(constant_model(), card()))
    with pytest.raises(ModelFileError, match=r"my\.onnx: expected SHA-256 0000, found .* start it again"):
        load_segmenter(str(path), "0000")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"centre": np.nan}, "expected finite numbers, found NaN or infinite ones"),
        ({"offset": np.inf}, "expected finite numbers"),
        ({"classes": (3, 1, -2, 0)}, "output 'classes': expected probabilities that add up to 1, found -2 to 3,"),
        ({"classes": (1, 1, 0, 0)}, "output 'classes': .*, adding up to 2 to 2; let the graph end in a Softmax"),
        ({"centre": 4.0}, "output 'centre': expected 0 to 1, found 4 to 4; let the graph end in a Sigmoid"),
    ],
)
def test_what_is_no_answer_is_an_error(model: dict[str, Any], message: str):
    with pytest.raises(MeasureError, match=rf"t0: my\.onnx: {message}"):
        measure(tile(), SETTINGS, segmenter=opened(constant_model(**model)))


def test_outputs_of_another_size_than_the_windows_are_an_error():
    """As of a network that ends at half the resolution, whose declared shape is free."""
    model = constant_model()
    for node in model.graph.node:
        if node.output[0] == "zero":
            node.output[0] = "fine"
    pool = onnx.helper.make_node("MaxPool", ["fine"], ["zero"], kernel_shape=[2, 2], strides=[2, 2])
    model.graph.node.insert(4, pool)
    with pytest.raises(MeasureError, match=r"'classes': expected the shape \(1, 4, 96, 96\).* found \(1, 4, 48,"):
        measure(tile(), SETTINGS, segmenter=opened(model))


def test_pixels_of_another_size_are_an_error():
    """Up to 5 % they may differ."""
    segmenter = opened()
    assert measure(tile(wcs=flat_wcs(0.209)), SETTINGS, segmenter=segmenter).n == 0
    with pytest.raises(MeasureError, match=r"t0: my\.onnx: made for pixels of 0\.2 arcsec .*the tile's are of 0\.396;"):
        measure(tile(wcs=flat_wcs(0.396)), SETTINGS, segmenter=segmenter)


def test_bands_are_chosen_by_name():
    """A segmenter for two of three bands, the other way round, finds what it finds in these two alone."""
    pixels = noise(96)
    pixels[0, 40, 50] += 60.0
    pixels[1, 20, 20] += 60.0  # in a band that it does not look at
    segmenter = opened(significance_model(2), bands=["i", "g"])
    found = measure(tile(pixels), SETTINGS, segmenter=segmenter)
    assert list(zip(found.peak_y, found.peak_x)) == [(40, 50)]


def test_a_band_that_the_survey_lacks_is_an_error():
    with pytest.raises(ModelFileError, match="in the bands g, r, z, the survey has g, r, i and no z; take a segmenter"):
        measure(tile(), SETTINGS, segmenter=opened(bands=["g", "r", "z"]))


def test_a_tile_without_its_bands_is_an_error():
    """Nothing would be found where nothing was seen."""
    pixels = noise()
    pixels[:2] = np.nan
    with pytest.raises(MeasureError, match="in the bands g, r, the tile has pixels to use in none of them"):
        measure(tile(pixels), SETTINGS, segmenter=opened(constant_model(n_bands=2), bands=["g", "r"]))


def test_too_many_sources_are_an_error():
    model = constant_model(classes=(0, 1, 0, 0), centre=1.0)
    settings = SETTINGS.model_copy(update={"max_sources": 1, "min_area_px": 1})
    assert measure(tile(), settings, segmenter=opened(model)).n == 1
    pixels = noise()
    pixels[:, 10::20, 10::20] += 60.0
    with pytest.raises(MeasureError, match=r"t0: my\.onnx: found 9 sources, expected at most 1; raise max_sources"):
        measure(tile(pixels), settings, segmenter=opened(significance_model(3)))
