"""Networks that learn without labels: their losses by hand, what is done to stamps, vectors, probe and ONNX file."""

from __future__ import annotations

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
from scipy import stats
from sklearn.linear_model import LogisticRegression

from skymill.config.model import StampSettings
from skymill.export import stamp_network
from skymill.models import EMBED, KINDS, Examples, Place
from skymill.models.augmenting import augmented, resampled
from skymill.models.contrastive import ContrastiveSettings
from skymill.models.embedder import Embedder, _labelled, fit_probe
from skymill.models.embedder_network import Photometry
from skymill.models.embedder_training import ContrastiveTraining, contrast, divergence, misfit
from skymill.models.stamp_settings import StampNetworkSettings
from skymill.models.torch_file import load_tensors

SMALL = {"width": 8, "stages": 2, "depth": 1, "vector": 8, "epochs": 8, "batch_size": 50, "averaging": 0.9}
PROGRAM = """
import sys
from datetime import timedelta
from pathlib import Path
import numpy as np
from skymill.models import Contrastive, Examples, Place, torch_place
torch_place.INTERVAL = timedelta(seconds=float(sys.argv[4]))
settings, folder, data = Contrastive.Settings.model_validate_json(sys.argv[1]), Path(sys.argv[2]), np.load(sys.argv[3])
examples = [Examples(data[f"x{k}"], data[f"y{k}"], np.ones(len(data[f"y{k}"]), np.float32), 2) for k in range(2)]
Contrastive.fit(*examples, settings, seed=5, place=Place(folder, "cpu")).save(folder)
"""


@pytest.fixture(scope="module")
def train() -> Examples:
    return draw(400, seed=1)


@pytest.fixture(scope="module")
def validation() -> Examples:
    return draw(200, seed=2)


@pytest.fixture(scope="module", params=EMBED)
def model(request: pytest.FixtureRequest, train: Examples, validation: Examples, tmp_path_factory) -> Embedder:
    kind = KINDS[request.param]
    place = Place(tmp_path_factory.mktemp(request.param), "cpu")
    return kind.fit(train, validation, kind.Settings.model_validate(SMALL), seed=5, place=place)


def test_vectors_have_length_one_and_tell_points_from_discs(model: Embedder, validation: Examples) -> None:
    vectors = model.encode(validation.features)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert (model.predict_probabilities(vectors).argmax(axis=1) == validation.labels).mean() > 0.8


def test_they_learn(model: Embedder) -> None:
    losses = [row["validation_loss"] for row in model.history()]
    assert min(losses) < losses[0]


def test_photometry_is_asked_for_in_numbers_of_equal_weight_that_do_not_repeat_each_other(train: Examples) -> None:
    stamps = torch.from_numpy(np.array(train.features))
    photometry = Photometry(torch.full((2,), NOISE), stamps[:, 0], stamps[:, 1], 8)
    found = photometry.measured(stamps[:, 0], stamps[:, 1]).double().numpy()
    assert found.shape[1] <= photometry.windows.length == 12
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(found.T), np.eye(found.shape[1]), atol=5e-3)


def test_what_is_wrong_in_the_photometry_adds_to_the_contrast(train: Examples, validation: Examples) -> None:
    flux, weight = torch.from_numpy(np.array(train.features[:20])).unbind(dim=1)
    losses = {}
    for share in (0.0, 30.0):
        torch.manual_seed(0)
        settings = ContrastiveSettings.model_validate({**SMALL, "photometry": share})
        training = ContrastiveTraining(train, validation, settings, 5)
        with torch.no_grad():
            losses[share] = training.stamp_losses(flux, weight, torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(1)
    pictures = [augmented(flux, weight, settings, generator) for _ in range(2)]
    encoder, photometry = training.network["encoder"], training.network["photometry"]
    with torch.no_grad():
        told = photometry(encoder(*(torch.cat(side) for side in zip(*pictures)))).view(2, 20, -1)
        wrong = (told - photometry.measured(flux, weight)).abs()
    huber = torch.where(wrong < 1, wrong**2 / 2, wrong - 0.5)  # Huber 1964
    np.testing.assert_allclose(losses[30.0] - losses[0.0], 30 * huber.mean(dim=(0, 2)), rtol=1e-4)


def test_no_label_reaches_the_network(train: Examples, validation: Examples, tmp_path: Path) -> None:
    kind = KINDS["contrastive"]
    settings = kind.Settings.model_validate({**SMALL, "epochs": 1})
    other = Examples(train.features, 1 - train.labels, train.weights, 2)
    one, two = (
        kind.fit(rows, validation, settings, seed=5, place=Place(tmp_path / name, "cpu"))
        for name, rows in (("one", train), ("two", other))
    )
    np.testing.assert_array_equal(one.encode(train.features), two.encode(train.features))
    assert not torch.equal(one.head.weight, two.head.weight)


def test_saved_and_loaded_they_are_the_same_to_the_bit(model: Embedder, validation: Examples, tmp_path: Path) -> None:
    model.save(tmp_path)
    again = type(model).load(tmp_path)
    np.testing.assert_array_equal(again.encode(validation.features), model.encode(validation.features))
    vectors = model.encode(validation.features)
    np.testing.assert_array_equal(again.predict_probabilities(vectors), model.predict_probabilities(vectors))
    assert again.history() == model.history()


def test_the_onnx_file_gives_vectors_and_probabilities(model: Embedder, validation: Examples) -> None:
    form = StampSettings(size_px=SIZE, bands=["g", "r"])
    graph = stamp_network.prepend_encoder(model, stamp_network.convert(model), form, embedding=True)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    stamps = validation.features.copy()
    stamps[0, 1] = 0  # nothing was seen of it
    inputs = {"flux": stamps[:, 0].copy(), "inverse_variance": stamps[:, 1].copy()}
    vectors, probabilities = session.run(["embedding", "probabilities"], inputs)
    np.testing.assert_allclose(vectors, model.encode(stamps), atol=1e-5)
    np.testing.assert_allclose(probabilities, model.predict_probabilities(model.encode(stamps)), atol=1e-5)


def test_a_fit_that_is_killed_amid_an_epoch_goes_on_to_the_same_bytes(
    train: Examples, validation: Examples, tmp_path: Path
) -> None:
    """Of the killed one every step is kept, of the other one whole epochs."""
    stored, whole, killed = tmp_path / "examples.npz", tmp_path / "whole", tmp_path / "killed"
    np.savez(stored, x0=train.features, y0=train.labels, x1=validation.features, y1=validation.labels)
    settings = KINDS["contrastive"].Settings.model_validate({**SMALL, "batch_size": 10, "epochs": 3}).model_dump_json()

    def start(folder: Path, interval_s: int) -> subprocess.Popen[bytes]:
        folder.mkdir(exist_ok=True)
        return subprocess.Popen([sys.executable, "-c", PROGRAM, settings, str(folder), str(stored), str(interval_s)])

    process, last = start(killed, 0), killed / "last.ckpt"
    while not last.exists() or steps_kept(last) % 40 in (0, 39):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 0 < steps_kept(last) % 40 < 40
    assert not (killed / "checkpoint.pt").exists()
    assert start(killed, 600).wait() == 0
    assert start(whole, 600).wait() == 0
    assert (killed / "checkpoint.pt").read_bytes() == (whole / "checkpoint.pt").read_bytes()


def steps_kept(last: Path) -> int:
    """Steps that were made before a checkpoint was."""
    return int(load_tensors(last)["global_step"])


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 half of one"])
def test_a_checkpoint_that_cannot_be_read_is_told_and_the_fit_starts_anew(
    content: bytes, train: Examples, validation: Examples, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kind = KINDS["contrastive"]
    settings = kind.Settings.model_validate({**SMALL, "epochs": 1})
    (tmp_path / "last.ckpt").write_bytes(content)
    model = kind.fit(train, validation, settings, seed=5, place=Place(tmp_path, "cpu"))
    assert "last.ckpt: cannot be read, so the training starts anew" in caplog.text
    other = kind.fit(train, validation, settings, seed=5, place=Place(tmp_path / "other", "cpu"))
    np.testing.assert_array_equal(model.encode(train.features), other.encode(train.features))


def test_a_fit_that_diverges_says_what_to_set(train: Examples, validation: Examples, tmp_path: Path) -> None:
    kind = KINDS["contrastive"]
    settings = kind.Settings.model_validate({**SMALL, "epochs": 1, "learning_rate": 1e20})
    with pytest.raises(ValueError, match=r"no epoch has a finite loss on validation; lower settings.learning_rate"):
        kind.fit(train, validation, settings, seed=5, place=Place(tmp_path, "cpu"))


def test_dust_is_given_for_each_band(train: Examples, validation: Examples, tmp_path: Path) -> None:
    kind = KINDS["contrastive"]
    settings = kind.Settings.model_validate({**SMALL, "extinction_mag": [0.3]})
    with pytest.raises(ValueError, match=r"extinction_mag: expected a number for each of the 2 bands .* found 1"):
        kind.fit(train, validation, settings, seed=5, place=Place(tmp_path, "cpu"))


def test_the_contrast_is_that_of_the_paper() -> None:
    vectors = np.random.default_rng(3).normal(size=(6, 4))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    wanted = np.zeros(3)
    for row, partner in [(0, 3), (1, 4), (2, 5), (3, 0), (4, 1), (5, 2)]:
        others = [np.exp(unit[row] @ unit[k] / 0.5) for k in range(6) if k != row]
        wanted[row % 3] -= np.log(np.exp(unit[row] @ unit[partner] / 0.5) / sum(others)) / 2
    np.testing.assert_allclose(contrast(torch.from_numpy(vectors), 0.5).numpy(), wanted, rtol=1e-5)


def test_the_divergence_is_that_of_normal_distributions() -> None:
    """By integration: the mean of log p - log q under p."""
    mean, sigma = 0.7, 0.4
    grid = np.linspace(-4, 5, 20001)
    density = stats.norm.pdf(grid, mean, sigma)
    difference = stats.norm.logpdf(grid, mean, sigma) - stats.norm.logpdf(grid)
    wanted = np.trapezoid(density * difference, grid)
    found = divergence(torch.tensor([[mean, 0.0]]), torch.tensor([[2 * np.log(sigma), 0.0]]))
    np.testing.assert_allclose(found.numpy(), [wanted], rtol=1e-5)


def test_the_misfit_goes_by_the_pixels_that_were_seen() -> None:
    found, target = torch.tensor([[[[1.0, 5.0]]], [[[2.0, 2.0]]]]), torch.zeros(2, 1, 1, 2)
    seen = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 0.0]]]])
    assert misfit(found, target, seen).tolist() == [1.0, 0.0]


def test_resampling_moves_and_widens_by_what_was_asked() -> None:
    """First and second moments of a point, and what is left of the noise."""
    flux, weight = torch.zeros(1, 1, 9, 9), torch.full((1, 1, 9, 9), NOISE**-2)
    flux[0, 0, 4, 4] = 1
    found, lower = resampled(flux, weight, torch.tensor([[0.3], [-0.2]]), torch.tensor([0.5]))
    light, grid = found[0, 0].numpy(), np.arange(9) - 4.0
    along_y, along_x = light.sum(axis=1), light.sum(axis=0)
    np.testing.assert_allclose([along_y.sum(), along_y @ grid, along_x @ grid], [1, 0.3, -0.2], atol=1e-6)
    variances = [along @ grid**2 - (along @ grid) ** 2 for along in (along_y, along_x)]
    np.testing.assert_allclose(variances, [0.25, 0.25], atol=1e-6)
    np.testing.assert_allclose(lower.numpy(), NOISE**-2 / (light**2).sum(), rtol=1e-5)


def test_resampled_pixels_are_seen_where_all_that_they_are_made_of_is() -> None:
    flux, weight = torch.zeros(1, 1, 9, 9), torch.ones(1, 1, 9, 9)
    weight[0, 0, 4, 4] = 0
    _, lower = resampled(flux, weight, torch.zeros(2, 1), torch.tensor([0.5]))
    blind = np.zeros((9, 9), bool)
    blind[3:6, 3:6] = True
    np.testing.assert_array_equal(lower[0, 0].numpy() == 0, blind)


def test_dust_dims_all_bands_of_a_stamp_together() -> None:
    flux, weight = torch.ones(200, 2, 4, 4), torch.ones(200, 2, 4, 4)
    still = {"turn": False, "shift_px": 0, "noise": 0, "band_dropout": 0}
    settings = StampNetworkSettings(**still, extinction_mag=[1.0, 0.5])
    found, _ = augmented(flux, weight, settings, torch.Generator().manual_seed(1))
    dimmed = -2.5 * np.log10(found[:, :, 0, 0].numpy())
    np.testing.assert_allclose(dimmed[:, 0], 2 * dimmed[:, 1], rtol=1e-4)
    assert 0 <= dimmed[:, 0].min() < 0.1 and 0.9 < dimmed[:, 0].max() <= 1


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_probe_is_scikit_learns(n_classes: int) -> None:
    random = np.random.default_rng(0)
    labels = np.arange(300) % n_classes
    vectors = (random.normal(size=(300, 5)) + np.eye(5)[labels]).astype(np.float32)
    rows = np.flatnonzero(random.random(300) < 0.5)
    examples = Examples(vectors, labels, np.ones(300, np.float32), n_classes)
    head = torch.nn.Linear(5, n_classes)
    fit_probe(head, vectors[rows], vectors, examples, rows, examples)
    with torch.no_grad():
        found = torch.softmax(head(torch.from_numpy(vectors)), dim=1).numpy()
    mean, spread = vectors[rows].mean(axis=0), vectors[rows].std(axis=0)
    given = []
    for penalty in 10.0 ** np.arange(-2, 4):
        probe = LogisticRegression(C=penalty, max_iter=2000).fit((vectors[rows] - mean) / spread, labels[rows])
        given.append(probe.predict_proba((vectors - mean) / spread))
    best = min(given, key=lambda each: -np.log(each[np.arange(300), labels]).mean())
    np.testing.assert_allclose(found, best, atol=2e-3)


def test_a_share_of_the_labels_is_one_of_each_class_and_at_least_one() -> None:
    labels = np.repeat([0, 1, 2], [400, 100, 3])
    rows = _labelled(labels, 0.05, seed=1)
    assert np.bincount(labels[rows]).tolist() == [20, 5, 1]
    assert len(np.unique(rows)) == len(rows)
    np.testing.assert_array_equal(_labelled(labels, 1.0, seed=1), np.arange(503))


def test_fewer_labels_change_the_probe_alone(train: Examples, validation: Examples, tmp_path: Path) -> None:
    kind = KINDS["autoencoder"]
    settings = kind.Settings.model_validate({**SMALL, "epochs": 4, "probe_labels": 0.05})
    model = kind.fit(train, validation, settings, seed=5, place=Place(tmp_path, "cpu"))
    whole = kind.Settings.model_validate({**SMALL, "epochs": 4})
    of_all = kind.fit(train, validation, whole, seed=5, place=Place(tmp_path / "all", "cpu"))
    np.testing.assert_array_equal(model.encode(train.features), of_all.encode(train.features))
    assert not torch.equal(model.head.weight, of_all.head.weight)
