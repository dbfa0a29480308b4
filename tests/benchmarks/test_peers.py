"""The comparisons with hats, lsdb and scikit-learn compare like with like; the peers' own environment is not needed."""

from __future__ import annotations

import sys

import hats
import numpy as np
import onnxruntime
import pytest
import torch
from peers import sides
from peers.models import as_mlp, largest_difference
from peers.raw_tables import files_of, write_tables
from peers.sides import Side, medians
from peers.small_tiles import all_cones, cones_of, tiles_of, under, write_catalogues
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skymill.config import SimulationSettings
from skymill.export.converters import CONVERTERS

ROWS = 100


@pytest.fixture(scope="module")
def cones():
    return cones_of(1, (15.0,))


@pytest.fixture(scope="module")
def catalogues(cones, tmp_path_factory):
    tiles = tiles_of(200)
    return write_catalogues(tmp_path_factory.mktemp("small"), tiles, under(tiles, all_cones(cones)), ROWS)


@pytest.mark.parametrize("n_tiles", [12, 100, 200_000])
def test_tiles_cover_the_sky_once(n_tiles):
    tiles = tiles_of(n_tiles)
    assert n_tiles <= len(tiles) < n_tiles + 3
    assert sum(1 / (12 << 2 * tile.order) for tile in tiles) == pytest.approx(1)


def test_cones_of_both_catalogues_hold_the_same_rows(catalogues, cones):
    ours, theirs = catalogues
    with (
        Side("ours", sys.executable, "skymill_reading.py", "--catalogue", ours) as own,
        Side("hats", sys.executable, "hats_reading.py", "--catalogue", theirs, "--by", "hats") as peer,
    ):
        assert own.ask(cone=None)["n"] == peer.ask(cone=None)["n"] == len(tiles_of(200))
        for cone in cones[15.0]:
            found, expected = own.ask(cone=cone), peer.ask(cone=cone)
            assert found["n"] > ROWS
            assert (found["n"], found["ids"]) == (expected["n"], expected["ids"])
            assert found["cpu_s"] > 0 and found["peak_MB"] > 10


def test_hats_finds_the_description_of_the_small_tiles_complete(catalogues):
    catalogue = hats.read_hats(catalogues[1])
    assert catalogue.catalog_info.total_rows == ROWS * len(tiles_of(200))
    assert "p_QSO" in catalogue.schema.names


def test_a_side_that_ends_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match=r"hats: ended with status 1"):
        Side("hats", sys.executable, "hats_reading.py", "--catalogue", tmp_path, "--by", "hats").ask(cone=None)


def test_the_exported_perceptron_is_that_of_scikit_learn():
    random = np.random.default_rng(1)
    rows = random.normal(20, 3, (500, 4)).astype(np.float32)
    perceptron = MLPClassifier((8, 8), max_iter=20, random_state=1)
    model = make_pipeline(StandardScaler(), perceptron).fit(rows, random.integers(0, 3, 500))
    arrays = {"imputation": np.zeros(4), "mean": model[0].mean_, "scale": model[0].scale_}
    for number, (weight, bias) in enumerate(zip(perceptron.coefs_, perceptron.intercepts_)):
        arrays |= {f"weight{number}": weight, f"bias{number}": bias}
    mlp = as_mlp({name: torch.from_numpy(np.asarray(array, np.float32)) for name, array in arrays.items()})
    session = onnxruntime.InferenceSession(CONVERTERS["mlp"](mlp).SerializeToString())
    (exported,) = session.run(["probabilities"], {"features": rows})
    assert largest_difference(exported, model.predict_proba(rows)) < 1e-5


def test_rows_that_we_do_not_score_are_left_out_of_the_comparison():
    ours = np.array([[0.25, 0.75], [np.nan, np.nan]], np.float32)
    assert largest_difference(ours, np.array([[0.5, 0.5], [0.0, 1.0]], np.float32)) == 0.25


def test_the_tables_hold_every_row_of_the_survey(tmp_path):
    settings = SimulationSettings(rows=20_000, area_deg2=1, bad_rows=0)
    n_rows = write_tables(tmp_path, settings, 1)
    assert n_rows == sum(cell.n_rows for cells in files_of(settings) for cell in cells)
    assert sides.bytes_below(tmp_path) > 100 * n_rows
    assert write_tables(tmp_path, settings, 1) == n_rows


def test_medians_are_of_numbers_alone():
    assert medians([{"wall_s": 1.0, "ids": "a"}, {"wall_s": 3.0, "ids": "a"}]) == {"wall_s": 2.0, "repeats": 2}
