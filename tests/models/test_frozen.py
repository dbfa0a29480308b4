"""A frozen encoder with a probe: vectors as its file gives them, scikit-learn's regression, one ONNX file of both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skymill.config import ModelConfig
from skymill.config.model import StampSettings
from skymill.export import frozen as export_frozen
from skymill.models import Examples, Frozen, Place
from skymill.models.frozen import FrozenSettings
from skymill.sessions.entry import ModelFileError
from skymill.training import fit_digest

SIZE, BANDS = 12, ("g", "r", "i")
STAMPS = StampSettings(size_px=SIZE, bands=list(BANDS))


def write_encoder(
    path: Path,
    *,
    layout: str = "bands_first",
    weighed: bool = True,
    opset: int = 20,
    entry: dict[str, Any] | None = None,
) -> Path:
    """Mean and greatest of each band of flux, or of flux times inverse variance, under names of its own."""
    shape = ["n", len(BANDS), SIZE, SIZE] if layout == "bands_first" else ["n", SIZE, SIZE, len(BANDS)]
    axes = [2, 3] if layout == "bands_first" else [1, 2]
    names = ["image", "weight"] if weighed else ["image"]
    pixels = "both" if weighed else "image"
    nodes = [
        *([helper.make_node("Mul", names, ["both"])] if weighed else []),
        helper.make_node("ReduceMean", [pixels, "axes"], ["mean"], keepdims=0),
        helper.make_node("ReduceMax", [pixels, "axes"], ["greatest"], keepdims=0),
        helper.make_node("Concat", ["mean", "greatest"], ["embedding"], axis=1),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names]
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 2 * len(BANDS)])]
    constants = [helper.make_tensor("axes", TensorProto.INT64, [2], axes)]
    graph = helper.make_graph(nodes, "encoder", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    if entry is not None:
        helper.set_model_props(model, {"skymill": json.dumps(entry)})
    path.write_bytes(model.SerializeToString())
    return path


def draw(n: int, seed: int, n_classes: int = 3) -> Examples:
    random = np.random.default_rng(seed)
    labels = random.integers(0, n_classes, n)
    flux = random.normal(size=(n, len(BANDS), SIZE, SIZE)) + 0.1 * labels[:, None, None, None]
    weight = random.uniform(0.5, 1.5, flux.shape)
    weights = random.uniform(0.5, 1.5, n).astype(np.float32)
    return Examples(np.stack([flux, weight], axis=1).astype(np.float32), labels, weights, n_classes)


def fit(encoder: Path, train: Examples, **changes: Any) -> Frozen:
    settings = FrozenSettings(encoder=str(encoder), flux="image", **{"inverse_variance": "weight", **changes})
    return Frozen.fit(train, train, settings, seed=1, place=Place(encoder.parent, "cpu"))


def vectors(stamps: NDArray[np.float32], *, weighed: bool) -> NDArray[np.float32]:
    """What the encoder gives, worked out by numpy."""
    pixels = stamps[:, 0] * stamps[:, 1] if weighed else stamps[:, 0]
    return np.concatenate([pixels.mean(axis=(2, 3)), pixels.max(axis=(2, 3))], axis=1)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(("layout", "weighed", "opset"), [("bands_first", True, 20), ("bands_last", False, 18)])
def test_the_probe_is_scikit_learns_and_one_file_of_both_gives_the_same(
    tmp_path: Path, layout: str, weighed: bool, opset: int, n_classes: int
) -> None:
    encoder = write_encoder(tmp_path / "encoder.onnx", layout=layout, weighed=weighed, opset=opset)
    train, rows = draw(300, 1, n_classes), draw(70, 2, n_classes)
    model = fit(encoder, train, layout=layout, **({} if weighed else {"inverse_variance": ""}))
    expected = vectors(rows.features, weighed=weighed)
    np.testing.assert_allclose(model.encode(rows.features), expected, rtol=1e-4, atol=1e-5)
    peer = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    of_train = vectors(train.features, weighed=weighed).astype(np.float64)
    scaler = peer[0].fit(of_train)
    peer[1].fit(scaler.transform(of_train), train.labels, sample_weight=train.weights)
    found = model.predict_probabilities(model.encode(rows.features))
    np.testing.assert_allclose(found, peer.predict_proba(expected.astype(np.float64)), atol=1e-3)

    model.save(tmp_path)
    again = Frozen.load(tmp_path)
    np.testing.assert_array_equal(again.predict_probabilities(again.encode(rows.features)), found)
    whole = export_frozen.prepend_encoder(again, export_frozen.convert(again), STAMPS)
    onnx.checker.check_model(whole, full_check=True)
    inputs = {"flux": rows.features[:, 0].copy(), "inverse_variance": rows.features[:, 1].copy()}
    [exported] = onnxruntime.InferenceSession(whole.SerializeToString()).run(["probabilities"], inputs)
    np.testing.assert_allclose(exported, found, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "stamps", "message"),
    [
        ({"encoder": "no.onnx"}, {}, r"frozen\.yaml: settings\.encoder: 'no\.onnx': no such file"),
        ({"flux": "flux"}, {}, r"expected the inputs flux, weight, found image, weight; set `settings\.flux`"),
        ({}, {"size_px": 16}, r"expected 'image' to be float32 \(n, 3, 16, 16\) .* found tensor\(float\) \('n', 3, 12"),
        ({}, {"bands": ["g", "r"]}, r"expected 'image' to be float32 \(n, 2, 12, 12\)"),
        ({"layout": "bands_last"}, {}, r"expected 'image' to be float32 \(n, 12, 12, 3\)"),
        ({"output": "vector"}, {}, r"expected one output to be the vector, found 'vector' of embedding"),
        ({}, {"pixel_scale_arcsec": 0.3}, r"made for stamps with pixel_scale_arcsec 0\.2, model frozen\.yaml has 0\.3"),
        ({}, {"bands": ["r", "g", "i"]}, r"made for stamps with bands \['g', 'r', 'i'\], .* has \['r', 'g', 'i'\]"),
    ],
)
def test_an_encoder_of_other_stamps_is_refused(
    tmp_path: Path, settings: dict[str, Any], stamps: dict[str, Any], message: str
) -> None:
    entry = {"stamps": {"pixel_scale_arcsec": 0.2, "bands": list(BANDS)}}
    encoder = write_encoder(tmp_path / "encoder.onnx", entry=entry)
    right = FrozenSettings(encoder=str(encoder), flux="image", inverse_variance="weight")
    Frozen.check_stamps(right, STAMPS, source="frozen.yaml")
    with pytest.raises(ModelFileError, match=message):
        Frozen.check_stamps(right.model_copy(update=settings), STAMPS.model_copy(update=stamps), source="frozen.yaml")


def test_the_bytes_of_the_encoder_decide_the_fit(tmp_path: Path) -> None:
    encoder = write_encoder(tmp_path / "encoder.onnx")
    model = ModelConfig(name="probe", kind="frozen", stamps=STAMPS, settings={"encoder": str(encoder)})
    before = fit_digest(model, set_sha256="a" * 64, seed=1)
    assert fit_digest(model, set_sha256="a" * 64, seed=1) == before
    write_encoder(encoder, opset=18)
    assert fit_digest(model, set_sha256="a" * 64, seed=1) != before
