"""A true source takes the nearest detection that no brighter one has taken."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from skymill.training.matching import NONE, match


def at(*columns: float) -> np.ndarray:
    return np.array([[column, 0.0] for column in columns])


def test_the_brighter_of_two_takes_what_both_are_near_to():
    assert match(at(0, 1), np.array([1.0, 2.0]), at(0.4), 2.0).tolist() == [NONE, 0]


def test_the_fainter_takes_the_next_within_the_radius():
    assert match(at(0, 1), np.array([1.0, 2.0]), at(0.9, -0.8), 1.0).tolist() == [1, 0]
    assert match(at(0, 1), np.array([1.0, 2.0]), at(0.9, -1.1), 1.0).tolist() == [NONE, 0]


def test_a_detection_without_a_position_and_nothing_at_all_match_nothing():
    nowhere = np.array([[np.nan, 0.0], [0.3, 0.0]])
    assert match(at(0), np.array([1.0]), nowhere, 1.0).tolist() == [1]
    assert match(at(0), np.array([1.0]), nowhere[:1], 1.0).tolist() == [NONE]
    assert match(at(), np.empty(0), nowhere, 1.0).shape == (0,)


@given(seed=st.integers(0, 10_000), n=st.integers(0, 25), m=st.integers(0, 25))
def test_it_equals_a_search_through_all_pairs(seed, n, m):
    rng = np.random.default_rng(seed)
    true, found, brightness = rng.uniform(0, 8, (n, 2)), rng.uniform(0, 8, (m, 2)), rng.permutation(n).astype(float)
    free, expected = set(range(m)), np.full(n, NONE)
    for row in np.argsort(-brightness):
        near = [(np.hypot(*(found[k] - true[row])), k) for k in free if np.hypot(*(found[k] - true[row])) <= 1.5]
        if near:
            expected[row] = min(near)[1]
            free.remove(int(expected[row]))
    assert match(true, brightness, found, 1.5).tolist() == expected.tolist()
