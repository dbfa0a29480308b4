"""Shapley values: exact where they are known, against an enumeration of all subsets, and additive always."""

from __future__ import annotations

import io
from itertools import combinations
from math import factorial

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skymill.training import attribution
from skymill.training.attribution import attribution_table, sample_rows, shapley_values

WEIGHTS = np.random.default_rng(3).normal(size=(5, 3))


def softmax(x: np.ndarray) -> np.ndarray:
    raised = np.exp(x.astype(np.float64) @ WEIGHTS + np.sin(x[:, :1] * x[:, 1:2]))
    return raised / raised.sum(axis=1, keepdims=True)


def linear(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64) @ WEIGHTS


def enumerated(predict, source: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Shapley values by their definition (Shapley 1953): every subset of the other features, over the background."""
    n = len(source)

    def value(known: tuple[int, ...]) -> np.ndarray:
        rows = background.copy()
        rows[:, list(known)] = source[list(known)]
        return predict(rows).mean(axis=0)

    effect = np.zeros((n, 3))
    for feature in range(n):
        others = [other for other in range(n) if other != feature]
        for size in range(n):
            weight = factorial(size) * factorial(n - size - 1) / factorial(n)
            for known in combinations(others, size):
                effect[feature] += weight * (value((*known, feature)) - value(known))
    return effect


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_effects_add_up_to_what_the_model_says_of_the_source(seed: int, sources: int, starts: int) -> None:
    rng = np.random.default_rng(seed)
    x, background = (rng.normal(size=(n, 5)).astype(np.float32) for n in (sources, starts))
    found = shapley_values(softmax, x, background, seed=seed)
    np.testing.assert_allclose(found.effect.sum(axis=1), softmax(x) - softmax(background).mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(found.base, softmax(background).mean(axis=0))
    np.testing.assert_allclose(found.given, softmax(x))


def test_for_a_linear_model_they_are_exact() -> None:
    rng = np.random.default_rng(1)
    x, background = (rng.normal(size=(n, 5)).astype(np.float32) for n in (7, 4))
    expected = (x - background.mean(axis=0))[:, :, None] * WEIGHTS
    np.testing.assert_allclose(shapley_values(linear, x, background, seed=0).effect, expected, atol=1e-6)


def test_they_converge_to_the_enumeration_of_all_subsets() -> None:
    rng = np.random.default_rng(2)
    x, background = (rng.normal(size=(n, 5)).astype(np.float32) for n in (3, 4))
    expected = np.array([enumerated(softmax, source, background) for source in x])
    runs = np.array([shapley_values(softmax, x, background, seed=seed).effect for seed in range(300)])
    error = runs.std(axis=0) / np.sqrt(len(runs))
    assert (np.abs(runs.mean(axis=0) - expected) < 5 * error + 1e-12).all()
    assert np.abs(expected).max() > 0.05


def test_the_size_of_a_batch_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    x, background = (rng.normal(size=(n, 5)).astype(np.float32) for n in (9, 3))
    whole = shapley_values(linear, x, background, seed=6).effect
    monkeypatch.setattr(attribution, "ROWS_AT_ONCE", 1)
    np.testing.assert_allclose(shapley_values(linear, x, background, seed=6).effect, whole, atol=1e-6)


def test_a_sample_has_as_many_rows_of_each_class_as_it_can() -> None:
    labels = np.array([0] * 1000 + [1] * 12 + [2] * 3)
    rows = sample_rows(labels, 30, seed=1)
    assert np.bincount(labels[rows]).tolist() == [15, 12, 3]
    assert (np.diff(rows) > 0).all() and not np.array_equal(rows, sample_rows(labels, 30, seed=2))
    assert sample_rows(labels[:5], 30, seed=1).tolist() == [0, 1, 2, 3, 4]


def test_the_table_holds_values_and_effects_of_each_source() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(4, 5)).astype(np.float32)
    found = shapley_values(softmax, x, x[:2], seed=0)
    content = attribution_table(
        found,
        x,
        object_id=2**60 + np.arange(4),
        labels=np.array([0, 1, 2, 0]),
        names=list("abcde"),
        classes=["G", "Q", "S"],
    )
    table = pq.read_table(io.BytesIO(content)).to_pandas()
    assert list(table.columns) == ["objectId", "label", "of", *"abcde"] and len(table) == 16
    np.testing.assert_array_equal(table[table["of"] == "value"][list("abcde")], x)
    for k, name in enumerate(["G", "Q", "S"]):
        own = table[table["of"] == name]
        assert own["objectId"].tolist() == (2**60 + np.arange(4)).tolist() and own["label"].tolist() == [0, 1, 2, 0]
        np.testing.assert_allclose(own[list("abcde")], found.effect[:, :, k], atol=1e-6)
