"""The kind `skeleton`: it learns, comes back from the disk, and its ONNX file gives the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from skymill.config.model import StampSettings
from skymill.export.stamp_network import prepend_encoder
from skymill.models import Examples, Model, Place, own_class

CODE = Path(__file__).with_name("skeleton.py")
Skeleton = own_class("skeleton", CODE, source=str(CODE))
SIZE, NOISE = 16, 2.0
SMALL = {"width": 8, "vector": 8, "epochs": 8, "batch_size": 25}


def draw(n: int, seed: int) -> Examples:
    """Points and discs in two bands, flux (nJy) and inverse variance: stamps (n, 2, 2, 16, 16)."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    sigma = np.where(labels == 0, 1.2, 2.5)[:, None, None]
    light = np.exp(-(x**2 + y**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    flux = 500 * light[:, None].repeat(2, axis=1) + NOISE * random.normal(size=(n, 2, SIZE, SIZE))
    stamps = np.stack([flux, np.full(flux.shape, NOISE**-2)], axis=1).astype(np.float32)
    return Examples(stamps, labels, np.ones(n, np.float32), 2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    place = Place(tmp_path_factory.mktemp("fit"), "cpu")
    return Skeleton.fit(draw(400, 1), draw(100, 2), Skeleton.Settings.model_validate(SMALL), seed=3, place=place)


def probabilities(model: Model, stamps: np.ndarray) -> np.ndarray:
    return model.predict_probabilities(model.encode(stamps))  # type: ignore[attr-defined]


def test_it_learns(model: Model) -> None:
    rows = draw(300, 4)
    assert (probabilities(model, rows.features).argmax(axis=1) == rows.labels).mean() > 0.9


def test_saved_and_loaded_it_is_the_same(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path)
    again, stamps = Skeleton.load(tmp_path), draw(50, 4).features
    np.testing.assert_array_equal(probabilities(again, stamps), probabilities(model, stamps))


def test_its_onnx_file_gives_the_same(model: Model) -> None:
    stamps = draw(100, 5).features
    form = StampSettings(size_px=SIZE, bands=["g", "r"])
    graph = prepend_encoder(model, model.to_onnx(), form)  # type: ignore[arg-type, attr-defined]
    inputs = {"flux": stamps[:, 0].copy(), "inverse_variance": stamps[:, 1].copy()}
    [found] = onnxruntime.InferenceSession(graph.SerializeToString()).run(["probabilities"], inputs)
    np.testing.assert_allclose(found, probabilities(model, stamps), atol=1e-5)
