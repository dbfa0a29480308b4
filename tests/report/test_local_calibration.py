"""Calibration in parts: the error of `training.metrics`, told from chance, and no row left out unseen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from skymill.report import local_calibration
from skymill.report.gather import Attributions, TestSet
from skymill.report.local_calibration import (
    Part,
    Partition,
    bins_of,
    calibration_of,
    judged,
    partitions_of,
    regions_of,
    resampled_errors,
)
from skymill.report.properties import Property
from skymill.sky import PixelMap, at_order, order29
from skymill.training.metrics import with_intervals

CLASSES = ["A", "B", "C"]


def drawn(n, *, seed=0, sharper=None):
    """A test set whose labels follow its probabilities, but where `sharper` is set: there it says too much."""
    rng = np.random.default_rng(seed)
    true = rng.dirichlet([0.35] * 3, n)
    label = (rng.random((n, 1)) > true.cumsum(axis=1)).sum(axis=1)
    ra, dec = rng.uniform(10, 40, n), rng.uniform(-15, 15, n)
    healpix29 = order29(ra, dec)
    said = true.copy()
    if sharper is not None:
        rows = sharper(healpix29)
        said[rows] = true[rows] ** 3 / (true[rows] ** 3).sum(axis=1, keepdims=True)
    ids, block = np.arange(n), at_order(healpix29, 5)
    nothing = Attributions([], np.empty((0, 0)), np.empty((0, 0, 3)))
    what = {"model": "mlp", "kind": "mlp", "n_features": 3, "classes": ["A", "B", "C"], "fit": "fit", "metrics": {}}
    where = {"object_id": ids, "healpix29": healpix29, "block": block, "set_path": Path("none")}
    rows = {"label": label, "magnitude": rng.uniform(18, 25, n), "probabilities": said}
    return TestSet(**what, **where, **rows, importance={}, attributions=nothing)


def a_part(name, p):
    return Part(name, 100, 5, 0.9, 0.8, 0.1, 0.05, 0.15, 0.03, 0.06, p)


def test_error_and_interval_are_those_of_the_metrics():
    test = drawn(4000)
    part = calibration_of("all", test.probabilities, test.label, test.block, seed=3)
    known = with_intervals(test.probabilities, test.label, test.block, classes=CLASSES, seed=3)
    assert part.ece == pytest.approx(known["ece"]["value"], abs=1e-12)
    assert part.chance == pytest.approx(known["ece_if_calibrated"]["value"], rel=0.03)
    assert part.chance_high == pytest.approx(known["ece_if_calibrated"]["high"], rel=0.05)
    assert part.low == known["ece"]["low"] == 0
    assert part.high == pytest.approx(known["ece"]["high"], rel=0.12)
    assert part.right == pytest.approx(known["accuracy"]["value"])


def test_interval_of_a_miscalibrated_set_is_that_of_the_metrics():
    test = drawn(4000, sharper=lambda place: np.full(len(place), True))
    part = calibration_of("all", test.probabilities, test.label, test.block, seed=3)
    known = with_intervals(test.probabilities, test.label, test.block, classes=CLASSES, seed=3)["ece"]
    assert part.low == pytest.approx(known["low"], rel=0.05) and part.low > 0
    assert part.high == pytest.approx(known["high"], rel=0.05)


def test_a_few_blocks_give_no_interval():
    test = drawn(400)
    assert len(resampled_errors(test.probabilities.max(axis=1), test.label == 0, test.label % 4, seed=1)) == 0
    part = calibration_of("all", test.probabilities, test.label, test.label % 4, seed=1)
    assert np.isnan(part.low) and np.isnan(part.high) and part.ece > 0


def test_the_region_that_says_too_much_is_named_and_no_other():
    regions, _ = regions_of(drawn(6000).healpix29)
    worst = int(np.bincount(regions).argmax())
    pixel = np.unique(at_order(drawn(6000).healpix29[regions == worst], 3))
    test = drawn(6000, sharper=lambda place: np.isin(at_order(place, 3), pixel))
    partition = partitions_of(test, [], seed=9)[0]
    assert [part.wrong for part in partition.parts] == [place == worst for place in range(len(partition.parts))]
    named = partition.parts[worst]
    assert named.said > named.right + 0.02
    assert partition.told.startswith(
        f"Significantly miscalibrated in 1 of the {len(partition.parts)} parts: {named.name} ("
    )


def test_right_probabilities_are_seldom_called_wrong(monkeypatch):
    monkeypatch.setattr(local_calibration, "MOST_DRAWS", 1000)
    wrong = [
        any(part.wrong for part in partitions_of(drawn(1200, seed=seed), [], seed=1)[0].parts) for seed in range(100)
    ]
    assert 0 <= sum(wrong) <= 11  # 5 % wanted; 11 or more of 100 has a chance of 1 %


def test_all_rows_are_in_one_region_or_another(monkeypatch):
    monkeypatch.setattr(local_calibration, "FEWEST_ROWS", 60)
    test = drawn(1000)
    number, names = regions_of(test.healpix29)
    assert number.min() == 0 and number.max() == len(names) - 1 and len(number) == 1000
    order = next(k for k in (3, 2, 1, 0) if len(np.unique(at_order(test.healpix29, k))) <= 12)
    pixels = at_order(test.healpix29, order)
    assert len(np.unique(pixels)) > len(names)
    for place in range(len(names) - 1):
        (pixel,) = np.unique(pixels[number == place])
        assert (pixels == pixel).sum() == (number == place).sum() >= 60
    few = np.unique(pixels[number == len(names) - 1])
    assert names[-1] == f"{len(few)} regions of few sources"
    assert all((pixels == pixel).sum() < 60 for pixel in few)


def test_a_region_is_called_by_where_its_rows_are(monkeypatch):
    monkeypatch.setattr(local_calibration, "FINEST_REGIONS", 0)
    ra, dec = np.full(200, 359.8), np.full(200, -7.0)
    ra[::2] = 0.3
    assert regions_of(order29(ra, dec))[1] == ["RA 0°, Dec -7°"]


def test_bins_hold_equal_counts_and_unknown_values_none():
    values = np.concatenate([np.arange(1000.0), np.full(7, np.nan)])
    number, names = bins_of(np.random.default_rng(0).permutation(values), 0)
    assert np.bincount(number[number >= 0]).tolist() == [250] * 4
    assert (number < 0).sum() == 7
    assert names == ["0 – 250", "250 – 500", "500 – 749", "749 – 999"]
    assert bins_of(np.full(5, np.nan), 0)[1] == []


def test_holm_steps_down_until_one_is_not_significant():
    p = [0.02, 0.001, 0.9, 0.014]  # limits in order: 0.0125, 0.0167, 0.025, 0.05
    assert [part.wrong for part in judged([a_part(str(each), each) for each in p])] == [True, True, False, True]
    p = [0.02, 0.013, 0.9, 0.9]
    assert not any(part.wrong for part in judged([a_part(str(each), each) for each in p]))


def test_depth_divides_the_sources_inside_its_map():
    test = drawn(3000)
    pixels = np.unique(at_order(test.healpix29, 4))
    depth = PixelMap(4, pixels[::2], np.linspace(25, 26, len(pixels[::2])), np.ones(len(pixels[::2])))
    sky, by_depth = partitions_of(test, [Property("depth_i", "mag", "a file", depth, True)], seed=1)
    inside = np.isfinite(depth.at(test.healpix29))
    assert sum(part.n for part in sky.parts) == 3000 and sky.left_out == 0
    assert sum(part.n for part in by_depth.parts) == inside.sum() and by_depth.left_out == (~inside).sum() > 0
    assert by_depth.title == "5σ point-source depth in i (mag)"


def test_a_map_of_one_value_divides_nothing():
    test = drawn(500)
    flat = PixelMap(0, np.arange(12), np.full(12, 25.0), np.ones(12))
    assert len(partitions_of(test, [Property("depth_i", "mag", "a file", flat, True)], seed=1)) == 1


def test_the_finding_is_said_in_words():
    parts = judged([a_part("north", 0.001), a_part("south", 0.5)])
    assert Partition("region", "Region", parts, 0).told == (
        "Significantly miscalibrated in 1 of the 2 parts: north (ECE 0.100; says 90.0 %, is right 80.0 %)."
    )
    assert Partition("region", "Region", [a_part("south", 0.5)], 0).told.startswith("In none of the 1 parts")
