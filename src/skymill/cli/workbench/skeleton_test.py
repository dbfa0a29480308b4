"""The kind `skeleton`: it learns, comes back from the disk, and its ONNX file gives the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from skymill.models import Examples, Model, Place, own_class

CODE = Path(__file__).with_name("skeleton.py")
Skeleton = own_class("skeleton", CODE, source=str(CODE))


def draw(n: int, seed: int) -> Examples:
    """Two clouds of three features, a tenth of the values not measured."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n)
    features = (2 * labels[:, None] + random.normal(size=(n, 3))).astype(np.float32)
    features[random.random((n, 3)) < 0.1] = np.nan
    return Examples(features, labels, np.ones(n, np.float32), 2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    place = Place(tmp_path_factory.mktemp("fit"), "cpu")
    return Skeleton.fit(draw(600, 1), draw(200, 2), Skeleton.Settings(), seed=3, place=place)


def test_it_learns(model: Model) -> None:
    rows = draw(500, 4)
    probabilities = model.predict_probabilities(rows.features)
    assert (probabilities.argmax(axis=1) == rows.labels).mean() > 0.9
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_saved_and_loaded_it_is_the_same(model: Model, tmp_path: Path) -> None:
    [name] = model.save(tmp_path)
    again = Skeleton.load(tmp_path)
    rows = draw(50, 4).features
    np.testing.assert_array_equal(again.predict_probabilities(rows), model.predict_probabilities(rows))
    assert again.history() == model.history()
    before = (tmp_path / name).read_bytes()
    again.save(tmp_path)
    assert (tmp_path / name).read_bytes() == before


def test_its_onnx_file_gives_the_same(model: Model) -> None:
    rows = draw(200, 5).features
    content = model.to_onnx().SerializeToString()  # type: ignore[attr-defined]
    [found] = onnxruntime.InferenceSession(content).run(["probabilities"], {"features": rows})
    np.testing.assert_allclose(found, model.predict_probabilities(rows), atol=1e-5)
