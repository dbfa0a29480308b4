"""A sample of the survey: the same from whatever tiles, bounded, each source with the same chance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skies import write_catalogue

from skymill.sky import at_order, order29
from skymill.store import Catalogue, StoreError, Variable, open_catalogue, seal
from skymill.training.choosing import TrainingSetError
from skymill.training.survey_sample import draw_survey

FEATURES = [
    {"name": "g_minus_r", "group": "photometric", "indicator": False},
    {"name": "r_asinh_mag", "group": "photometric", "indicator": False},
]
OUTSIDE = 1 << 22


@dataclass(frozen=True)
class Table:
    """Rows of a whole sky, and variables of them."""

    healpix29: np.ndarray
    values: dict[str, Variable]

    def variables(self, rows: Any) -> dict[str, Variable]:
        return {name: Variable(one.data[rows], one.dims, one.attrs, one.columns) for name, one in self.values.items()}


def make(root: Path, n: int, *, order: int = 1, chunk_rows: int = 512, lost: int = 0) -> tuple[Catalogue, Catalogue]:
    """Seal a catalogue of features and one of a model; the faint third of the sky's sources is outside."""
    random = np.random.default_rng(5)
    healpix29 = np.sort(order29(random.uniform(0, 360, n), np.degrees(np.arcsin(random.uniform(-1, 1, n)))))
    magnitude = random.uniform(18, 24, n).astype("f4")
    colour = (magnitude - 20).astype("f4")
    magnitude[: n // 10] = colour[: n // 10] = np.nan
    rows = {
        "objectId": Variable(random.permutation(n).astype(np.int64)),
        "_healpix_29": Variable(healpix29),
        "coord_ra": Variable(np.zeros(n)),
        "coord_dec": Variable(np.zeros(n)),
    }
    matrix = np.column_stack([magnitude, colour])
    features = Variable(matrix, ("source", "feature"), columns=("r_asinh_mag", "g_minus_r"))
    flags = {"flag_masks": [1, OUTSIDE], "flag_meanings": "ra_wrapped outside_training"}
    raised = np.where(magnitude > 22, OUTSIDE, 0).astype(np.int32) | (np.arange(n) % 2).astype(np.int32)
    tables = {
        "features": Table(healpix29, {**rows, "flags": Variable(np.zeros(n, np.int32)), "features": features}),
        "forest": Table(healpix29[: n - lost], {**rows, "flags": Variable(raised, attrs=flags)}),
    }
    if lost:
        tables["forest"] = Table(healpix29[: n - lost], tables["forest"].variables(slice(0, n - lost)))
    for name, table in tables.items():
        seal(root / name, [write_catalogue(root / name, table, order=order, chunk_rows=chunk_rows)])
    return open_catalogue(root / "features"), open_catalogue(root / "forest")


def draw(catalogues: tuple[Catalogue, Catalogue], **bounds: int) -> Any:
    features, scored = catalogues
    return draw_survey(features, FEATURES, magnitude="r_asinh_mag", scored=scored, flag="outside_training", **bounds)


def test_a_small_survey_is_taken_whole_in_the_order_of_the_sky(tmp_path: Path):
    sample = draw(make(tmp_path, 3000))
    assert (len(sample), sample.n_drawn) == (2700, 3000)
    assert (np.diff(sample.healpix29) >= 0).all()
    assert len(set(sample.object_id.tolist())) == 2700
    assert np.allclose(sample.features[:, 1], sample.magnitude) and np.allclose(
        sample.features[:, 0], sample.magnitude - 20, atol=1e-5
    )
    assert np.array_equal(sample.outside, sample.magnitude > 22)


def test_the_same_sources_are_drawn_again_and_no_more_than_asked_for(tmp_path: Path):
    made = make(tmp_path, 20_000)
    once, again = (draw(made, most_rows=2000, most_chunks=50) for _ in range(2))
    assert once.n_drawn <= 2000 and once.n_drawn > 1900
    assert np.array_equal(once.object_id, again.object_id)


def test_each_part_of_the_sky_is_drawn_by_its_sources(tmp_path: Path):
    """Over the twelve base pixels, counts are those of the survey to what the even steps leave."""
    made = make(tmp_path, 20_000)
    sample = draw(made, most_rows=6000, most_chunks=600)
    share = np.bincount(at_order(sample.healpix29, 0), minlength=12) / len(sample)
    everything = draw(made)
    expected = np.bincount(at_order(everything.healpix29, 0), minlength=12) / len(everything)
    assert np.abs(share - expected).max() < 0.01
    assert abs(sample.outside.mean() - everything.outside.mean()) < 3 * np.sqrt(0.25 / 6000)


def test_no_more_chunks_are_read_than_allowed(tmp_path: Path):
    """Of some 80 chunks in all, four are read: what is drawn lies in no more places."""
    made = make(tmp_path, 40_000, order=0)
    sample = draw(made, most_rows=400, most_chunks=4)
    everything = draw(made).object_id.tolist()
    places = np.sort([everything.index(one) for one in sample.object_id.tolist()])
    assert (np.diff(places) > 600).sum() <= 3
    assert sample.n_drawn == 400


def test_tiles_that_the_model_lacks_are_left_out(tmp_path: Path):
    """The last base pixel has no tile in the model's catalogue."""
    features, _ = make(tmp_path, 3000, order=0)
    whole = draw((features, open_catalogue(tmp_path / "forest")))
    kept = int((at_order(whole.healpix29, 0) < 11).sum())
    lost = int((at_order(np.sort(whole.healpix29), 0) == 11).sum())
    sample = draw(make(tmp_path / "other", 3000, order=0, lost=lost))
    assert len(sample) == kept


def test_catalogues_of_other_sources_are_refused(tmp_path: Path):
    features, _ = make(tmp_path, 2000, order=0)
    _, forest = make(tmp_path / "other", 2100, order=0)
    with pytest.raises(StoreError, match="expected the sources of the same tile"):
        draw((features, forest))


def test_a_survey_of_which_nothing_is_measured_is_refused(tmp_path: Path):
    features, _ = make(tmp_path, 500)
    unknown = [{"name": "x_asinh_mag", "group": "photometric", "indicator": False}]
    with pytest.raises(TrainingSetError, match="nothing is measured that the model could judge a source by"):
        draw_survey(features, unknown, magnitude="r_asinh_mag")


def test_without_a_model_the_same_sources_are_drawn(tmp_path: Path):
    features, forest = make(tmp_path, 2000)
    alone = draw_survey(features, FEATURES, magnitude="r_asinh_mag", most_rows=500)
    assert np.array_equal(alone.object_id, draw((features, forest), most_rows=500).object_id)
    assert not alone.outside.any()
