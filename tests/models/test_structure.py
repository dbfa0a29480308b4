"""The network of sizes and shapes: that it learns, that it uses the PSF, that a kill leaves no trace, its ONNX file."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from skymill.config.model import StampSettings
from skymill.export import structure as export_structure
from skymill.models import Galaxies, Place, Structure
from skymill.models.mixture import Mixture, Widths, packed_width
from skymill.models.structure import StructureSettings
from skymill.models.structure_network import MixtureHead, log_density
from skymill.training.distance import fit_distance

SMALL = StructureSettings(width=8, stages=2, depth=1, vector=12, components=2, epochs=12, batch_size=25, averaging=0.9)
SIZE, PSF_PX, NOISE = 16, 15, 2.0
PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from skymill.models import Galaxies, Place, Structure
from skymill.models.structure import StructureSettings
settings, folder, data = StructureSettings.model_validate_json(sys.argv[1]), Path(sys.argv[2]), np.load(sys.argv[3])
rows = [Galaxies(data[f"stamps{k}"], data[f"psf{k}"], data[f"targets{k}"]) for k in range(2)]
Structure.fit(*rows, settings, seed=5, place=Place(folder, "cpu")).save(folder)
"""


def gaussian(size: int, sigma: np.ndarray) -> np.ndarray:
    """Round Gaussians of flux 1, (n, size, size), about the pixel after the middle of an even size."""
    y, x = np.mgrid[:size, :size] - size // 2
    return np.exp(-(x**2 + y**2) / (2 * sigma[:, None, None] ** 2)) / (2 * np.pi * sigma[:, None, None] ** 2)


def draw(n: int, seed: int) -> Galaxies:
    """Gaussian galaxies in two bands, blurred by Gaussian PSFs of many widths; their magnitude and log of the size."""
    random = np.random.default_rng(seed)
    radius, seeing = random.uniform(0.5, 2.0, n), random.uniform(0.7, 1.8, n)
    magnitude = random.uniform(22.0, 24.0, n)
    flux = 10 ** ((31.4 - magnitude) / 2.5)
    light = flux[:, None, None] * gaussian(SIZE, np.hypot(radius, seeing))
    pixels = light[:, None].repeat(2, axis=1) + NOISE * random.normal(size=(n, 2, SIZE, SIZE))
    stamps = np.stack([pixels, np.full(pixels.shape, NOISE**-2)], axis=1).astype(np.float32)
    psf = gaussian(PSF_PX, seeing)[:, None].repeat(2, axis=1)
    psf /= psf.sum(axis=(2, 3), keepdims=True)
    return Galaxies(stamps, psf.astype(np.float32), np.stack([magnitude, np.log(radius)], axis=1).astype(np.float32))


@pytest.fixture(scope="module")
def train() -> Galaxies:
    return draw(600, seed=1)


@pytest.fixture(scope="module")
def validation() -> Galaxies:
    return draw(300, seed=2)


@pytest.fixture(scope="module")
def model(train: Galaxies, validation: Galaxies, tmp_path_factory: pytest.TempPathFactory) -> Structure:
    return Structure.fit(train, validation, SMALL, seed=5, place=Place(tmp_path_factory.mktemp("structure"), "cpu"))


@pytest.fixture(scope="module")
def stored(train: Galaxies, validation: Galaxies, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "galaxies.npz"
    few = [Galaxies(*(values[:100] for values in vars(part).values())) for part in (train, validation)]
    np.savez(path, **{f"{name}{k}": values for k, part in enumerate(few) for name, values in vars(part).items()})
    return path


def mixtures(model: Structure, galaxies: Galaxies) -> Mixture:
    return Mixture.unpacked(model.posteriors(model.encode(galaxies.stamps, galaxies.psf)), 2)


def scatter(model: Structure, galaxies: Galaxies) -> np.ndarray:
    """Root of the mean square of the medians' errors, (2,)."""
    medians = mixtures(model, galaxies).quantiles([0.5])[..., 0]
    return np.sqrt(((medians - galaxies.targets) ** 2).mean(axis=0))


def test_it_tells_magnitudes_and_sizes(model: Structure, validation: Galaxies) -> None:
    spread = validation.targets.std(axis=0)
    assert (scatter(model, validation) < spread * [0.25, 0.6]).all()


def test_it_goes_by_the_psf(model: Structure, validation: Galaxies) -> None:
    """The same stamp is of a smaller galaxy where the seeing was worse."""
    sharp, blurred = (gaussian(PSF_PX, np.full(len(validation), seeing)) for seeing in (0.7, 1.8))
    sizes = []
    for psf in (sharp, blurred):
        images = (psf / psf.sum(axis=(1, 2), keepdims=True))[:, None].repeat(2, axis=1).astype(np.float32)
        sizes.append(mixtures(model, replace(validation, psf=images)).quantiles([0.5])[:, 1, 0])
    assert np.median(sizes[0] - sizes[1]) > 0.2


def test_the_density_that_it_learns_by_is_that_of_the_posterior(model: Structure, validation: Galaxies) -> None:
    packed = model.posteriors(model.encode(validation.stamps, validation.psf))
    found = log_density(torch.from_numpy(packed), torch.from_numpy(validation.targets), 2).numpy()
    expected = mixtures(model, validation).log_density(validation.targets.astype(float))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_no_input_asks_for_more_than_a_bounded_posterior() -> None:
    torch.manual_seed(1)
    head = MixtureHead(4, 3, torch.tensor([20.0, 0.0]), torch.tensor([1.0, 0.5]))
    mixture = Mixture.unpacked(head(torch.full((2, 4), 1e30)).detach().numpy(), 2)
    assert mixture.weights.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (np.abs(mixture.means - [20.0, 0.0]) <= [10.01, 5.01]).all()
    assert (mixture.sigma > 0).all() and np.isfinite(mixture.cholesky).all()


def test_saved_and_loaded_it_is_the_same_to_the_bit(model: Structure, validation: Galaxies, tmp_path: Path) -> None:
    model.save(tmp_path)
    again = Structure.load(tmp_path)
    for mine, other in zip(mixtures(again, validation), mixtures(model, validation), strict=True):
        np.testing.assert_array_equal(mine, other)
    assert again.history() == model.history()
    first = (tmp_path / "checkpoint.pt").read_bytes()
    again.save(tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == first


def start(folder: Path, stored: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen([sys.executable, "-c", PROGRAM, SMALL.model_dump_json(), str(folder), str(stored)])


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


def test_one_onnx_file_gives_the_same_with_the_calibration_inside(model: Structure, validation: Galaxies) -> None:
    vectors = model.encode(validation.stamps, validation.psf)
    distance, _ = fit_distance(vectors, vectors, indicator=np.zeros(12, bool), quantile=0.99)
    widths = Widths(np.array([2.0, 0.5]), np.array([0.3, -0.2]))
    graph = export_structure.convert(model, widths, distance, StampSettings(size_px=SIZE, bands=["g", "r"]))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = mixtures(model, validation).widened(widths)
    for n in (1, 7, 300):
        flux, weight = (validation.stamps[:n, layer].copy() for layer in (0, 1))
        inputs = {"flux": flux, "inverse_variance": weight, "psf": validation.psf[:n]}
        packed, far = session.run(["posterior", "training_distance"], inputs)
        assert packed.shape == (n, packed_width(2, 2))
        for found, wanted in zip(Mixture.unpacked(packed, 2), expected, strict=True):
            np.testing.assert_allclose(found, wanted[:n], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(far, distance(vectors[:n]), rtol=1e-3)
