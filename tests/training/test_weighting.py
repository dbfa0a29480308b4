"""Importance weights recover a known ratio of densities, and a fit goes by them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from skymill.config import ModelConfig
from skymill.models import KINDS, LOOK, Examples, Place
from skymill.sky import at_order, order29
from skymill.training.choosing import TrainingSetError
from skymill.training.weighting import Importance, density_ratio

SHIFT = 0.7


def normal(n: int, mean: float, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of three normal features, the first of a given mean, and the blocks of sky they lie in."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(n, 3)).astype("f4")
    features[:, 0] += mean
    return features, generator.integers(0, 60, n)


@pytest.fixture(scope="module")
def ratio() -> tuple[np.ndarray, np.ndarray]:
    """Rows to learn from, and their weights by a survey that lies `SHIFT` standard deviations off."""
    (train, train_block), (survey, survey_block) = normal(6000, 0, seed=1), normal(12_000, SHIFT, seed=2)
    return train, density_ratio(train, train_block, survey, survey_block, seed=0)


def test_the_ratio_of_two_normal_densities_is_recovered(ratio):
    """It is exp(a x - a^2 / 2) for means that differ by a."""
    train, weights = ratio
    true = np.exp(SHIFT * train[:, 0] - SHIFT**2 / 2)
    slope, _ = np.polyfit(np.log(true), np.log(weights), 1)
    assert abs(slope - 1) < 0.15
    assert np.corrcoef(np.log(true), np.log(weights))[0, 1] > 0.9
    assert weights.mean() == pytest.approx(1)


def test_weighed_rows_have_the_mean_of_the_survey(ratio):
    train, weights = ratio
    assert abs(np.average(train[:, 0], weights=weights) - SHIFT) < 0.1
    assert abs(train[:, 0].mean()) < 0.05


def test_the_effective_rows_are_those_of_kish(ratio):
    _, weights = ratio
    kept = Importance(weights, 10.0, 0, "")
    assert kept.effective_rows == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert abs(kept.effective_rows / len(weights) - np.exp(-(SHIFT**2))) < 0.1
    assert Importance(np.ones(50), 10.0, 0, "").effective_rows == pytest.approx(50)


def test_alike_samples_weigh_nearly_alike():
    (train, train_block), (survey, survey_block) = normal(6000, 0, seed=1), normal(12_000, 0, seed=2)
    weights = density_ratio(train, train_block, survey, survey_block, seed=0)
    assert Importance(weights, 10.0, 0, "").effective_rows > 0.97 * len(weights)


def test_real_bright_rows_are_weighed_towards_the_faint_survey(data: Path):
    """SDSS17, rows taken as spectroscopy does, the fainter the fewer: the weights bring the mean magnitude back."""
    table = pq.read_table(data / "catalogues" / "sgq_sdss17/sdss17_subset.parquet")
    magnitudes = np.stack([table[band].to_numpy() for band in "ugriz"], axis=1).astype("f4")
    good = (magnitudes > 0).all(axis=1)
    magnitudes = magnitudes[good]
    block = at_order(order29(table["alpha"].to_numpy()[good], table["delta"].to_numpy()[good]), 4)
    chance = 0.6 / (1 + np.exp(1.5 * (magnitudes[:, 2] - 19)))
    learned = np.random.default_rng(2).random(len(chance)) < chance
    weights = density_ratio(magnitudes[learned], block[learned], magnitudes, block, seed=0)
    before, after = magnitudes[learned, 2].mean(), np.average(magnitudes[learned, 2], weights=weights)
    everything = magnitudes[:, 2].mean()
    assert everything - before > 0.8
    assert abs(everything - after) < 0.4 * (everything - before)


def test_too_few_blocks_are_refused():
    (train, _), (survey, _) = normal(100, 0, seed=1), normal(100, 0, seed=2)
    with pytest.raises(TrainingSetError, match=r"1 blocks of sky .* higher split\.order"):
        density_ratio(train, np.zeros(100, int), survey, np.zeros(100, int), seed=0)


def test_what_goes_by_class_is_told_from_what_does_not():
    """Validation takes out class weights, and importance must not count as one."""
    labels = np.array([0, 0, 1, 1, 1])
    importance = np.array([0.5, 1.0, 2.0, 1.0, 0.5], "f4")
    by_class = np.array([3.0, 0.5])
    rows = Examples(np.zeros((5, 1), "f4"), labels, (by_class[labels] * importance).astype("f4"), 2, (), importance)
    assert np.allclose(rows.class_weights, by_class)
    plain = Examples(np.zeros((5, 1), "f4"), labels, by_class[labels].astype("f4"), 2)
    assert np.allclose(plain.class_weights, by_class)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"ensemble", "frozen", "structure"}))
def test_every_kind_with_rows_of_its_own_goes_by_the_weights(kind: str, tmp_path: Path):
    """Features that say nothing: a model can only give the frequencies, and they are those of the weights.

    Validation, which decides when to stop, has the same frequencies.
    """
    generator = np.random.default_rng(0)
    shape = (2, 1, 8, 8) if kind in LOOK else (2,)  # stamps of noise: flux, and a weight of 1
    features, labels = generator.normal(size=(600, *shape)).astype("f4"), np.arange(600) % 2
    if kind in LOOK:
        features[:, 1] = 1
    weights = np.where(labels == 1, 1.8, 0.2).astype("f4")
    rows = Examples(features, labels, weights, 2, ("a", "b"), weights)
    held_out = Examples(features, (np.arange(600) % 10 > 0).astype(int), np.ones(600, "f4"), 2, ("a", "b"))
    settings = KINDS[kind].Settings.model_validate(SETTINGS.get(kind, {}))
    model = KINDS[kind].fit(rows, held_out, settings, seed=1, place=Place(tmp_path, device="cpu"))
    judged = model.encode(features) if kind in LOOK else generator.normal(size=(500, 2)).astype("f4")
    assert model.predict_probabilities(judged)[:, 1].mean() > 0.7


SETTINGS = {
    "forest": {"trees": 20, "min_samples_leaf": 50},
    "mlp": {"members": 1, "epochs": 10, "width": 8, "depth": 1},
    "boosting": {"rounds": 20},
    "oblivious": {"trees": 20},
    "knn": {"neighbours": 20, "references": 100},
    "linear_cut": {"cuts": [{"coefficients": {"a": 1.0}, "above": 0.0}]},
    "svm": {"landmarks": 20},
    "cnn": {"width": 4, "stages": 1, "depth": 1, "vector": 4, "epochs": 4},
}


@pytest.mark.parametrize(("kind", "more"), [("ensemble", {}), ("onnx", {"path": "model.onnx"})])
def test_kinds_without_rows_of_their_own_are_refused(kind: str, more: dict):
    with pytest.raises(ValueError, match=f"`importance_weighting`: kind '{kind}' learns from no rows of its own"):
        ModelConfig(name="m", kind=kind, importance_weighting=True, **more)
