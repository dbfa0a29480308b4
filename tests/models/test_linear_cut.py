"""Cuts: what is inside, what probabilities stand beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from skymill.models import Examples, LinearCut, Place
from skymill.models.linear_cut import LinearCutSettings

NAMES = ("i", "g_minus_r", "r_minus_i", "extent")
WEDGE = [
    {"coefficients": {"g_minus_r": 1.0, "r_minus_i": -0.5}, "above": 0.8},
    {"coefficients": {"extent": -1.0}, "above": -2.2},
]


def named(examples: Examples) -> Examples:
    return Examples(examples.features, examples.labels, examples.weights, examples.n_classes, NAMES)


def fit(examples: Examples, **settings: object) -> LinearCut:
    checked = LinearCutSettings.model_validate(settings)
    return LinearCut.fit(named(examples), named(examples), checked, seed=1, place=Place(Path()))


def finite(examples: Examples) -> Examples:
    rows = np.isfinite(examples.features).all(axis=1)
    return Examples(examples.features[rows], examples.labels[rows], examples.weights[rows], examples.n_classes)


def test_sides_of_a_cut_give_the_class_frequencies_there(train: Examples) -> None:
    """Two half-spaces joined by `and`, against the same written out by hand."""
    rows = finite(train)
    x = rows.features
    inside = (x[:, 1] - 0.5 * x[:, 2] > 0.8) & (x[:, 3] < 2.2)
    p = fit(rows, cuts=WEDGE, probability="side").predict_probabilities(x)
    assert len(np.unique(p, axis=0)) == 2
    for side in (inside, ~inside):
        frequencies = np.bincount(rows.labels[side], minlength=3) / side.sum()
        np.testing.assert_allclose(p[side], np.broadcast_to(frequencies, (side.sum(), 3)), atol=0.02)


def test_probability_rises_with_the_distance_to_the_cut(train: Examples) -> None:
    rows = finite(train)
    model = fit(rows, cuts=WEDGE[:1])
    line = np.tile(np.float32([20, 0, 0.2, 1]), (50, 1))
    line[:, 1] = np.linspace(rows.features[:, 1].min(), rows.features[:, 1].max(), 50)
    assert (np.diff(model.predict_probabilities(line)[:, 1]) > 0).all(), "class 1 is the red one"


def test_learned_lines_are_a_logistic_regression(train: Examples) -> None:
    rows = finite(train)
    scaler = StandardScaler().fit(rows.features.astype(np.float64))
    theirs = LogisticRegression(max_iter=1000).fit(scaler.transform(rows.features), rows.labels)
    expected = theirs.predict_proba(scaler.transform(rows.features))
    np.testing.assert_allclose(fit(rows).predict_probabilities(rows.features), expected, atol=1e-4)


def test_two_classes(train: Examples) -> None:
    rows = finite(train)
    two = Examples(rows.features, np.minimum(rows.labels, 1), rows.weights, 2)
    for settings in ({}, {"cuts": WEDGE[:1]}, {"cuts": WEDGE, "probability": "side"}):
        p = fit(two, **settings).predict_probabilities(two.features)
        assert p.shape == (len(two.labels), 2)
        assert p.mean(axis=0) == pytest.approx(np.bincount(two.labels) / len(two.labels), abs=0.01)


def test_a_cut_on_a_feature_the_model_does_not_take_names_it(train: Examples) -> None:
    with pytest.raises(ValueError, match=r"settings\.cuts: u_minus_g: no feature of this model; it takes i, g_minus_r"):
        fit(train, cuts=[{"coefficients": {"u_minus_g": 1.0}, "above": 0.0}])


@pytest.mark.parametrize("settings", [{}, {"cuts": WEDGE}, {"cuts": WEDGE, "probability": "side"}])
def test_save_and_load_give_the_same_model_and_the_same_bytes(
    train: Examples, validation: Examples, tmp_path: Path, settings: dict[str, object]
) -> None:
    model = fit(train, **settings)
    (tmp_path / "again").mkdir()
    assert model.save(tmp_path) == ["linear_cut.npz"]
    loaded = LinearCut.load(tmp_path)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "linear_cut.npz").read_bytes() == (tmp_path / "again" / "linear_cut.npz").read_bytes()
    np.testing.assert_array_equal(
        loaded.predict_probabilities(validation.features), model.predict_probabilities(validation.features)
    )
