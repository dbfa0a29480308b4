"""The linear pool: its weights, its columns, and that it stands alone on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from skymill.models import Calibration, Ensemble, Examples, Fitted, Forest, LinearCut, Place
from skymill.models.ensemble import EnsembleSettings
from skymill.models.forest import ForestSettings
from skymill.models.linear_cut import LinearCutSettings

NAMES = ("i", "g_minus_r", "r_minus_i", "extent")


@pytest.fixture(scope="module")
def members(train: Examples) -> dict[str, Fitted]:
    """A forest that takes two of the features, in another order, and lines that take all."""
    few = Examples(train.features[:, [2, 1]], train.labels, train.weights, 3)
    forest = Forest.fit(few, few, ForestSettings(trees=5, max_depth=4), seed=1, place=Place(Path()))
    lines = LinearCut.fit(train, train, LinearCutSettings(), seed=1, place=Place(Path()))
    return {
        "forest": Fitted(forest, Calibration("temperature", 1.5), ("r_minus_i", "g_minus_r")),
        "lines": Fitted(lines, Calibration(), NAMES),
    }


def fit(train: Examples, validation: Examples, members: dict[str, Fitted], **settings: object) -> Ensemble:
    checked = EnsembleSettings(**{"members": list(members), **settings})
    rows = [replace(examples, names=NAMES) for examples in (train, validation)]
    return Ensemble.fit(*rows, checked, seed=1, place=Place(Path(), members=members))


def test_the_mean_is_that_of_calibrated_members_on_their_own_columns(
    train: Examples, validation: Examples, members: dict[str, Fitted]
) -> None:
    x = validation.features
    forest = Calibration("temperature", 1.5).apply(members["forest"].model.predict_probabilities(x[:, [2, 1]]))
    expected = (forest + members["lines"].model.predict_probabilities(x)) / 2
    found = fit(train, validation, members, combine="mean").predict_probabilities(x)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_stacking_finds_the_weight_of_the_lowest_log_loss(
    train: Examples, validation: Examples, members: dict[str, Fitted]
) -> None:
    """Against a search on a grid."""
    model = fit(train, validation, members)
    rows = np.arange(len(validation.labels))
    p, q = (member.predict(validation.features)[rows, validation.labels] for member in model.members)
    grid = np.linspace(0, 1, 2001)
    losses = [-np.log(w * p + (1 - w) * q).mean() for w in grid]
    assert model.members[0].weight == pytest.approx(grid[int(np.argmin(losses))], abs=2e-3)
    assert sum(member.weight for member in model.members) == pytest.approx(1)


def test_save_and_load_give_the_same_model_and_the_same_bytes(
    train: Examples, validation: Examples, members: dict[str, Fitted], tmp_path: Path
) -> None:
    model = fit(train, validation, members)
    (tmp_path / "again").mkdir()
    names = model.save(tmp_path)
    assert names == ["forest/forest.npz", "lines/linear_cut.npz", "ensemble.json"]
    loaded = Ensemble.load(tmp_path)
    loaded.save(tmp_path / "again")
    for name in names:
        assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    np.testing.assert_array_equal(
        loaded.predict_probabilities(validation.features), model.predict_probabilities(validation.features)
    )


def test_a_feature_the_ensemble_lacks_and_a_lonely_member_are_errors(
    train: Examples, validation: Examples, members: dict[str, Fitted]
) -> None:
    other = {"a": members["lines"], "b": replace(members["forest"], features=("u_minus_g", "i"))}
    with pytest.raises(ValueError, match="'b' takes u_minus_g, which the ensemble does not; add to its `features`"):
        fit(train, validation, other)
    with pytest.raises(ValueError, match="expected two models of the run or more"):
        fit(train, validation, {"lines": members["lines"]})
