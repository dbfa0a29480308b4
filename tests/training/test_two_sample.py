"""A classifier two-sample test: alike samples lie within the band of chance, others are found."""

from __future__ import annotations

import numpy as np

from skymill.sky import at_order, order29
from skymill.training.two_sample import _dealt, folds, tell_apart


def blocks_of_sky(n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    pixels = at_order(order29(generator.uniform(0, 40, n), generator.uniform(-20, 20, n)), 4)
    return pixels, np.isin(pixels, np.unique(pixels)[::4])


def test_alike_train_and_test_are_near_chance_although_each_block_has_its_own_depth():
    pixels, in_test = blocks_of_sky()
    generator = np.random.default_rng(5)
    depth = generator.normal(0, 1, pixels.max() + 1)[pixels]
    features = np.stack([depth, generator.normal(size=len(pixels))], axis=1).astype("f4")
    shift = tell_apart(features, in_test, pixels, seed=1)
    assert shift.near_chance and abs(shift.auc - 0.5) < 0.2


def test_a_test_sky_that_differs_is_told():
    pixels, in_test = blocks_of_sky()
    features = (np.random.default_rng(5).normal(size=len(pixels)) + 1.5 * in_test)[:, None].astype("f4")
    shift = tell_apart(features, in_test, pixels, seed=1)
    assert not shift.near_chance and shift.auc > 0.8
    assert tell_apart(features, in_test, pixels, seed=1) == shift


def both_in_a_block(n: int = 8000) -> tuple[np.ndarray, np.ndarray]:
    """Blocks that hold rows of both samples, by a share of their own; a third of them of the first one only."""
    generator = np.random.default_rng(4)
    pixels = at_order(order29(generator.uniform(0, 40, n), generator.uniform(-20, 20, n)), 4)
    share = generator.uniform(0.2, 0.8, pixels.max() + 1) * (generator.random(pixels.max() + 1) > 1 / 3)
    return pixels, generator.random(n) < share[pixels]


def test_samples_that_share_their_blocks_and_are_alike_are_near_chance():
    pixels, in_second = both_in_a_block()
    generator = np.random.default_rng(6)
    features = np.stack([generator.normal(0, 1, pixels.max() + 1)[pixels], generator.normal(size=len(pixels))], axis=1)
    found = tell_apart(features.astype("f4"), in_second, pixels, seed=1)
    low, high = found.band
    assert found.near_chance and low <= found.auc <= high
    assert low < 0.5 < high


def test_samples_that_share_their_blocks_and_differ_are_told_apart():
    """Two normal distributions a standard deviation apart: the best AUC there is, is Phi(1 / sqrt(2)) = 0.76."""
    pixels, in_second = both_in_a_block()
    features = (np.random.default_rng(6).normal(size=len(pixels)) + in_second)[:, None].astype("f4")
    found = tell_apart(features, in_second, pixels, seed=1)
    assert not found.near_chance
    assert abs(found.auc - 0.760) < 0.03


def test_what_is_missing_tells_samples_apart():
    pixels, in_second = both_in_a_block()
    features = np.random.default_rng(6).normal(size=(len(pixels), 1)).astype("f4")
    features[in_second & (np.arange(len(pixels)) % 2 == 0)] = np.nan
    assert not tell_apart(features, in_second, pixels, seed=1).near_chance


def test_chance_keeps_the_share_of_each_block_dealt_out():
    pixels, in_second = both_in_a_block()
    _, block = np.unique(pixels, return_inverse=True)
    counts, share = np.bincount(block), np.bincount(block, in_second) / np.bincount(block)
    generator = np.random.default_rng(0)
    dealt = np.mean([np.bincount(block, _dealt(share, block, generator)) for _ in range(200)], axis=0)
    assert np.abs(dealt - share * counts).max() < 0.2
    whole = np.arange(len(counts)) % 2 == 0
    assert np.array_equal(_dealt(whole.astype(float), block, generator), whole[block])


def test_both_halves_hold_blocks_of_every_kind():
    block = np.repeat(np.arange(12), 2)
    in_second = np.array([kind for number in range(12) for kind in ((0, 1), (1, 1), (0, 0))[number // 4]], bool)
    half = folds(in_second, block, 2)
    for kind in range(3):
        assert sorted(half[8 * kind : 8 * kind + 8]) == [0, 0, 0, 0, 1, 1, 1, 1]
    assert (half[::2] == half[1::2]).all()
