"""Values of a classification tile, checked against slow and plain code."""

from __future__ import annotations

import math

import numpy as np
import pytest

from skymill.features import deciding
from skymill.inference.kernel import (
    MODEL_FAILED,
    NO_CLASS,
    OUTSIDE_TRAINING,
    UNSCORABLE,
    Answer,
    conformal_sets,
    gate,
    score,
)
from skymill.inference.session import Session

DECIDING = [0, 1, 2]
GROUPS = ["photometric", "photometric", "shape", "missing"]


@pytest.fixture
def session(lab):
    return Session(lab.model_bytes(), provider="cpu", source="test")


def scored(model, features, *, block_rows=64, pad=False):
    return score(model, features, n_classes=3, deciding=DECIDING, block_rows=block_rows, pad=pad)


def test_class_and_entropy_equal_a_loop_over_rows(lab, session):
    features = lab.matrix(500, 1)
    scores = scored(session, features)
    for row, p in enumerate(scores.probabilities.astype(float)):
        if not any(math.isfinite(value) for value in features[row, :3]):
            assert scores.best[row] == NO_CLASS and np.isnan(p).all() and np.isnan(scores.entropy[row])
            continue
        assert scores.best[row] == max(range(3), key=lambda c: p[c])
        assert scores.entropy[row] == pytest.approx(-sum(v * math.log(v) for v in p), abs=1e-6)
    assert (scores.best.dtype, scores.entropy.dtype, scores.probabilities.dtype) == (np.int8, np.float32, np.float32)


def test_entropy_is_in_nats():
    even = scored(lambda block: Answer(np.full((len(block), 3), 1 / 3, np.float32)), np.ones((4, 4), np.float32))
    certain = scored(
        lambda block: Answer(np.eye(3, dtype=np.float32)[np.zeros(len(block), int)]), np.ones((4, 4), np.float32)
    )
    np.testing.assert_allclose(even.entropy, math.log(3), rtol=1e-6)
    assert (certain.entropy == 0).all() and not np.signbit(certain.entropy).any()


def test_conformal_sets_equal_a_loop_over_rows(lab):
    def model(block):
        raised = np.exp(0.5 * np.where(np.isfinite(block[:, :3]), block[:, :3] - 20, 0))
        return Answer((raised / raised.sum(axis=1, keepdims=True)).astype(np.float32))

    features = lab.matrix(500, 1)
    thresholds = np.float32([0.4, 0.3, 0.05])
    scores = score(model, features, n_classes=3, deciding=DECIDING, block_rows=64, thresholds=thresholds)
    for row, p in enumerate(scores.probabilities):
        expected = 0 if np.isnan(p).any() else sum(1 << c for c in range(3) if p[c] >= thresholds[c])
        assert scores.conformal_set[row] == expected
    assert scores.conformal_set.dtype == np.int16 and len(set(scores.conformal_set.tolist())) >= 6
    assert scored(model, features).conformal_set is None


def test_a_threshold_that_is_met_exactly_lets_the_class_in():
    even = score(
        lambda block: Answer(np.tile(np.float32([0.1, 0.9]), (len(block), 1))),
        np.ones((2, 4), np.float32),
        n_classes=2,
        deciding=DECIDING,
        block_rows=64,
        thresholds=np.float32([0.1, 0.9]),
    )
    assert even.conformal_set.tolist() == [3, 3]


@pytest.mark.parametrize(("n_classes", "size"), [(2, 2), (15, 2), (16, 4), (31, 4), (32, 8), (63, 8)])
def test_a_set_has_a_bit_for_each_class_and_no_sign(n_classes, size):
    sets = conformal_sets(np.ones((n_classes, 1), np.float32), np.ones(n_classes, np.float32))
    assert sets.dtype.itemsize == size and sets.tolist() == [2**n_classes - 1]


def test_a_size_without_any_flux_is_not_enough_for_a_model_of_fluxes():
    features = np.array([[20, np.nan, 3, 0], [np.nan, np.inf, 3, 1]], np.float32)
    scores = score(
        lambda block: Answer(np.tile(np.float32([0.8, 0.1, 0.1]), (len(block), 1))),
        features,
        n_classes=3,
        deciding=deciding([{"group": group, "indicator": group == "missing"} for group in GROUPS]),
        block_rows=64,
    )
    assert scores.best.tolist() == [0, NO_CLASS]
    assert scores.flags.tolist() == [0, UNSCORABLE.mask] and np.isnan(scores.probabilities[1]).all()


@pytest.mark.parametrize(
    ("groups", "expected"),
    [(GROUPS, [0, 1]), (["shape", "missing", "value"], [0, 2]), (["", "", "missing"], [0, 1])],
)
def test_what_decides_is_photometry_where_there_is_any_else_all_that_is_measured(groups, expected):
    assert deciding([{"group": group, "indicator": group == "missing"} for group in groups]) == expected


def test_rows_with_nothing_measured_get_no_class_although_their_indicator_is_finite(session):
    features = np.full((5, 4), np.nan, np.float32)
    features[:, 3] = 1
    features[1, 2] = 3.0
    features[2, 0] = np.inf
    scores = scored(session, features)
    assert scores.best.tolist() == [-1, scores.best[1], -1, -1, -1] and scores.best[1] >= 0
    assert (scores.flags == np.where(np.arange(5) == 1, 0, UNSCORABLE.mask)).all()
    assert np.isnan(scores.probabilities[[0, 2, 3, 4]]).all() and np.isfinite(scores.probabilities[1]).all()


@pytest.mark.parametrize("answer", [[np.nan, 0.5, 0.5], [0.2, 0.2, 0.2], [-0.1, 0.6, 0.5], [np.inf, 0, 0]])
def test_a_model_that_gives_no_probabilities_is_flagged_and_never_ranked(answer):
    def model(block):
        out = np.tile(np.float32([0.1, 0.7, 0.2]), (len(block), 1))
        out[1] = answer
        return Answer(out)

    scores = scored(model, np.ones((3, 4), np.float32))
    assert scores.best.tolist() == [1, -1, 1]
    assert scores.flags.tolist() == [0, MODEL_FAILED.mask, 0]
    assert np.isnan(scores.probabilities[1]).all() and np.isnan(scores.entropy[1])


def far_model(block):
    """The distance of a row is its first feature."""
    return Answer(np.tile(np.float32([0.8, 0.1, 0.1]), (len(block), 1)), np.nan_to_num(block[:, 0], nan=9, posinf=9))


def test_rows_beyond_the_limit_are_flagged_and_keep_their_class():
    features = np.ones((5, 4), np.float32)
    features[:, 0] = [0.2, 1.0, np.nextafter(np.float32(1), np.float32(2)), 3e5, np.inf]
    features[4, 1:3] = np.nan
    scores = scored(far_model, features, block_rows=2)
    outside = OUTSIDE_TRAINING.mask
    assert OUTSIDE_TRAINING.mask == 1 << 22
    assert scores.flags.tolist() == [0, 0, outside, outside, UNSCORABLE.mask]
    assert scores.best.tolist() == [0, 0, 0, 0, NO_CLASS]
    assert scores.distance.dtype == np.float16
    np.testing.assert_array_equal(scores.distance, np.float16([0.2, 1, 1, np.inf, np.nan]))


def test_a_distance_that_is_no_number_is_outside():
    scores = scored(
        lambda block: Answer(np.full((len(block), 3), 1 / 3, np.float32), np.full(len(block), np.nan, np.float32)),
        np.ones((2, 4), np.float32),
    )
    assert (scores.flags == OUTSIDE_TRAINING.mask).all()


def test_a_model_that_tells_no_distance_flags_none(lab, session):
    scores = scored(session, lab.matrix(500, 1))
    assert scores.distance is None and not (scores.flags & OUTSIDE_TRAINING.mask).any()


@pytest.mark.parametrize("block_rows", [1, 7, 2048])
@pytest.mark.parametrize("pad", [False, True])
def test_block_size_changes_nothing(lab, session, block_rows, pad):
    features = lab.matrix(1_000, 2)
    expected = scored(session, features, block_rows=1_000)
    found = scored(session, features, block_rows=block_rows, pad=pad)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)
    np.testing.assert_array_equal(found.best, expected.best)
    np.testing.assert_array_equal(found.flags, expected.flags)


def test_no_rows_give_no_scores(session):
    scores = scored(session, np.empty((0, 4), np.float32))
    assert scores.probabilities.shape == (0, 3) and len(scores.best) == len(scores.flags) == 0


@pytest.mark.parametrize(
    "disguise",
    [
        lambda x: x.astype(">f4"),
        lambda x: x.astype(np.float64),
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: x[:, ::-1].copy()[:, ::-1],
    ],
    ids=["big-endian", "float64", "Fortran order", "every second row", "reversed columns"],
)
def test_gate_gives_the_model_the_same_numbers_whatever_the_memory(lab, session, disguise):
    plain = lab.matrix(200, 3)
    columns = np.arange(4)
    gated = gate(disguise(plain), columns)
    assert gated.dtype.isnative and gated.dtype == np.float32 and gated.flags.c_contiguous
    np.testing.assert_array_equal(scored(session, gated).best, scored(session, plain).best)
    np.testing.assert_array_equal(gated, plain)


def test_gate_takes_the_columns_in_the_order_of_the_model(lab):
    plain = lab.matrix(10, 4)
    np.testing.assert_array_equal(gate(plain.astype(">f4"), np.array([2, 0])), plain[:, [2, 0]])
