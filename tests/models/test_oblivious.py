"""Oblivious trees against CatBoost's own, and on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from catboost import CatBoostClassifier, Pool

from skymill.models import Examples, Oblivious, Place
from skymill.models.oblivious import ObliviousSettings

SMALL = ObliviousSettings(trees=40, depth=4, patience=8, learning_rate=0.3)


def fit(train: Examples, validation: Examples, folder: Path, threads: int = 1, **changes: object) -> Oblivious:
    settings = SMALL.model_copy(update=changes)
    return Oblivious.fit(train, validation, settings, seed=7, place=Place(folder, threads=threads))


@pytest.fixture(scope="module")
def model(train: Examples, validation: Examples, tmp_path_factory: pytest.TempPathFactory) -> Oblivious:
    return fit(train, validation, tmp_path_factory.mktemp("oblivious"))


def imputed(examples: Examples, values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(examples.features), examples.features, values)


def test_predicts_what_catboost_predicts(model: Oblivious, train: Examples, validation: Examples) -> None:
    """Also at the thresholds themselves, and just beyond."""
    theirs = CatBoostClassifier(
        loss_function="MultiClass",
        iterations=40,
        depth=4,
        learning_rate=0.3,
        l2_leaf_reg=10,
        bootstrap_type="MVS",
        subsample=0.8,
        boosting_type="Plain",
        random_seed=7,
        thread_count=1,
        allow_writing_files=False,
        verbose=False,
    )
    held_out = Pool(imputed(validation, model.imputation), validation.labels)
    theirs.fit(imputed(train, model.imputation), train.labels, eval_set=held_out, early_stopping_rounds=8)
    assert theirs.tree_count_ == len(model.trees.feature)
    rows = imputed(validation, model.imputation)
    thresholds = model.trees.threshold[np.isfinite(model.trees.threshold)]
    exact = np.random.default_rng(0).choice(thresholds, size=(2000, 4))
    for features in (rows, exact, np.nextafter(exact, np.float32(np.inf))):
        np.testing.assert_allclose(model.predict_probabilities(features), theirs.predict_proba(features), atol=1e-6)


def test_it_stops_when_validation_gets_no_better_and_keeps_the_best_trees(
    train: Examples, validation: Examples, tmp_path: Path
) -> None:
    model = fit(train, validation, tmp_path, trees=500)
    losses = [row["validation_log_loss"] for row in model.history()]
    assert len(losses) < 500
    assert len(model.trees.feature) == int(np.argmin(losses)) + 1
    p = model.predict_probabilities(validation.features)[np.arange(500), validation.labels]
    assert -np.log(p).mean() == pytest.approx(min(losses), abs=1e-5)


def test_save_and_load_give_the_same_model_and_the_same_bytes(
    model: Oblivious, validation: Examples, tmp_path: Path
) -> None:
    (tmp_path / "again").mkdir()
    assert model.save(tmp_path) == ["oblivious.npz"]
    loaded = Oblivious.load(tmp_path)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "oblivious.npz").read_bytes() == (tmp_path / "again" / "oblivious.npz").read_bytes()
    np.testing.assert_array_equal(
        loaded.predict_probabilities(validation.features), model.predict_probabilities(validation.features)
    )
    assert loaded.history() == model.history()


def test_the_number_of_threads_changes_no_byte(
    model: Oblivious, train: Examples, validation: Examples, tmp_path: Path
) -> None:
    for name, ours in (("one", model), ("two", fit(train, validation, tmp_path, threads=2))):
        (tmp_path / name).mkdir()
        ours.save(tmp_path / name)
    assert (tmp_path / "one" / "oblivious.npz").read_bytes() == (tmp_path / "two" / "oblivious.npz").read_bytes()


def test_a_tree_that_asks_fewer_questions_is_filled_up(validation: Examples, tmp_path: Path) -> None:
    """One feature of two values can be asked about once."""
    features = np.repeat(np.array([[0.0], [1.0]], np.float32), 50, axis=0)
    rows = Examples(features, np.arange(100) // 50, np.ones(100, np.float32), 2)
    model = fit(rows, rows, tmp_path, trees=5, subsample=1.0)
    assert (np.isinf(model.trees.threshold).sum(axis=1) == SMALL.depth - 1).all()
    assert (model.predict_probabilities(features).argmax(axis=1) == rows.labels).all()


def test_not_measured_is_the_same_however_it_is_written(model: Oblivious) -> None:
    rows = np.full((4, 4), 1.0, dtype=np.float32)
    rows[:, 0] = [np.nan, np.inf, -np.inf, model.imputation[0]]
    assert len(np.unique(model.predict_probabilities(rows), axis=0)) == 1
    assert model.predict_probabilities(rows[:0]).shape == (0, 3)


def test_weights_count(train: Examples, validation: Examples, tmp_path: Path) -> None:
    heavy = Examples(train.features, train.labels, np.where(train.labels == 2, 20, 1).astype(np.float32), 3)
    plain, weighted = (
        fit(examples, examples, tmp_path, trees=5).predict_probabilities(validation.features)
        for examples in (train, heavy)
    )
    assert weighted[:, 2].mean() > plain[:, 2].mean() + 0.1
