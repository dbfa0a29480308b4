"""The forest against scikit-learn's own, and on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from skymill.models import Examples, Forest, Place
from skymill.models.forest import ForestSettings

SMALL = ForestSettings(trees=20, max_depth=8)


def fit(train: Examples, folder: Path, threads: int = 1) -> Forest:
    return Forest.fit(train, train, SMALL, seed=7, place=Place(folder, threads=threads))


def imputed(examples: Examples, values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(examples.features), examples.features, values)


def test_predicts_what_scikit_learn_predicts(train: Examples, validation: Examples, tmp_path: Path) -> None:
    ours = fit(train, tmp_path)
    medians = np.array([np.median(column[np.isfinite(column)]) for column in train.features.T], dtype=np.float32)
    theirs = RandomForestClassifier(20, max_depth=8, min_samples_leaf=3, random_state=7)
    theirs.fit(imputed(train, medians), train.labels, sample_weight=train.weights)
    np.testing.assert_array_equal(ours.imputation, medians)
    expected = theirs.predict_proba(imputed(validation, medians))
    np.testing.assert_allclose(ours.predict_probabilities(validation.features), expected, atol=1e-7)
    np.testing.assert_allclose(ours.estimator.predict_proba(imputed(validation, medians)), expected, atol=1e-12)


def test_thresholds_are_float32_and_part_the_training_rows_alike(train: Examples, tmp_path: Path) -> None:
    thresholds = np.concatenate([tree.tree_.threshold for tree in fit(train, tmp_path).estimator.estimators_])
    np.testing.assert_array_equal(thresholds, thresholds.astype(np.float32))


def test_save_and_load_give_the_same_model_and_the_same_bytes(
    train: Examples, validation: Examples, tmp_path: Path
) -> None:
    forest = fit(train, tmp_path)
    (tmp_path / "again").mkdir()
    assert forest.save(tmp_path) == ["forest.npz"]
    loaded = Forest.load(tmp_path)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "forest.npz").read_bytes() == (tmp_path / "again" / "forest.npz").read_bytes()
    np.testing.assert_array_equal(
        loaded.predict_probabilities(validation.features), forest.predict_probabilities(validation.features)
    )


def test_the_number_of_threads_changes_no_byte(train: Examples, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for threads, folder in enumerate(folders, start=1):
        folder.mkdir()
        fit(train, folder, threads).save(folder)
    one, two = ((folder / "forest.npz").read_bytes() for folder in folders)
    assert one == two


def test_not_measured_is_the_same_however_it_is_written(train: Examples, tmp_path: Path) -> None:
    forest = fit(train, tmp_path)
    rows = np.full((4, 4), 1.0, dtype=np.float32)
    rows[:, 0] = [np.nan, np.inf, -np.inf, forest.imputation[0]]
    assert len(np.unique(forest.predict_probabilities(rows), axis=0)) == 1
    assert forest.predict_probabilities(rows[:0]).shape == (0, 3)


def test_weights_count(train: Examples, validation: Examples, tmp_path: Path) -> None:
    heavy = Examples(train.features, train.labels, np.where(train.labels == 2, 20, 1).astype(np.float32), 3)
    plain, weighted = (
        fit(examples, tmp_path).predict_probabilities(validation.features) for examples in (train, heavy)
    )
    assert weighted[:, 2].mean() > plain[:, 2].mean() + 0.1
