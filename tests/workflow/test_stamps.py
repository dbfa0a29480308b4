"""The real workflow with models of stamps: one from elsewhere, and three that are fitted here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import image_files
import numpy as np
import pyarrow.parquet as pq
import pytest
import xarray as xr
import yaml
from scipy.spatial import cKDTree
from snakemake_run import run
from stamp_models import CLASSES, SIZE, write_stamp_model
from survey_files import edit_yaml, write_yaml

import skymill.store as store
from skymill.cli.chain import Chain
from skymill.cli.operating.jobs import Workflow
from skymill.cli.operating.status import read_status
from skymill.cli.workbench.new_model import write_model
from skymill.config import read_yaml
from skymill.release.explaining import explain_source

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SIDE = 12
"""Of the stamps that the network is fitted on, px."""
QUESTION = {"large": {"yes": "yes", "no": "no"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with all of them."""
    folder = tmp_path_factory.mktemp("stamps")
    image_files.write_images(folder)
    write_votes(folder)
    write_stamp_model(folder / "colour.onnx")
    write_yaml(folder / "colour.yaml", {"name": "colour", "kind": "onnx", "path": "colour.onnx"})
    stamps = {"size_px": SIDE, "pixel_scale_arcsec": image_files.SCALE_ARCSEC}
    settings = {"width": 16, "stages": 2, "depth": 1, "epochs": 40, "batch_size": 32, "band_dropout": 0.0}
    started = {**settings, "start": "alike"}
    write_yaml(folder / "cnn.yaml", {"name": "cnn", "kind": "cnn", "stamps": stamps, "settings": started})
    alike = {"vector": 16, "blur_px": 0.2, "noise": 0.1, **settings, "epochs": 15}
    write_yaml(folder / "alike.yaml", {"name": "alike", "kind": "contrastive", "stamps": stamps, "settings": alike})
    write_model("mine", folder, stamps=True)
    own = {"width": 8, "members": 2, "epochs": 20, "batch_size": 32}
    edit_yaml(folder / "mine.yaml", code="mine.py", stamps=stamps, settings=own)
    split = {"order": 13, "guard_arcsec": SIDE * image_files.SCALE_ARCSEC}
    models = ["colour.yaml", "cnn.yaml", "alike.yaml", "mine.yaml"]
    labels = image_files.configuration()["config"]["labels"] | {"votes": QUESTION}
    edit_yaml(folder / "config.yaml", models=models, split=split, labels=labels)
    assert run(folder).jobs["inference_run"] == 4
    return folder


def write_votes(folder: Path) -> None:
    """Let twenty volunteers say of each galaxy whether it is large; of a star nobody is asked."""
    table = pq.read_table(folder / "truth.parquet")
    truth, random = image_files.sources(), np.random.default_rng(4)
    large = truth["width"] > np.median(truth["width"][~truth["star"]])
    yes = np.where(truth["star"], 0, random.binomial(20, np.where(large, 0.9, 0.2)))
    no = np.where(truth["star"], 0, 20 - yes)
    pq.write_table(table.append_column("yes", [yes]).append_column("no", [no]), folder / "truth.parquet")


def rows_of(folder: Path, name: str) -> xr.Dataset:
    """A catalogue's rows."""
    return store.open_catalogue(folder / "results" / "catalogues" / name).to_xarray().compute()


def document(folder: Path, name: str) -> dict[str, Any]:
    """A file of the run."""
    content: dict[str, Any] = json.loads((folder / "results" / name).read_text())
    return content


def test_every_source_is_looked_at(folder: Path) -> None:
    sources = rows_of(folder, "sources")
    for name in ("colour", "cnn", "alike", "mine"):
        rows = rows_of(folder, name)
        np.testing.assert_array_equal(rows["objectId"], sources["objectId"])
        assert (rows["class"] >= 0).all()
        assert rows["coverage_frac"].max() == 1
    assert rows_of(folder, "colour")["coverage_frac"].min() < 1  # its stamps are large enough to leave an image


def test_sources_that_look_alike_have_vectors_that_lie_near(folder: Path) -> None:
    catalogue, truth = store.open_catalogue(folder / "results" / "catalogues" / "alike"), image_files.sources()
    rows = catalogue.to_xarray().compute()
    np.testing.assert_allclose(np.linalg.norm(rows["embedding"].astype(float), axis=1), 1, atol=2e-3)
    places = (np.column_stack(pair) for pair in ((truth["ra"], truth["dec"]), (rows["coord_ra"], rows["coord_dec"])))
    star = truth["star"][cKDTree(next(places)).query(next(places))[1]]
    ids, same = rows["objectId"].to_numpy(), []
    is_star = dict(zip(ids.tolist(), star.tolist()))
    for row in range(0, len(ids), 10):
        found = catalogue.nearest(rows["embedding"].to_numpy()[row], 6, ["objectId"])["objectId"].to_numpy()
        assert found[0] == ids[row]
        same += [is_star[other] == is_star[found[0]] for other in found[1:].tolist()]
    assert np.mean(same) > 0.75


def test_members_that_disagree_say_so(folder: Path) -> None:
    rows = rows_of(folder, "mine")
    disagreement = rows["disagreement"].to_numpy()
    assert ((disagreement >= 0) & (disagreement <= np.log(2) + 1e-6)).all() and disagreement.max() > 1e-4
    assert "disagreement" not in rows_of(folder, "cnn")


@pytest.mark.parametrize("name", ["cnn", "mine"])
def test_votes_are_told_beside_the_classes(folder: Path, name: str) -> None:
    rows = rows_of(folder, name)
    yes, no = (rows[f"large_{answer}_fraction"].to_numpy() for answer in ("yes", "no"))
    np.testing.assert_allclose(yes + no, 1, atol=1e-5)
    assert ((rows["large_yes_fraction_err"] > 0) & (rows["large_yes_fraction_err"] < 0.5)).all()
    assert (rows["large_concentration"] > 0).all()
    assert document(folder, f"models/{name}/parity.json")["max_fraction_difference"] < 1e-4
    [fit] = (folder / "results" / "training" / name).glob("*/metrics.json")
    told = json.loads(fit.read_text())["votes"]["large"]
    assert told["votes"] == 20 * told["n"] > 0
    assert "Votes of volunteers" in (folder / "results" / "report" / f"model-{name}.html").read_text()
    assert "Votes of volunteers" in (fit.parent / "card.md").read_text()


def test_votes_are_those_that_galaxies_of_a_size_get(folder: Path) -> None:
    rows, truth = rows_of(folder, "cnn"), image_files.sources()
    places = (np.column_stack(pair) for pair in ((truth["ra"], truth["dec"]), (rows["coord_ra"], rows["coord_dec"])))
    near = cKDTree(next(places)).query(next(places))[1]
    galaxy, width = ~truth["star"][near], truth["width"][near]
    large, yes = width > np.median(truth["width"][~truth["star"]]), rows["large_yes_fraction"].to_numpy()
    assert yes[galaxy & large].mean() > yes[galaxy & ~large].mean() + 0.2


@pytest.mark.parametrize("name", ["cnn", "mine"])
def test_a_network_tells_stars_from_galaxies(folder: Path, name: str) -> None:
    rows, truth = rows_of(folder, name), image_files.sources()
    places = (np.column_stack(pair) for pair in ((truth["ra"], truth["dec"]), (rows["coord_ra"], rows["coord_dec"])))
    near = cKDTree(next(places)).query(next(places))[1]
    star, galaxy = (image_files.CLASSES.index(name) for name in ("STAR", "GALAXY"))
    assert np.mean(rows["class"].to_numpy() == np.where(truth["star"][near], star, galaxy)) > 0.9


def test_its_file_is_held_against_the_fitted_network_on_real_changed_and_hard_stamps(folder: Path) -> None:
    parity = document(folder, "models/cnn/parity.json")
    assert parity["rows"] >= 10_000
    assert parity["max_probability_difference"] < 1e-4
    assert {"held out", "changed", "no weight", "huge"} <= set(parity["rows_by_origin"])


@pytest.mark.parametrize("name", ["cnn", "mine"])
def test_integers_are_tried_for_kinds_of_one_s_own_too(folder: Path, name: str) -> None:
    told = document(folder, f"models/{name}/precision.json")
    [bill] = told["bills"]
    assert bill["precision"] == "int8" and told["taken"] in ("int8", "fp32")
    assert bill["real"]["mean_fraction_difference"] < 0.05
    assert document(folder, f"models/{name}/manifest.json")["schema"].get("precision", "fp32") == told["taken"]


def test_nothing_is_left_to_do_and_the_status_agrees(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(folder, "-n").jobs == {}
    monkeypatch.chdir(folder)
    assert read_status(Workflow(Chain.from_config(read_yaml("config.yaml"), ["config.yaml"]))).is_done


def test_a_network_that_starts_from_another_is_fitted_after_it_and_again_with_it(folder: Path) -> None:
    [fit] = (folder / "results" / "training" / "cnn").glob("*/manifest.json")
    [start] = (folder / "results" / "training" / "alike").glob("*/manifest.json")
    assert json.loads(fit.read_text())["members"] == [start.parent.name]
    content = yaml.safe_load((folder / "alike.yaml").read_text())
    edit_yaml(folder / "alike.yaml", settings={**content["settings"], "epochs": 16})
    assert run(folder, "-n").jobs["training_fit"] == 2
    edit_yaml(folder / "alike.yaml", settings=content["settings"])
    assert run(folder, "-n").jobs == {}


def test_a_source_is_explained_and_the_receipt_names_the_images(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    source = int(rows_of(folder, "colour")["objectId"][0])
    told = explain_source(Path("results"), source, models=["colour"])["models"]["colour"]
    assert told["answer"]["class"] in CLASSES
    assert told["recomputed"] is None and "looks at pixels" in told["note"]
    receipt = json.loads(next((folder / "results/receipts/catalogues/colour/groups").glob("*/*.json")).read_text())
    assert receipt["explains"]["settings"]["images"]["layout"] == "fits"
    assert sum("tiling/images/" in path for path in receipt["inputs"]) == 1
    assert document(folder, "models/colour/manifest.json")["schema"]["stamps"]["size_px"] == SIZE
