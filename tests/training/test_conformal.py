"""Conformal sets: the theorem they rest on, checked exactly, and their measures, checked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymill.models.conformal import ConformalSets
from skymill.training.conformal import FOLDS, evaluate_sets, fit_sets, folds_of_blocks, threshold

CLASSES = ("a", "b", "c")


@pytest.mark.parametrize(
    "n, coverage, expected",
    [
        (9, 0.9, 0.125),  # rank 9 of 9: the least probable row
        (8, 0.9, 0.0),  # rank 9 of 8: too few rows to exclude the class from any set
        (19, 0.9, 0.25),  # rank 18 of 19: the second least probable
        (1, 0.6, 0.0),
        (3, 0.75, 0.125),
    ],
)
def test_the_threshold_is_the_row_of_the_rank_in_the_paper(n: int, coverage: float, expected: float) -> None:
    probability = np.arange(1, n + 1) / 8
    assert threshold(np.random.default_rng(n).permutation(probability), coverage) == expected


@given(
    st.lists(st.floats(0, 1, width=32), min_size=2, max_size=60, unique=True),
    st.sampled_from([0.6, 0.75, 0.8, 0.9, 0.95]),
)
def test_of_exchangeable_rows_exactly_the_promised_share_is_covered(values: list[float], coverage: float) -> None:
    """Each of n + 1 rows may be the new one: the others' threshold covers it in ceil((n + 1) coverage) cases."""
    rows = np.array(values)
    covered = sum(row >= threshold(np.delete(rows, place), coverage) for place, row in enumerate(rows))
    rank = math.ceil(round(len(rows) * coverage, 6))
    assert covered == (len(rows) if rank > len(rows) - 1 else rank)
    assert covered >= round(len(rows) * coverage, 6)


def test_a_threshold_between_two_float32_excludes_no_row_that_set_it() -> None:
    probability = np.array([0.1, 0.2, 0.3])
    assert all(np.float32(t) == t and t <= p for p in probability for t in [threshold(np.array([p] * 9), 0.9)])


def calibrated(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are right, and classes drawn by them."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet([0.6, 0.4, 0.2], n)
    return p, (rng.random(n)[:, None] > np.cumsum(p, axis=1)).sum(axis=1)


@pytest.mark.parametrize("method", ["none", "temperature", "isotonic"])
def test_new_rows_of_each_class_are_covered(method: str) -> None:
    p, labels = calibrated(6000, 1)
    sets = fit_sets(p, labels, np.arange(6000) % 50, coverage=0.9, method=method, class_weights=None, seed=3)
    assert sets is not None
    new, true = calibrated(40_000, 2)
    inside = sets.contain(new)
    for c in range(3):
        # Of n calibration rows the coverage is Beta(n + 1 - l, l): 0.01 is over three of its sigmas here.
        assert inside[true == c, c].mean() == pytest.approx(0.9, abs=0.03 if method == "isotonic" else 0.02)


def test_rows_are_not_judged_by_what_they_taught() -> None:
    """An isotonic curve fitted to 30 rows fits them too well; in folds it does not."""
    covered = []
    for seed in range(60):
        p, labels = calibrated(120, seed)
        sets = fit_sets(p, labels, np.arange(120), coverage=0.8, method="isotonic", class_weights=None, seed=0)
        new, true = calibrated(400, 1000 + seed)
        assert sets is not None
        covered.append(sets.contain(new)[np.arange(400), true].mean())
    assert np.mean(covered) > 0.79


def test_folds_keep_blocks_of_sky_whole() -> None:
    block = np.random.default_rng(0).integers(0, 23, 400)
    fold = folds_of_blocks(block, 1)
    assert all(len(set(fold[block == one])) == 1 for one in range(23))
    assert len(set(fold)) == FOLDS
    of_rows = folds_of_blocks(np.zeros(400, int), 1)  # a set without positions is cut by rows
    assert np.bincount(of_rows).tolist() == [80] * FOLDS


def test_more_classes_than_bits_have_no_sets() -> None:
    p = np.full((200, 64), 1 / 64)
    assert (
        fit_sets(p, np.arange(200) % 64, np.arange(200), coverage=0.9, method="none", class_weights=None, seed=0)
        is None
    )


def test_measures_equal_a_hand_computed_case() -> None:
    sets = ConformalSets(0.9, (0.5, 0.25, 0.0))
    p = np.array([[0.6, 0.3, 0.1], [0.4, 0.2, 0.4], [0.7, 0.1, 0.2], [0.2, 0.8, 0.0]])
    labels = np.array([0, 0, 1, 1])  # sets: abc, c, ac, bc
    found = evaluate_sets(sets, p, labels, np.full(4, 20.0), np.arange(4), classes=CLASSES, seed=0)
    assert found["thresholds"] == {"a": 0.5, "b": 0.25, "c": 0.0} and found["coverage"] == 0.9
    values = {name: found["overall"][name]["value"] for name in ("covered", "size", "empty", "single", "all")}
    assert values == {"covered": 0.5, "size": 2.0, "empty": 0.0, "single": 0.25, "all": 0.25}
    assert {name: (each["n"], each["covered"]["value"]) for name, each in found["by_class"].items()} == {
        "a": (2, 0.5),
        "b": (2, 0.5),
    }
    assert found["by_magnitude"][0]["by_class"] == {}  # fewer than 50 rows of each class


def test_cells_of_class_and_magnitude_count_their_own_rows() -> None:
    p, labels = calibrated(2000, 7)
    magnitude = np.linspace(18, 21.99, 2000)
    sets = ConformalSets(0.9, (0.3, 0.2, 0.1))
    found = evaluate_sets(sets, p, labels, magnitude, np.arange(2000) % 30, classes=CLASSES, seed=0)
    inside = sets.contain(p)
    for bin_ in found["by_magnitude"]:
        rows = (magnitude >= bin_["low"]) & (magnitude < bin_["high"])
        for c, name in enumerate(CLASSES):
            chosen = rows & (labels == c)
            assert bin_["by_class"][name]["n"] == chosen.sum()
            assert bin_["by_class"][name]["covered"]["value"] == pytest.approx(inside[chosen, c].mean())
            interval = bin_["by_class"][name]["covered"]
            assert interval["low"] <= interval["value"] <= interval["high"]


def test_a_set_follows_from_the_probabilities_of_a_catalogue() -> None:
    """In float64 a probability may lie below a threshold that it equals once both are float32."""
    t = float(np.float32(0.3))
    sets = ConformalSets(0.9, (t, t))
    assert sets.contain(np.array([[np.nextafter(t, 0), np.nextafter(np.float32(t), np.float32(0))]])).tolist() == [
        [True, False]
    ]


def test_thresholds_survive_writing_and_need_every_class() -> None:
    sets = ConformalSets(0.95, (0.5, float(np.float32(0.1)), 0.0))
    assert ConformalSets.from_dict(sets.as_dict(CLASSES), CLASSES) == sets
    with pytest.raises(KeyError):
        ConformalSets.from_dict(sets.as_dict(CLASSES), (*CLASSES, "d"))
