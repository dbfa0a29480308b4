"""A classifier two-sample test: alike samples lie within the band of chance, others are found."""

from __future__ import annotations

import numpy as np

from skymill.sky import at_order, order29
from skymill.training.two_sample import tell_apart


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
