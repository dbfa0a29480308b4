"""Overlaps and average precision, by hand and with masks whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from skymill.training.instances import (
    assign,
    average_precision,
    mean_average_precision,
    overlaps,
    pixels_of_labels,
    pixels_of_masks,
    precision_recall,
)
from skymill.training.matching import NONE


def mask(*columns: int) -> np.ndarray:
    found = np.zeros((1, 10), bool)
    found[0, list(columns)] = True
    return found


def test_overlap_is_the_shared_pixels_over_those_of_either():
    labels = np.array([[1, 1, 1, 0, 2, 2, 0, 0, 0, 0]], np.int32)
    true = pixels_of_masks([mask(0, 1), mask(1, 2, 3, 4), mask(8)])
    expected = np.array([[2 / 3, 0], [2 / 5, 1 / 5], [0, 0]])
    assert overlaps(true, pixels_of_labels(labels)) == pytest.approx(expected)
    assert overlaps(true, pixels_of_masks([labels == 1, labels == 2])) == pytest.approx(expected)


def test_nothing_true_and_nothing_found():
    something, nothing = pixels_of_masks([mask(1)]), pixels_of_labels(np.zeros((1, 10), np.int32))
    assert overlaps(something, nothing).shape == (1, 0)
    assert overlaps(nothing, something).shape == (0, 1)
    assert mean_average_precision(np.empty((1, 0)), np.empty(0)) == 0
    assert average_precision(np.empty((0, 1)), np.ones(1), 0.5) == 0


def test_the_surer_source_takes_the_mask_and_the_other_its_next_best():
    overlap = np.array([[0.9, 0.8], [0.0, 0.6]])
    assert assign(overlap, np.array([1.0, 2.0]), 0.5).tolist() == [NONE, 0]
    assert assign(overlap, np.array([2.0, 1.0]), 0.5).tolist() == [0, 1]
    assert assign(overlap, np.array([2.0, 1.0]), 0.85).tolist() == [0, NONE]


def test_average_precision_by_hand():
    """Of three masks the first and the third source find one each; the second, between them, is wrong.

    Precision is 1, 1/2, 2/3 at recalls of 1/3, 1/3, 2/3. Of the 101 recalls, 34 (0 to 0.33) see precision 1, 33 more
    (0.34 to 0.66) see 2/3 and the rest none.
    """
    overlap = np.array([[0.72, 0, 0], [0, 0, 0.61], [0, 0.3, 0]])
    score = np.array([9.0, 8.0, 7.0])
    precision, recall = precision_recall(overlap, score, 0.5)
    assert precision == pytest.approx([1, 1 / 2, 2 / 3])
    assert recall == pytest.approx([1 / 3, 1 / 3, 2 / 3])
    both, first = (34 + 33 * 2 / 3) / 101, 34 / 101
    assert average_precision(overlap, score, 0.5) == pytest.approx(both)
    assert average_precision(overlap, score, 0.65) == pytest.approx(first)
    assert average_precision(overlap, score, 0.75) == 0
    # 0.5, 0.55 and 0.6 are reached by both, 0.65 and 0.7 by the first alone
    assert mean_average_precision(overlap, score) == pytest.approx((3 * both + 2 * first) / 10)


def test_true_masks_themselves_are_perfect_in_any_order_of_scores():
    labels = np.array([[1, 1, 0, 2, 2, 2, 0, 3, 0, 0]], np.int32)
    overlap = overlaps(pixels_of_masks([labels == label for label in (3, 1, 2)]), pixels_of_labels(labels))
    assert mean_average_precision(overlap, np.array([0.1, 5.0, 2.0])) == pytest.approx(1)
