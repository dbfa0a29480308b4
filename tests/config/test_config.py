"""Configuration errors name the file, the key, the value and the mend."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from skymill.config import ConfigError, check_run, describe, json_schemas, load_model, load_run, load_survey
from skymill.config.describe import KINDS

REPOSITORY = Path(__file__).resolve().parents[2]
SURVEY = {
    "name": "mine",
    "format": "parquet",
    "path": "table.parquet",
    "bands": ["g", "r"],
    "id": {"column": "id"},
    "ra": {"column": "ra", "unit": "deg"},
    "dec": {"column": "dec", "unit": "deg"},
    "photometry": {"psfFlux": {"column": "{band}_flux", "error": "{band}_err", "unit": "nJy"}},
}


def survey_with(**changes: object) -> dict:
    return {**SURVEY, **changes}


def photometry_with(**changes: object) -> dict:
    return survey_with(photometry={"psfFlux": {**SURVEY["photometry"]["psfFlux"], **changes}})


def test_unknown_key_names_the_file_and_the_nearest_key(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("name: a\nsurvey: s.yaml\ntiling: {max_row: 5}\n")
    with pytest.raises(ConfigError, match=r"run\.yaml: tiling\.max_row: unknown key \(value 5\)") as caught:
        load_run(path)
    assert "did you mean 'max_rows'" in str(caught.value)


def test_all_faults_are_told_at_once(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("name: a\nsurvay: s.yaml\nseed: -1\n")
    with pytest.raises(ConfigError) as caught:
        load_run(path)
    text = str(caught.value)
    assert "survay: unknown key" in text
    assert "survey: required key is missing" in text
    assert "seed: value -1" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (photometry_with(unit="njy"), r"photometry\.psfFlux\.unit: value 'njy'.*nJy"),
        (photometry_with(unit="count"), "needs zero_point"),
        (photometry_with(unit="mag_asinh"), "needs softening"),
        (photometry_with(unit="mag_asinh", softening={"g": 1e-10}), r"lacks the bands \['r'\]"),
        (photometry_with(zero_point=27.0), "only for unit 'count'"),
        (photometry_with(unit="mag_asinh", softening={"g": 1e-10, "r": 0.0}), "must be positive in every band"),
        (photometry_with(unit="mag_ab", ab_offset={"U": -0.04}), r"ab_offset names the bands \['U'\]"),
        (photometry_with(column="flux"), "must contain '{band}'"),
        (survey_with(ra={"column": "ra", "unit": "degrees"}), r"ra\.unit: value 'degrees'"),
        (survey_with(id={"column": "a", "hash": ["b"]}), "exactly one of column, pack, hash"),
        (survey_with(id={"pack": {"a": 40, "b": 40}}), "found 80"),
        (survey_with(path=None), "format 'parquet' needs path"),
        (survey_with(bands=["r", "Ks"]), r"'Ks'.*write 'ks' here and add band_names: \{ks: Ks\}"),
        (survey_with(band_names={"J": "J"}), r"band_names has \['J'\]; known: \['g', 'r'\]"),
        (survey_with(simulation={}), "only for format 'simulated'"),
        (survey_with(values={"size": {"column": "a", "unit": "pixelz"}}), r"values\.size\.unit.*pixelz"),
        (survey_with(values={"{band}_ixx": {"column": "ixx", "unit": "pixel2"}}), "both the name and the column"),
    ],
)
def test_survey_faults(change, message):
    with pytest.raises(ConfigError, match=message):
        load_survey(change)


def test_values_expand_over_bands():
    survey = load_survey(survey_with(values={"{band}_ixx": {"column": "{band}_ixx", "unit": "pixel2"}}))
    assert {name: value.column for name, value in survey.expanded_values().items()} == {
        "g_ixx": "g_ixx",
        "r_ixx": "r_ixx",
    }


def test_columns_may_spell_bands_otherwise():
    survey = load_survey(
        survey_with(
            bands=["i", "ks"],
            band_names={"ks": "Ks"},
            values={"{band}_size": {"column": "SIZE_{band}", "unit": "arcsec"}},
        )
    )
    assert {name: value.column for name, value in survey.expanded_values().items()} == {
        "i_size": "SIZE_i",
        "ks_size": "SIZE_Ks",
    }


def test_variables_are_put_into_paths(monkeypatch):
    monkeypatch.setenv("HERE", "/data")
    assert load_survey(survey_with(path="${HERE}/${NOT_SET:-x}.parquet")).path == "/data/x.parquet"
    with pytest.raises(ConfigError, match="NOT_SET is not set"):
        load_survey(survey_with(path="${NOT_SET}"))


def test_labels_say_what_their_match_needs():
    labels = {"path": "p", "column": "class", "classes": ["a", "b"], "match": "sky"}
    run = {"name": "a", "survey": "s", "labels": labels}
    with pytest.raises(ConfigError, match="matched by sky need ra, dec"):
        load_run(run)


def test_onnx_model_needs_its_file():
    with pytest.raises(ConfigError, match="`path` is needed for kind 'onnx'"):
        load_model({"name": "theirs", "kind": "onnx"})
    with pytest.raises(ConfigError, match="`catalogue: false`: a model of kind 'onnx' is not fitted here"):
        load_model({"name": "theirs", "kind": "onnx", "path": "theirs.onnx", "catalogue": False})


def test_broken_yaml_and_absent_files_are_named(tmp_path):
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(ConfigError, match=r"bad\.yaml: not valid YAML"):
        load_run(tmp_path / "bad.yaml")
    with pytest.raises(ConfigError, match=r"none\.yaml: no such file"):
        load_run(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", ["config/config.yaml", "config/catalogue.yaml", "examples/sdss/config.yaml"])
def test_shipped_runs_are_right(path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    run, _, models = check_run(path)
    assert run.labels is not None
    assert {model.kind for model in models} >= {"forest", "mlp"}


@pytest.mark.parametrize("kind", ["run", "survey", "model"])
def test_shipped_schemas_are_those_of_the_code(kind):
    written = json.loads((REPOSITORY / f"config/schemas/{kind}.schema.json").read_text())
    assert written == json_schemas()[kind], f"run `skymill config schema --write config/schemas` ({kind})"


def test_the_page_of_all_keys_is_that_of_the_code():
    page = (REPOSITORY / "docs/configuration.md").read_text()
    assert all(describe(kind) in page for kind in KINDS), "run `skymill config keys --write docs/configuration.md`"


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_has_a_meaning(kind):
    rows = [line.split(" | ") for line in describe(kind).splitlines() if line.startswith("| `")]
    assert rows
    assert [row[0] for row in rows if len(row[-1].strip(" |")) < 8] == []


def test_schema_accepts_what_the_code_accepts():
    content = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
    jsonschema.validate(content, json_schemas()["run"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**content, "tilings": {}}, json_schemas()["run"])


@pytest.mark.parametrize("output", ["results/", "./results", "results/."])
def test_a_folder_has_one_spelling(output):
    assert load_run({"name": "r", "survey": "s.yaml", "output": output}).output == "results"
