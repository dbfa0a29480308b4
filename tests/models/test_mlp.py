"""The perceptrons: what they compute, where they stop, and that a kill leaves no trace."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from skymill.models import Examples, Mlp, Place
from skymill.models.mlp import MlpSettings

SMALL = MlpSettings(members=2, width=16, depth=2, epochs=6, batch_size=128, dropout=0.1, input_noise=0.05)
PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from skymill.models import Examples, Mlp, Place
from skymill.models.mlp import MlpSettings
settings, folder, data = MlpSettings.model_validate_json(sys.argv[1]), Path(sys.argv[2]), np.load(sys.argv[3])
examples = [Examples(data[f"x{k}"], data[f"y{k}"], np.ones(len(data[f"y{k}"]), np.float32), 3) for k in range(2)]
Mlp.fit(*examples, settings, seed=5, place=Place(folder, "cpu")).save(folder)
"""


@pytest.fixture(scope="module")
def model(train: Examples, validation: Examples, tmp_path_factory: pytest.TempPathFactory) -> Mlp:
    place = Place(tmp_path_factory.mktemp("mlp"), "cpu")
    return Mlp.fit(train, validation, SMALL, seed=5, place=place)


@pytest.fixture(scope="module")
def stored(train: Examples, validation: Examples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "examples.npz"
    arrays = {"x0": train.features, "y0": train.labels, "x1": validation.features, "y1": validation.labels}
    np.savez(path, allow_pickle=False, **arrays)
    return path


def start(settings: MlpSettings, folder: Path, stored: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen([sys.executable, "-c", PROGRAM, settings.model_dump_json(), str(folder), str(stored)])


def reference(model: Mlp, features: np.ndarray) -> np.ndarray:
    """The same network written out in numpy and float64, scaler not folded."""
    imputation, low, high, mean, scale = (tensor.double().numpy() for tensor in model.preprocessing)
    clean = np.clip(np.where(np.isfinite(features), features, imputation), low, high)
    total = np.zeros((len(features), 3))
    members = len(model.network.weights[0])
    for member in range(members):
        values = (clean - mean) / scale
        for depth, (weight, bias) in enumerate(zip(model.network.weights, model.network.biases)):
            if depth:
                values = values / (1 + np.exp(-values))  # SiLU
            values = values @ weight[member].detach().double().numpy() + bias[member, 0].detach().double().numpy()
        raised = np.exp(values - values.max(axis=1, keepdims=True))
        total += raised / raised.sum(axis=1, keepdims=True) / members
    return total


def test_folding_the_scaler_changes_nothing(model: Mlp, validation: Examples) -> None:
    hard = validation.features.copy()
    hard[:5, 0] = [1e30, -1e30, np.inf, -np.inf, np.nan]
    np.testing.assert_allclose(model.predict_probabilities(hard), reference(model, hard), atol=2e-6)


def test_it_learns(model: Mlp, validation: Examples) -> None:
    accuracy = (model.predict_probabilities(validation.features).argmax(axis=1) == validation.labels).mean()
    assert accuracy > 0.85  # the commonest class alone gives 0.5


def test_not_measured_and_extreme_values_stay_where_data_were_seen(model: Mlp) -> None:
    rows = np.full((5, 4), 1.0, dtype=np.float32)
    imputation, _, high = (tensor.numpy()[0] for tensor in model.preprocessing[:3])
    rows[:, 0] = [np.nan, np.inf, imputation, 3e38, high]
    p = model.predict_probabilities(rows)
    assert np.isfinite(p).all()
    np.testing.assert_array_equal(p[0], p[1])
    np.testing.assert_array_equal(p[1], p[2])
    np.testing.assert_array_equal(p[3], p[4])


def test_save_and_load_give_the_same_model_and_the_same_bytes(model: Mlp, validation: Examples, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    assert model.save(tmp_path) == ["checkpoint.pt"]
    loaded = Mlp.load(tmp_path)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "checkpoint.pt").read_bytes() == (tmp_path / "again" / "checkpoint.pt").read_bytes()
    np.testing.assert_array_equal(
        loaded.predict_probabilities(validation.features), model.predict_probabilities(validation.features)
    )
    assert loaded.history() == model.history()


@pytest.mark.slow
def test_a_killed_process_and_another_give_the_same_bytes(stored: Path, tmp_path: Path) -> None:
    """`kill -9` after some epochs, then again: the weights, best epoch and history are those of an undisturbed run."""
    settings = SMALL.model_copy(update={"epochs": 30, "patience": 30})
    undisturbed, killed = (start(settings, tmp_path / name, stored) for name in ("undisturbed", "killed"))
    last = tmp_path / "killed" / "last.ckpt"
    while not last.exists() and killed.poll() is None:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL, "the run ended before it could be killed; give it more epochs"
    done = len(torch.load(last, weights_only=True)["progress"]["epochs"])  # noqa: TID251
    assert 1 <= done < settings.epochs
    assert start(settings, tmp_path / "killed", stored).wait() == 0
    assert undisturbed.wait() == 0
    one, other = ((tmp_path / name / "checkpoint.pt").read_bytes() for name in ("undisturbed", "killed"))
    assert one == other


def test_it_stops_when_validation_gets_no_better_and_keeps_the_best_epoch(
    train: Examples, validation: Examples, tmp_path: Path
) -> None:
    settings = SMALL.model_copy(update={"epochs": 200, "patience": 3, "learning_rate": 0.03})
    model = Mlp.fit(train, validation, settings, seed=5, place=Place(tmp_path, "cpu"))
    losses = [row["validation_log_loss"] for row in model.history()]
    assert len(losses) == int(np.argmin(losses)) + 1 + 3
    p = model.predict_probabilities(validation.features)[np.arange(500), validation.labels]
    assert -np.log(p).mean() == pytest.approx(min(losses), abs=1e-5)
    again = Mlp.fit(train, validation, settings, seed=5, place=Place(tmp_path, "cpu"))
    assert again.history() == model.history(), "a fit that has stopped goes no further when it is started again"


def test_weights_count(train: Examples, validation: Examples, tmp_path: Path) -> None:
    heavy = Examples(train.features, train.labels, np.where(train.labels == 2, 20, 1).astype(np.float32), 3)
    settings = SMALL.model_copy(update={"epochs": 3})
    shares = []
    for name, examples in (("plain", train), ("heavy", heavy)):
        model = Mlp.fit(examples, validation, settings, seed=5, place=Place(tmp_path / name, "cpu"))
        shares.append(model.predict_probabilities(validation.features)[:, 2].mean())
    assert shares[1] > shares[0] + 0.1


def test_mixed_precision_learns_on_the_cpu(train: Examples, validation: Examples, tmp_path: Path) -> None:
    settings = SMALL.model_copy(update={"precision": "bf16-mixed"})
    model = Mlp.fit(train, validation, settings, seed=5, place=Place(tmp_path, "cpu"))
    assert (model.predict_probabilities(validation.features).argmax(axis=1) == validation.labels).mean() > 0.85


def test_the_process_is_left_as_it_was_found(train: Examples, validation: Examples, tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    Mlp.fit(train, validation, SMALL.model_copy(update={"epochs": 1}), seed=5, place=Place(tmp_path, "cpu"))
    after = torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_an_error(train: Examples, validation: Examples, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="device 'cuda': torch sees no GPU here"):
        Mlp.fit(train, validation, SMALL, seed=5, place=Place(tmp_path, "cuda"))
    half = SMALL.model_copy(update={"precision": "16-mixed"})
    with pytest.raises(ValueError, match="'16-mixed' needs a GPU"):
        Mlp.fit(train, validation, half, seed=5, place=Place(tmp_path, "auto"))


def test_out_of_memory_says_which_batch_size_to_try(stored: Path, tmp_path: Path) -> None:
    limited = """
import resource, torch, lightning.pytorch
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 600_000_000,) * 2)
"""
    settings = MlpSettings(members=50, width=4096, depth=1, batch_size=1500)
    arguments = [settings.model_dump_json(), str(tmp_path), str(stored)]
    run = subprocess.run([sys.executable, "-c", limited + PROGRAM, *arguments], capture_output=True, text=True)
    assert run.returncode == 1
    assert "MemoryError: out of memory on cpu with batch_size 1500" in run.stderr
    assert "set settings.batch_size to 750 or lower" in run.stderr
