"""Boosted trees against scikit-learn's own, and on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from skymill.models import Boosting, Examples, Place
from skymill.models.boosting import BoostingSettings

SMALL = BoostingSettings(rounds=12, patience=12)


def fit(train: Examples, validation: Examples, folder: Path, threads: int = 1, **changes: object) -> Boosting:
    settings = SMALL.model_copy(update=changes)
    return Boosting.fit(train, validation, settings, seed=7, place=Place(folder, threads=threads))


@pytest.fixture(scope="module")
def model(train: Examples, validation: Examples, tmp_path_factory: pytest.TempPathFactory) -> Boosting:
    return fit(train, validation, tmp_path_factory.mktemp("boosting"))


def imputed(examples: Examples, values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(examples.features), examples.features, values)


def two_classes(examples: Examples) -> Examples:
    return Examples(examples.features, np.minimum(examples.labels, 1), examples.weights, 2)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_predicts_what_scikit_learn_predicts(
    train: Examples, validation: Examples, tmp_path: Path, n_classes: int
) -> None:
    """Also where a feature equals a threshold, and just beyond."""
    if n_classes == 2:
        train, validation = two_classes(train), two_classes(validation)
    ours = fit(train, validation, tmp_path)
    assert int(np.argmin(ours.losses[:, 1])) == 11, "expected no early stop, scikit-learn would not take back rounds"
    theirs = HistGradientBoostingClassifier(
        max_iter=12, max_leaf_nodes=31, max_depth=6, min_samples_leaf=20, learning_rate=0.1, l2_regularization=1.0,
        early_stopping=False, random_state=7,
    ).fit(imputed(train, ours.imputation), train.labels)  # fmt: skip
    thresholds = ours.trees.threshold[np.isfinite(ours.trees.threshold)]
    exact = np.random.default_rng(0).choice(thresholds, size=(2000, 4))
    for features in (imputed(validation, ours.imputation), exact, np.nextafter(exact, np.float32(np.inf))):
        np.testing.assert_allclose(ours.predict_probabilities(features), theirs.predict_proba(features), atol=1e-6)


def test_it_stops_when_validation_gets_no_better_and_keeps_the_best_rounds(
    train: Examples, validation: Examples, tmp_path: Path
) -> None:
    model = fit(train, validation, tmp_path, rounds=300, patience=4, learning_rate=0.3)
    losses = [row["validation_log_loss"] for row in model.history()]
    best = int(np.argmin(losses)) + 1
    assert len(losses) == best + 4
    assert len(model.trees.feature) == 3 * best
    p = model.predict_probabilities(validation.features)[np.arange(500), validation.labels]
    assert -np.log(p).mean() == pytest.approx(min(losses), abs=1e-5)


def test_save_and_load_give_the_same_model_and_the_same_bytes(
    model: Boosting, validation: Examples, tmp_path: Path
) -> None:
    (tmp_path / "again").mkdir()
    assert model.save(tmp_path) == ["boosting.npz"]
    loaded = Boosting.load(tmp_path)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "boosting.npz").read_bytes() == (tmp_path / "again" / "boosting.npz").read_bytes()
    np.testing.assert_array_equal(
        loaded.predict_probabilities(validation.features), model.predict_probabilities(validation.features)
    )
    assert loaded.history() == model.history()


def test_the_number_of_threads_changes_no_byte(
    model: Boosting, train: Examples, validation: Examples, tmp_path: Path
) -> None:
    for name, ours in (("one", model), ("two", fit(train, validation, tmp_path, threads=2))):
        (tmp_path / name).mkdir()
        ours.save(tmp_path / name)
    assert (tmp_path / "one" / "boosting.npz").read_bytes() == (tmp_path / "two" / "boosting.npz").read_bytes()


def test_not_measured_is_the_same_however_it_is_written(model: Boosting) -> None:
    rows = np.full((4, 4), 1.0, dtype=np.float32)
    rows[:, 0] = [np.nan, np.inf, -np.inf, model.imputation[0]]
    assert len(np.unique(model.predict_probabilities(rows), axis=0)) == 1
    assert model.predict_probabilities(rows[:0]).shape == (0, 3)


def test_weights_count(train: Examples, validation: Examples, tmp_path: Path) -> None:
    heavy = Examples(train.features, train.labels, np.where(train.labels == 2, 20, 1).astype(np.float32), 3)
    plain, weighted = (
        fit(examples, examples, tmp_path, rounds=5).predict_probabilities(validation.features)
        for examples in (train, heavy)
    )
    assert weighted[:, 2].mean() > plain[:, 2].mean() + 0.1
