"""The convolutional network: what it computes, that it learns, that a kill leaves no trace, and its ONNX file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from drawn_stamps import NOISE, SIZE, draw
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from skymill.config.model import StampSettings
from skymill.export import stamp_network as export_cnn
from skymill.models import Cnn, Examples, Place
from skymill.models.augmenting import augmented
from skymill.models.cnn import CnnSettings
from skymill.models.cnn_network import Stretch, asinh
from skymill.models.stamp_training import typical_noise

SMALL = CnnSettings(width=8, stages=2, depth=1, vector=8, epochs=12, batch_size=25, averaging=0.9)
PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from skymill.models import Cnn, Examples, Place
from skymill.models.cnn import CnnSettings
settings, folder, data = CnnSettings.model_validate_json(sys.argv[1]), Path(sys.argv[2]), np.load(sys.argv[3])
examples = [Examples(data[f"x{k}"], data[f"y{k}"], np.ones(len(data[f"y{k}"]), np.float32), 2) for k in range(2)]
Cnn.fit(*examples, settings, seed=5, place=Place(folder, "cpu")).save(folder)
"""


@pytest.fixture(scope="module")
def train() -> Examples:
    return draw(400, seed=1)


@pytest.fixture(scope="module")
def validation() -> Examples:
    return draw(200, seed=2)


@pytest.fixture(scope="module")
def model(train: Examples, validation: Examples, tmp_path_factory: pytest.TempPathFactory) -> Cnn:
    return Cnn.fit(train, validation, SMALL, seed=5, place=Place(tmp_path_factory.mktemp("cnn"), "cpu"))


@pytest.fixture(scope="module")
def stored(train: Examples, validation: Examples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "examples.npz"
    np.savez(path, x0=train.features, y0=train.labels, x1=validation.features, y1=validation.labels)
    return path


def start(folder: Path, stored: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen([sys.executable, "-c", PROGRAM, SMALL.model_dump_json(), str(folder), str(stored)])


def test_it_tells_points_from_discs(model: Cnn, validation: Examples) -> None:
    probabilities = model.predict_probabilities(model.encode(validation.features))
    assert (probabilities.argmax(axis=1) == validation.labels).mean() > 0.93
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_the_stretch_is_asinh_of_signal_over_noise_and_says_what_was_seen() -> None:
    flux, weight = torch.tensor([[[[3.0, -8.0]], [[5.0, 7.0]]]]), torch.tensor([[[[1.0, 0.0]], [[1.0, 1.0]]]])
    found = Stretch(torch.tensor([2.0, 4.0]))(flux, weight).numpy()
    wanted = [[[np.arcsinh(1.5), 0]], [[np.arcsinh(1.25), np.arcsinh(1.75)]], [[1, 0]], [[1, 1]]]
    np.testing.assert_allclose(found[0], wanted, rtol=1e-6)


@given(st.floats(-(2.0**49), 2.0**49, width=32))
def test_asinh_is_that_of_numpy_to_what_float32_holds(value: float) -> None:
    np.testing.assert_allclose(asinh(torch.tensor([value])).numpy(), np.arcsinh([value]), rtol=2e-7, atol=3e-7)


def test_asinh_has_an_end() -> None:
    found = asinh(torch.tensor([3e38, -3e38])).numpy()
    np.testing.assert_allclose(found, np.arcsinh([1e15, -1e15]), rtol=1e-6)


def test_pixels_without_weight_and_bands_without_any_decide_nothing(model: Cnn, validation: Examples) -> None:
    odd = validation.features.copy()
    odd[:, 0][odd[:, 1] == 0] = 1e9
    np.testing.assert_array_equal(model.encode(odd), model.encode(validation.features))


def test_typical_noise_is_that_of_the_pixels_with_weight(train: Examples) -> None:
    np.testing.assert_allclose(typical_noise(train.features), [NOISE, NOISE], rtol=1e-6)
    blind = train.features.copy()
    blind[:, 1, 0] = 0
    np.testing.assert_allclose(typical_noise(blind), [NOISE, NOISE], rtol=1e-6)


def test_what_is_done_to_stamps_keeps_their_light(train: Examples) -> None:
    stamps = torch.from_numpy(train.features[:64])
    plain = CnnSettings(turn=True, shift_px=0, noise=0, band_dropout=0)
    flux, weight = augmented(stamps[:, 0], stamps[:, 1], plain, torch.Generator().manual_seed(3))
    torch.testing.assert_close(flux.sum(dim=(2, 3)), stamps[:, 0].sum(dim=(2, 3)), rtol=1e-4, atol=1e-3)
    assert not torch.equal(flux, stamps[:, 0])
    torch.testing.assert_close(weight.flatten(1).sort().values, stamps[:, 1].flatten(1).sort().values)


def test_added_noise_is_as_large_as_the_weights_then_say() -> None:
    flux, weight = torch.zeros(500, 1, 20, 20), torch.full((500, 1, 20, 20), NOISE**-2)
    noisy = CnnSettings(turn=False, shift_px=0, noise=2.0, band_dropout=0)
    found, lower = augmented(flux, weight, noisy, torch.Generator().manual_seed(3))
    added = found.var(dim=(1, 2, 3)) + NOISE**2  # the noise that the stamp had, and what was added
    torch.testing.assert_close((added * lower[:, 0, 0, 0]).mean(), torch.tensor(1.0), rtol=0.02, atol=0)


def test_saved_and_loaded_it_is_the_same_to_the_bit(model: Cnn, validation: Examples, tmp_path: Path) -> None:
    model.save(tmp_path)
    again = Cnn.load(tmp_path)
    np.testing.assert_array_equal(again.encode(validation.features), model.encode(validation.features))
    assert again.history() == model.history()
    first = (tmp_path / "checkpoint.pt").read_bytes()
    again.save(tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == first


def test_several_networks_tell_the_mean_of_their_probabilities(
    train: Examples, validation: Examples, tmp_path: Path
) -> None:
    place = Place(tmp_path, "cpu")
    two = Cnn.fit(train, validation, SMALL.model_copy(update={"members": 2, "epochs": 3}), seed=5, place=place)
    flux, weight = torch.from_numpy(validation.features).unbind(dim=1)
    members = list(zip(two.encoder.members, two.head.members))
    with torch.inference_mode():
        told = [head(encoder(flux, weight)).softmax(dim=1).numpy() for encoder, head in members]
    assert np.abs(told[0] - told[1]).max() > 0.01
    vectors = two.encode(validation.features)
    assert vectors.shape == (len(validation.features), 16)
    np.testing.assert_allclose(two.predict_probabilities(vectors), np.mean(told, axis=0), atol=1e-6)

    one = Cnn.fit(
        train, validation, SMALL.model_copy(update={"epochs": 3}), seed=5, place=Place(tmp_path / "one", "cpu")
    )
    np.testing.assert_array_equal(vectors[:, :8], one.encode(validation.features))
    assert [row["epoch"] for row in two.history()] == [0, 1, 2]

    two.save(tmp_path)
    again = Cnn.load(tmp_path)
    np.testing.assert_array_equal(again.encode(validation.features), vectors)
    check_onnx(again, validation)

    graph = export_cnn.append_disagreement(again, export_cnn.convert(again))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    [found] = session.run(["disagreement"], {"features": vectors})
    entropies = [stats.entropy(each, axis=1) for each in (*told, np.mean(told, axis=0))]
    np.testing.assert_allclose(found, entropies[2] - (entropies[0] + entropies[1]) / 2, atol=2e-6)


def test_a_killed_fit_goes_on_to_the_same_bytes(stored: Path, tmp_path: Path) -> None:
    assert start(tmp_path / "whole", stored).wait() == 0
    killed = tmp_path / "killed"
    process = start(killed, stored)
    while not (killed / "last.ckpt").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() != 0
    assert not (killed / "checkpoint.pt").exists()
    assert start(killed, stored).wait() == 0
    assert (killed / "checkpoint.pt").read_bytes() == (tmp_path / "whole" / "checkpoint.pt").read_bytes()


EXPORT = """
import hashlib, sys
from pathlib import Path
from skymill.config.model import StampSettings
from skymill.export import stamp_network as export_cnn
from skymill.models import Cnn
cnn = Cnn.load(Path(sys.argv[1]))
graph = export_cnn.prepend_encoder(cnn, export_cnn.convert(cnn), StampSettings(size_px=16, bands=["g", "r"]))
content = graph.SerializeToString(deterministic=True)
assert not any(trace in content for trace in (b"stack_trace", b"site-packages", b".py"))
print(hashlib.sha256(content).hexdigest())
"""


def test_its_file_has_the_same_bytes_for_every_hash_seed_and_no_trace_of_us(model: Cnn, tmp_path: Path) -> None:
    model.save(tmp_path)
    environments = [{**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"} for seed in ("0", "4321")]
    command = [sys.executable, "-c", EXPORT, str(tmp_path)]
    both = [subprocess.Popen(command, env=each, stdout=subprocess.PIPE, text=True) for each in environments]
    first, second = (process.communicate()[0] for process in both)
    assert first == second and len(first.strip()) == 64


def test_one_onnx_file_of_encoder_and_head_gives_the_same(model: Cnn, validation: Examples) -> None:
    check_onnx(model, validation)


def check_onnx(model: Cnn, validation: Examples) -> None:
    stamps = StampSettings(size_px=SIZE, bands=["g", "r"])
    graph = export_cnn.prepend_encoder(model, export_cnn.convert(model), stamps)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    for n in (1, 7, 200):
        some = validation.features[:n]
        inputs = {"flux": some[:, 0].copy(), "inverse_variance": some[:, 1].copy()}
        [found] = session.run(["probabilities"], inputs)
        np.testing.assert_allclose(found, model.predict_probabilities(model.encode(some)), atol=2e-6)
