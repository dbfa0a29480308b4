"""Nearest neighbours against scikit-learn's, condensed, and on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from skymill.models import Examples, Knn, Place
from skymill.models.knn import KnnSettings


def fit(train: Examples, **settings: object) -> Knn:
    return Knn.fit(train, train, KnnSettings(**settings), seed=3, place=Place(Path()))


def test_uncondensed_it_is_the_weighted_vote_of_scikit_learn(train: Examples, validation: Examples) -> None:
    model = fit(train, references=5000, neighbours=10)
    rows, unseen = (model.scaler.scaled(examples.features) for examples in (train, validation))
    reach = KNeighborsClassifier(11).fit(rows, train.labels).kneighbors(unseen)[0][:, -1]
    expected = np.stack([
        KNeighborsClassifier(10, weights=lambda d, D=D: np.maximum(1 - (d / D) ** 2, 1e-6))
        .fit(rows, train.labels)
        .predict_proba(row[None])[0]
        for row, D in zip(unseen[:100], reach)
    ])  # fmt: skip
    np.testing.assert_allclose(model.predict_probabilities(validation.features[:100]), expected, atol=1e-5)


def test_condensed_it_keeps_every_vote_and_decides_alike(train: Examples, validation: Examples) -> None:
    full, condensed = fit(train, references=5000), fit(train, references=150, neighbours=8)
    assert len(condensed.references) <= 150
    np.testing.assert_allclose(condensed.votes.sum(axis=0), np.bincount(train.labels), rtol=1e-5)
    decided = [model.predict_probabilities(validation.features).argmax(axis=1) for model in (full, condensed)]
    assert (decided[0] == decided[1]).mean() > 0.93


def test_a_point_among_equally_far_ones_gets_a_finite_answer() -> None:
    features = np.repeat(np.float32([[0.0], [1.0]]), 30, axis=0)
    model = fit(Examples(features, np.arange(60) // 30, np.ones(60, np.float32), 2), neighbours=20)
    assert model.neighbours == 1, "two distinct points: one votes, the other bounds its reach"
    p = model.predict_probabilities(np.float32([[0.0], [1.0], [0.5], [np.nan]]))
    assert np.isfinite(p).all()
    assert p[0, 0] > 0.99 and p[1, 1] > 0.99


def test_save_and_load_give_the_same_model_and_the_same_bytes(
    train: Examples, validation: Examples, tmp_path: Path
) -> None:
    model = fit(train, references=100)
    (tmp_path / "again").mkdir()
    assert model.save(tmp_path) == ["knn.npz"]
    loaded = Knn.load(tmp_path)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "knn.npz").read_bytes() == (tmp_path / "again" / "knn.npz").read_bytes()
    np.testing.assert_array_equal(
        loaded.predict_probabilities(validation.features), model.predict_probabilities(validation.features)
    )
    assert model.predict_probabilities(validation.features[:0]).shape == (0, 3)
