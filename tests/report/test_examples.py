"""The sources to look at are the ones they are said to be, with their own magnitudes."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from skymill.report.examples import EACH, HEIGHT, TOP, choose, examples_of, lay_out
from skymill.report.gather import read_run

CLASSES = ["GALAXY", "QSO", "STAR"]
BANDS = list("ugrizy")


@pytest.fixture(scope="module")
def test_set(made):
    return read_run(made.output, made.models).models[1].test


@pytest.fixture(scope="module")
def examples(test_set):
    return {(each.name, each.kind): each for each in examples_of(test_set, CLASSES, BANDS)}


def test_each_kind_is_chosen_as_said(test_set):
    p, label = test_set.probabilities, test_set.label
    entropy = np.array([-sum(x * np.log(x) for x in row if x > 0) for row in p])
    for number in range(3):
        typical, doubtful, wrong = choose(test_set, number)
        own = label == number
        found = own & (p.argmax(axis=1) == number)
        away = np.abs(p[:, number] - (np.median(p[found, number]) if found.any() else 0))
        assert found[typical].all() and len(typical) == min(EACH, found.sum())
        assert away[typical].max(initial=0) <= np.delete(away, typical)[np.delete(found, typical)].min(initial=1)
        assert own[doubtful].all()
        assert entropy[doubtful].min() >= np.delete(entropy, doubtful)[np.delete(own, doubtful)].max() - 1e-12
        missed = own & ~found
        assert missed[wrong].all() and len(wrong) == min(EACH, missed.sum())
        surest = np.sort(p[missed].max(axis=1))[::-1][:EACH]
        assert p[wrong].max(axis=1).tolist() == surest.tolist()


def test_a_source_stands_there_with_its_own_values(made, test_set, examples):
    table = pq.read_table(test_set.set_path).to_pandas().set_index("objectId")
    (path,) = made.output.glob("training/mlp/*/predictions.parquet")
    predictions = pq.read_table(path).to_pandas().set_index("objectId")
    shown = [source for each in examples.values() for source in each.sources]
    assert len(shown) > 20 and max(int(source.object_id) for source in shown) > 2**53
    for source in shown:
        row = table.loc[int(source.object_id)]
        assert row["split"] == "test"
        assert (source.ra, source.dec) == (row["coord_ra"], row["coord_dec"])
        measured = {band: row[f"{band}_asinh_mag"] for band in BANDS if np.isfinite(row[f"{band}_asinh_mag"])}
        assert {point[0]: point[4] for point in source.plot.points} == pytest.approx(measured)
        given = {name: predictions.loc[int(source.object_id)][f"p_{name}"] for name in CLASSES}
        assert dict(source.probabilities) == pytest.approx(given)
        assert source.predicted == max(source.probabilities, key=lambda pair: pair[1])[0]


def test_the_wrong_are_wrong_and_the_typical_right(examples):
    for (name, kind), each in examples.items():
        given = {source.predicted for source in each.sources}
        assert given == {name} if kind == "typical" else kind != "most confidently wrong" or name not in given


def test_magnitudes_are_placed_bright_end_up_with_errors_to_scale():
    magnitude, error = np.array([24.0, 22.0, 20.0]), np.array([0.5, np.nan, 0.1])
    plot = lay_out(magnitude, error, np.zeros(3), list("gri"))
    y = {band: place for band, _, place, _, _ in plot.points}
    assert y["i"] < y["r"] < y["g"]
    scale = (y["g"] - y["i"]) / 4.0
    assert [half for _, _, _, half, _ in plot.points] == pytest.approx([0.5 * scale, 0, 0.1 * scale])
    assert plot.brightest + (y["r"] - TOP) / scale == pytest.approx(22.0)
    assert (plot.brightest, plot.faintest) == pytest.approx((19.9, 24.5))
    assert [place for _, place in plot.usual] == pytest.approx([y["r"]] * 3)
    assert min(y.values()) > 0 and max(y.values()) < HEIGHT


def test_a_band_that_is_missing_has_no_point():
    plot = lay_out(np.array([np.nan, 22.0]), np.array([np.nan, 0.1]), np.array([0.5, -0.5]), list("gr"))
    assert [point[0] for point in plot.points] == ["r"] and len(plot.usual) == 2
    nothing = lay_out(np.full(2, np.nan), np.full(2, np.nan), np.zeros(2), list("gr"))
    assert nothing.points == []


def test_a_set_without_magnitudes_has_no_examples(test_set):
    assert examples_of(test_set, CLASSES, ["w1", "w2"]) == []
