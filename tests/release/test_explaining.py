"""What is said of a source and of a tile, against plain readings of the same files."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
import xarray as xr
import yaml
import zarr
from published_run import (
    CLASSES,
    IMPUTED,
    INPUTS,
    NO_POSITION,
    SECONDARY,
    THRESHOLDS,
    TWICE,
    WEIGHTS,
    N,
    PublishedRun,
    softmax,
    survey_config,
    table,
)
from typer.testing import CliRunner

from skymill.cli.main import app
from skymill.release import ReleaseError
from skymill.release.explaining import UnknownSourceError, explain_source, explain_tile, parse_id
from skymill.store import CorruptTile, digest

TEMPERATURE = {"DR1": 2.0, "DR2": 0.5, "DR3": 0.5}


def explain(run: PublishedRun, object_id: int, **options) -> dict:
    return explain_source(run.output, object_id, models=["m"], tables=run.tables, **options)


def plain(run: PublishedRun, catalogue: str, object_id: int, release: str) -> tuple[Path, xr.Dataset]:
    """Find a source with xarray in the tiles of a release; give its tile's file and its row."""
    for path in sorted((run.output / "releases" / release / "catalogues" / catalogue).rglob("*.zarr.zip")):
        with zarr.storage.ZipStore(path, mode="r") as store:
            tile = xr.open_zarr(store, chunks=None).load()
        rows = np.flatnonzero(tile["objectId"].to_numpy() == object_id)
        if len(rows):
            return path, tile.isel(source=rows[0])
    raise AssertionError(f"{object_id} is not in {catalogue}")


def some_ids(n: int) -> list[int]:
    """Ids of sources, among them some without a flux."""
    return table()["id"].to_pylist()[: n * 17 : 17]


@pytest.mark.parametrize("release", ["DR1", "DR2"])
def test_what_is_said_is_what_the_files_hold(published, release):
    for object_id in some_ids(6):
        told = explain(published, object_id, release=release)
        path, row = plain(published, "m", object_id, release)
        model, answer = told["models"]["m"], told["models"]["m"]["answer"]
        assert told["objectId"] == str(object_id) and told["put_aside"] == []
        assert (told["place"]["ra"], told["place"]["dec"]) == (float(row["coord_ra"]), float(row["coord_dec"]))
        assert model["file"] == str(path.resolve()) and path.resolve().stem.startswith(model["key"][:12])
        np.testing.assert_array_equal(list(answer["probabilities"].values()), row["probabilities"])
        assert answer["class"] == (None if row["class"] == -1 else CLASSES[int(row["class"])])
        flags = {
            name
            for name, mask in zip(row["flags"].attrs["flag_meanings"].split(), row["flags"].attrs["flag_masks"])
            if int(row["flags"]) & mask
        }
        assert set(answer["flags"]) == flags and all(answer["flags"].values())
        inside = [name for name, limit, p in zip(CLASSES, THRESHOLDS, row["probabilities"]) if p >= np.float32(limit)]
        assert answer["conformal_set"] == inside
        _, features = plain(published, "features", object_id, release)
        values = dict(zip(features["feature"].to_numpy().tolist(), features["features"].to_numpy().tolist()))
        assert [one["name"] for one in told["features"]["values"]] == list(values)
        np.testing.assert_array_equal([one["value"] for one in told["features"]["values"]], list(values.values()))
        assert {one["name"]: one["unit"] for one in told["features"]["values"]}["g_asinh_mag"] == "mag"


@pytest.mark.parametrize("release", ["DR1", "DR2"])
def test_both_sides_of_the_calibration_are_those_of_the_formula_and_of_onnx_runtime(published, release):
    n_scored = 0
    for object_id in some_ids(8):
        model = explain(published, object_id, release=release)["models"]["m"]
        _, row = plain(published, "features", object_id, release)
        x = row["features"].sel(feature=list(INPUTS)).to_numpy()
        if not np.isfinite(x).any():
            assert model["recomputed"]["uncalibrated"] is None and "unscorable" in model["answer"]["flags"]
            continue
        n_scored += 1
        raw = softmax(np.where(np.isfinite(x), x, IMPUTED).astype(np.float64) @ WEIGHTS)
        told = model["recomputed"]
        np.testing.assert_allclose(list(told["uncalibrated"].values()), raw, atol=2e-6)
        np.testing.assert_allclose(
            list(told["probabilities"].values()), softmax(np.log(raw) / TEMPERATURE[release]), atol=2e-6
        )
        file = published.output / "releases" / release / "models" / "m" / f"{model['onnx'][:12]}.onnx"
        assert hashlib.sha256(file.read_bytes()).hexdigest() == model["onnx"]
        [independent] = onnxruntime.InferenceSession(file).run(["probabilities"], {"features": x[None]})
        stored = list(model["answer"]["probabilities"].values())
        assert abs(np.abs(independent[0] - np.array(stored)).max() - told["difference"]) < 1e-6
        assert told["difference"] < 1e-6
    assert n_scored > 3


def test_the_file_that_a_source_came_from_is_named_with_its_digest(published):
    for path in sorted(Path(published.survey.path).iterdir()):
        ids = pq.read_table(path)["id"].to_pylist()
        for object_id in (ids[0], ids[200]):
            [part] = explain(published, object_id)["origin"]["parts"]
            assert (part["file"], part["sha256"]) == (path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def test_the_releases_are_told_in_order_and_the_last_that_changed_it_is_named(published):
    object_id = some_ids(2)[1]
    model = explain(published, object_id)["models"]["m"]
    states = [(step["release"], step["state"], step["changed"]) for step in model["releases"]]
    assert states == [("DR1", "read", True), ("DR2", "read", True), ("DR3", "same tile", False)]
    assert model["changed_last_by"] == "DR2"
    for step in model["releases"]:
        _, row = plain(published, "m", object_id, step["release"])
        np.testing.assert_array_equal(list(step["probabilities"].values()), row["probabilities"])
        assert step["kind"] == CLASSES[int(row["class"])]


def test_a_source_that_was_never_scored_is_changed_by_its_first_release_alone(published):
    object_id = some_ids(1)[0]
    model = explain(published, object_id)["models"]["m"]
    assert model["answer"]["class"] is None and all(map(math.isnan, model["answer"]["probabilities"].values()))
    assert model["recomputed"]["difference"] == 0
    assert [step["changed"] for step in model["releases"]] == [True, False, False]
    assert model["changed_last_by"] == "DR1"


def test_a_release_that_is_gone_or_lacks_the_catalogue_is_said_to(published, tmp_path):
    run = tmp_path / "results"
    shutil.copytree(published.output, run, symlinks=True)
    shutil.rmtree(run / "releases" / "DR1")
    (run / "releases" / "DR2" / "catalogues" / "m").unlink()
    steps = explain_source(run, some_ids(2)[1], models=["m"])["models"]["m"]["releases"]
    assert [step["state"] for step in steps] == ["gone", "no such catalogue", "read"] and steps[2]["changed"]


def test_a_circle_finds_the_same_and_nothing_outside(published):
    object_id = some_ids(3)[2]
    everywhere = explain(published, object_id)
    ra, dec = everywhere["place"]["ra"], everywhere["place"]["dec"]
    assert explain(published, object_id, near=(ra, dec, 1e-3))["place"] == everywhere["place"]
    with pytest.raises(UnknownSourceError, match=r"within 3\.6 arcsec of .*without --near all \d+ rows are searched"):
        explain(published, object_id, near=(ra, dec - 1, 1e-3))


def test_rows_that_were_put_aside_are_told_with_place_and_reason(published):
    reasons = {
        NO_POSITION: ["position_missing"],
        TWICE: ["conflicting_id", "conflicting_id"],
        SECONDARY: ["not_primary"],
    }
    for object_id, expected in reasons.items():
        told = explain(published, object_id)
        assert [row["reason"] for row in told["put_aside"]] == expected and "place" not in told
        assert all(row["meaning"] for row in told["put_aside"])
    [row] = explain(published, NO_POSITION)["put_aside"]
    assert row["part"].startswith("part 2.parquet[") and row["row"] == len(pq.read_table(part(published, 2))) - 4
    assert {row["coord_ra"] for row in explain(published, TWICE)["put_aside"]} == {10.0, 70.0}


def part(run: PublishedRun, number: int) -> Path:
    return Path(run.survey.path) / f"part {number}.parquet"


def test_an_unknown_source_is_told_with_the_rows_that_were_searched(published):
    with pytest.raises(UnknownSourceError, match=rf"source 5: not found among the {N} rows of sources version"):
        explain(published, 5)
    with pytest.raises(ReleaseError, match="release 'DR9': not found"):
        explain(published, 5, release="DR9")


@pytest.mark.parametrize("text", ["star", "1.5", "", str(2**63), "0x10"])
def test_what_is_no_id_is_refused(text):
    with pytest.raises(ValueError, match="expected"):
        parse_id(text)


def test_an_onnx_file_that_is_gone_is_said_to_be(published, tmp_path):
    run = tmp_path / "results"
    shutil.copytree(published.output, run, symlinks=True)
    for path in (run / "models" / "m").glob("*.onnx"):
        path.unlink()
    model = explain_source(run, some_ids(2)[1], models=["m"])["models"]["m"]
    assert model["recomputed"] is None and "cannot be computed again" in model["note"] and model["answer"]["class"]


@pytest.mark.parametrize("catalogue", ["sources", "features", "m"])
def test_a_lone_tile_tells_what_it_was_made_from(published, tmp_path, catalogue):
    [path, *_] = sorted((published.output / "releases" / "DR2" / "catalogues" / catalogue).rglob("*.zarr.zip"))
    lone = shutil.copy(path, tmp_path / "lone.zarr.zip")
    with zarr.storage.ZipStore(lone, mode="r") as store:
        attrs = dict(zarr.open_group(store, mode="r").attrs)
        assert xr.open_zarr(store, chunks=None).attrs["receipt"] == attrs["receipt"]
    digests, made_of = attrs["receipt"]["digests"], attrs["receipt"]["ingredients"]
    assert set(digests) == {"data", "code", "model", "configuration"}
    assert digests["code"] == made_of["algorithm"]
    assert digests["model"] == made_of.get("onnx")
    if catalogue != "sources":
        before = {"features": "sources", "m": "features"}[catalogue]
        found = next(published.output.glob(f"releases/DR2/catalogues/{before}/{tile_below(path)}"))
        assert digests["data"] == hashlib.sha256(found.read_bytes()).hexdigest()
    told = explain_tile(lone)
    assert told["digests"] == digests and told["fits"] and told["key"] == digest(made_of)
    assert (told["catalogue"], told["sha256"]) == (catalogue, hashlib.sha256(path.read_bytes()).hexdigest())


def tile_below(path: Path) -> str:
    return "/".join(path.parts[-3:])


def test_a_tile_that_is_damaged_is_not_explained(published, tmp_path):
    [path, *_] = sorted((published.output / "catalogues" / "m" / "tiles").rglob("*.zarr.zip"))
    (tmp_path / "cut.zarr.zip").write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptTile):
        explain_tile(tmp_path / "cut.zarr.zip")


@pytest.fixture
def configfile(published, tmp_path) -> str:
    """The run's file, with the survey's beside it."""
    survey = survey_config(Path(published.survey.path))
    (tmp_path / "survey.yaml").write_text(yaml.safe_dump(survey))
    tiling = published.config.tiling.model_dump(include={"max_rows", "highest_order", "group_order"})
    run = {"name": "toy_run", "survey": str(tmp_path / "survey.yaml"), "output": str(published.output)}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({**run, "tiling": tiling}))
    return str(tmp_path / "run.yaml")


def test_the_command_says_it_to_people_and_to_programs(published, configfile):
    object_id = some_ids(2)[1]
    options = [str(object_id), "--configfile", configfile, "--release", "DR2"]
    shown = CliRunner().invoke(app, ["explain", *options])
    assert shown.exit_code == 0, shown.output
    for word in ("before calibration", "changed last by DR2", "same tile", "g_asinh_mag", "part ", "band_missing"):
        assert word in shown.stdout, word
    printed = json.loads(CliRunner().invoke(app, ["explain", *options, "--json"]).stdout)
    told = explain(published, object_id, release="DR2")
    assert printed["origin"] == json.loads(json.dumps(told["origin"])) and printed["objectId"] == str(object_id)
    assert printed["models"]["m"]["answer"]["probabilities"] == told["models"]["m"]["answer"]["probabilities"]


def test_the_command_prints_json_that_any_program_reads_where_numbers_are_missing(configfile):
    done = CliRunner().invoke(
        app, ["explain", str(some_ids(1)[0]), "--configfile", configfile, "--release", "DR1", "--json"]
    )
    told = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert told["models"]["m"]["answer"]["probabilities"]["STAR"] == "nan"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["1", "--near", "12"], "--near: expected RA,DEC in degrees"),
        (["1", "--release", "DR1", "--model", "n"], "--model: expected one of m, found n"),
        (["none"], "'none': expected the objectId of a source"),
    ],
)
def test_the_command_refuses_what_it_cannot_take(configfile, words, message):
    error = CliRunner().invoke(app, ["explain", *words, "--configfile", configfile]).exception
    assert message in str(error)


def test_the_command_explains_a_tile_without_a_run(published, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [path, *_] = sorted((published.output / "catalogues" / "m" / "tiles").rglob("*.zarr.zip"))
    shutil.copy(path, tmp_path / "lone.zarr.zip")
    shown = CliRunner().invoke(app, ["explain", "lone.zarr.zip"])
    assert shown.exit_code == 0 and path.name[:12] in shown.stdout and "configuration: " in shown.stdout
