"""What vectors know: nuisances that are there, and those that are not."""

from __future__ import annotations

import numpy as np
import pytest

from skymill.report.explaining.vectors import flat_map, neighbours, tell_group, tell_number


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(400, 6)).astype(np.float32)


def test_a_number_in_the_vectors_shows_and_another_does_not(vectors: np.ndarray) -> None:
    random = np.random.default_rng(3)
    slopes = random.normal(size=6)
    signal = vectors @ slopes
    value = signal + random.normal(scale=signal.std(), size=400)  # half of the variance: R^2 = 0.5
    found = tell_number("seeing", vectors, value, seed=1)
    assert found.value == pytest.approx(0.5, abs=0.07)
    assert found.low < found.value < found.high and found.shows
    absent = tell_number("seeing", vectors, random.normal(size=400), seed=1)
    assert absent.value == pytest.approx(0, abs=0.05) and not absent.shows


def test_a_group_in_the_vectors_shows_and_another_does_not(vectors: np.ndarray) -> None:
    random = np.random.default_rng(4)
    group = random.choice(3, size=400, p=[0.7, 0.2, 0.1])
    told = vectors.copy()
    told[:, :3] += 3 * np.eye(3)[group]
    found = tell_group("tile", told, group, seed=1)
    assert found.chance == pytest.approx(1 / 3)
    assert found.value > 0.9 and found.shows
    absent = [tell_group("tile", vectors, random.permutation(group), seed=1) for _ in range(8)]
    assert sum(one.shows for one in absent) <= 1  # an interval of 95 % errs on this side in one of forty
    assert np.mean([one.value for one in absent]) == pytest.approx(1 / 3, abs=0.05)


def test_neighbours_are_those_of_the_standardised_vectors() -> None:
    among = np.array([[0.0, 0], [1, 1000], [10, 0], [9, 1000]])  # the second number is large, not important
    np.testing.assert_array_equal(neighbours(np.array([[0.2, 600.0]]), among, 2), [[1, 0]])
    np.testing.assert_array_equal(neighbours(np.array([[9.5, 100.0]]), among, 1), [[2]])


def test_the_map_keeps_clouds_apart_and_says_how_it_was_made(vectors: np.ndarray) -> None:
    apart = np.concatenate([vectors[:100], vectors[100:200] + 20])
    places, method = flat_map(apart, seed=1)
    assert places.shape == (200, 2)
    assert method == "UMAP" or method.startswith("principal components, ")
    centres = places[:100].mean(axis=0), places[100:].mean(axis=0)
    assert np.linalg.norm(centres[0] - centres[1]) > 3 * np.linalg.norm(places[:100].std(axis=0))
