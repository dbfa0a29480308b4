"""A sample is bounded, and the same whatever the order of the pieces."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from skymill.report.images.sample import Sample, hashed


@given(
    ids=st.lists(st.integers(0, 2**62), unique=True, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=3),
    most=st.integers(1, 40),
)
def test_pieces_in_any_order_give_the_rows_of_the_smallest_hashes(ids, cuts, most):
    every = np.array(ids, np.int64)
    pieces = np.split(every, sorted(min(cut, len(every)) for cut in cuts))
    forward, backward = Sample(most), Sample(most)
    for piece in pieces:
        forward.add(piece, {"id": piece, "square": piece % 97})
    for piece in reversed(pieces):
        backward.add(piece[::-1], {"id": piece[::-1], "square": piece[::-1] % 97})
    expected = set(every[np.argsort(hashed(every))[:most]].tolist())
    assert set(forward["id"].tolist()) == set(backward["id"].tolist()) == expected
    assert (forward["square"] == forward["id"] % 97).all()
    assert len(forward) == min(most, len(every))
    assert forward.n_seen == len(every)


def test_ids_that_follow_each_other_are_sampled_evenly():
    sample = Sample(1000)
    sample.add(np.arange(10_000), {"id": np.arange(10_000)})
    share = np.histogram(sample["id"], 10, (0, 10_000))[0] / 100
    assert (np.abs(share - 1) < 0.4).all()  # four standard deviations of a binomial
