"""The page of a network: what is on it, and that a nuisance is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skymill.models import Calibration, Cnn, Examples, Place
from skymill.models.cnn import CnnSettings
from skymill.report.explaining.page import Stamps, write_explanation
from skymill.training.distance import fit_distance
from skymill.training.fitting import Fit

CLASSES = ["POINT", "DISC"]
SIZE = 16


def draw(n: int, seed: int) -> Stamps:
    """Points and discs on two tiles, of which the second has twice the noise."""
    random = np.random.default_rng(seed)
    labels, tile = random.integers(0, 2, n), random.integers(0, 2, n)
    noise = np.where(tile == 0, 1.0, 2.0)[:, None, None, None]
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    sigma = np.where(labels == 0, 1.2, 2.2)[:, None, None]
    light = np.exp(-(x**2 + y**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    flux = random.uniform(100, 800, (n, 1, 1, 1)) * light[:, None].repeat(2, axis=1)
    flux = flux + noise * random.normal(size=flux.shape)
    weight = np.broadcast_to(noise**-2, flux.shape).copy()
    weight[::7, 0] = 0
    stamps = np.stack([flux * (weight > 0), weight], axis=1).astype(np.float32)
    magnitude = random.uniform(20, 24, n).astype(np.float32)
    return Stamps(stamps, labels, magnitude, tile, np.array([0.7, 0.9])[tile])


@pytest.fixture(scope="module", params=[1, 2])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The page of a network, and of two that are joined."""
    folder, train, test = tmp_path_factory.mktemp("page"), draw(300, 1), draw(150, 2)
    examples = [Examples(each.stamps, each.labels, np.ones(len(each.labels), np.float32), 2) for each in (train, test)]
    sizes = {"width": 8, "stages": 2, "depth": 1, "vector": 8, "members": request.param}
    settings = CnnSettings(**sizes, epochs=8, batch_size=50, averaging=0.9)
    model = Cnn.fit(*examples, settings, seed=5, place=Place(folder, "cpu"))
    vectors = model.encode(train.stamps)
    distance, _ = fit_distance(vectors, vectors, indicator=np.zeros(vectors.shape[1], bool), quantile=0.99)
    fit = Fit(folder / "a1b2c3", model, Calibration(), None, distance, {"name": "net", "classes": CLASSES})
    return folder, write_explanation(fit, test, train, folder, tiles=["east", "west"], seed=1)


def test_the_page_holds_a_picture_of_everything(made: tuple[Path, dict[str, Any]]) -> None:
    page = (made[0] / "explanation.html").read_text()
    for anchor in ("attributions", "feature-maps", "neighbours", "vectors", "nuisances"):
        assert f'id="{anchor}"' in page
    assert page.count('src="data:image/svg+xml;base64,') >= 2 + 2 + 1 + 4 + 1
    assert "POINT, right" in page


def test_noise_is_what_it_was_drawn_with() -> None:
    stamps = draw(100, 3)
    step = stamps.noise[stamps.tile == 1].mean() - stamps.noise[stamps.tile == 0].mean()
    assert step == pytest.approx(np.log10(2), abs=1e-6)
    assert np.isfinite(stamps.noise).all()


def test_its_numbers_name_what_shows_and_how_well_gradients_add_up(made: tuple[Path, dict[str, Any]]) -> None:
    numbers = made[1]
    assert {one["name"] for one in numbers["nuisances"]} == {"seeing", "noise", "tile"}
    for one in numbers["nuisances"]:
        assert one["low"] <= one["value"] <= one["high"]
        assert one["shows"] == (one["low"] > one["chance"])
    assert numbers["completeness_error"] < 0.02
