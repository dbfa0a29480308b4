"""The machine over landmarks against a kernel machine, and on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.metrics import log_loss
from sklearn.svm import SVC, LinearSVC

from skymill.models import Examples, Place, Svm
from skymill.models.svm import SvmSettings


def fit(train: Examples, **settings: object) -> Svm:
    return Svm.fit(train, train, SvmSettings(**settings), seed=3, place=Place(Path()))


def two_classes(examples: Examples) -> Examples:
    return Examples(examples.features, np.minimum(examples.labels, 1), examples.weights, 2)


def test_it_decides_as_the_kernel_machine_does(train: Examples, validation: Examples) -> None:
    """With a landmark at every row the approximation is the kernel itself; a bent border, which no line follows."""
    bent = Examples(train.features, (np.abs(train.features[:, 0] - 20) > 0.6).astype(np.int64), train.weights, 2)
    ours = fit(bent, landmarks=1500)
    rows, unseen = (ours.scaler.scaled(examples.features) for examples in (bent, validation))
    kernel = SVC(gamma=0.25, C=1.0).fit(rows, bent.labels)
    line = LinearSVC().fit(rows, bent.labels)
    decided = ours.predict_probabilities(validation.features).argmax(axis=1)
    assert (decided == kernel.predict(unseen)).mean() > 0.95
    assert (decided == line.predict(unseen)).mean() < 0.8


def test_probabilities_are_of_use(train: Examples, validation: Examples) -> None:
    p = fit(train).predict_probabilities(validation.features)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    assert log_loss(validation.labels, p) < 0.5 * log_loss(
        validation.labels, np.tile(np.bincount(train.labels) / len(train.labels), (len(p), 1))
    )
    assert fit(two_classes(train)).predict_probabilities(validation.features[:0]).shape == (0, 2)


def test_the_width_of_the_kernel_counts_in_standard_deviations(train: Examples) -> None:
    assert fit(train, width=2.0).gamma == 0.125
    assert fit(train).gamma == 0.25


def test_save_and_load_give_the_same_model_and_the_same_bytes(
    train: Examples, validation: Examples, tmp_path: Path
) -> None:
    model = fit(train, landmarks=50)
    (tmp_path / "again").mkdir()
    assert model.save(tmp_path) == ["svm.npz"]
    loaded = Svm.load(tmp_path)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "svm.npz").read_bytes() == (tmp_path / "again" / "svm.npz").read_bytes()
    np.testing.assert_array_equal(
        loaded.predict_probabilities(validation.features), model.predict_probabilities(validation.features)
    )
