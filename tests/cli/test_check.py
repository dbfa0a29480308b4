"""`skymill config check` finds what would only fail hours into a run; the Snakefile finds what needs no table."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from snakemake_run import run
from survey_files import write_survey, write_yaml
from typer.testing import CliRunner

from skymill.cli.chain import Chain
from skymill.cli.main import app
from skymill.config import ConfigError, read_yaml


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that is right, in the working directory."""
    write_survey(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(file: str, key: str, value: Any) -> None:
    """Set a key, given with dots, in one of the run's files."""
    content = read_yaml(file)
    *blocks, last = key.split(".")
    block = content
    for name in blocks:
        block = block.setdefault(name, {})
    block[last] = value
    write_yaml(Path(file), content)


def check() -> str:
    """What `skymill config check` finds, on one line."""
    result = CliRunner().invoke(app, ["config", "check", "config.yaml"])
    if result.exception is None:
        return result.output
    assert isinstance(result.exception, ValueError), result.exception
    return str(result.exception)


@pytest.mark.parametrize("member", ["gone", "pool"], ids=["not in the run", "itself an ensemble"])
def test_members_of_an_ensemble_are_models_fitted_in_the_run(member: str):
    write_yaml(Path("pool.yaml"), {"name": "pool", "kind": "ensemble", "settings": {"members": ["mlp", member]}})
    change("config.yaml", "models", ["mlp.yaml", "forest.yaml", "pool.yaml"])
    message = rf"pool\.yaml: settings\.members: '{member}' is no model fitted in this run, .* choose from mlp, forest"
    assert re.search(message, check())
    with pytest.raises(ValueError, match=message):
        Chain.from_config(read_yaml("config.yaml"))


def test_a_right_run_is_right_and_says_what_was_opened():
    assert "run 'patches' is right" in check()
    assert "headers were opened" in check()


NEEDS_NO_TABLE = [
    ("survey.yaml", "path", "tables_gone", "tables_gone: no such file or folder"),
    ("config.yaml", "labels.path", "gone.parquet", r"labels\.path: gone\.parquet: no such file"),
    ("config.yaml", "output", "labels.parquet/results", r"labels\.parquet is a file; name a folder"),
    ("config.yaml", "compute.memory_per_worker", "lots", r"memory_per_worker: value 'lots'.*'3GB'"),
    ("config.yaml", "features.softening_nJy", {"q": 3}, r"features\.softening_nJy: bands u, g, r, i, z, y"),
    ("config.yaml", "tiling.lowest_order", 9, "lowest_order <= highest_order"),
    ("forest.yaml", "features", ["photometry"], r"forest\.yaml: features photometry.*did you mean 'photometric'"),
    ("forest.yaml", "features", ["missing"], r"forest\.yaml: features missing: none of them measures"),
    ("forest.yaml", "name", "sources", r"forest\.yaml: name: 'sources' is a catalogue of skymill's own"),
    ("forest.yaml", "name", "mlp", "two models are named 'mlp'"),
    ("forest.yaml", "kind", "forrest", r"forest\.yaml: kind.*'forrest'.*known: .*forest, .*mlp"),
    ("survey.yaml", "bands", ["u", "g", "g"], "each band may stand only once"),
    ("survey.yaml", "photometry.psfFlux.ab_offset", {"u": 0.04}, "unit 'nJy' is absolute"),
]
NEEDS_NO_TABLE += [
    ("config.yaml", "splitt", {}, r"config\.yaml: splitt: unknown key.*did you mean 'split'"),
    ("config.yaml", "labels.column", None, r"config\.yaml: labels\.column"),
    ("forest.yaml", "settings", {"maxdepth": 3}, r"forest\.yaml: settings: maxdepth: unknown key"),
    (
        "survey.yaml",
        "id",
        "objectId",
        r"survey\.yaml: id: value 'objectId': expected a block; its keys: column",
    ),
    ("survey.yaml", "path", None, r"survey\.yaml: format 'parquet' needs path"),
    ("survey.yaml", "path", "gone", r"survey\.yaml: path: gone: no such file"),
    (
        "survey.yaml",
        "maps.depth_i",
        {"path": "gone", "unit": "mag"},
        r"survey\.yaml: maps\.depth_i\.path: gone: no such",
    ),
    ("survey.yaml", "maps.depth_i", {"path": ".", "unit": "nJy"}, r"depth_i: expected a unit like mag, found 'nJy'"),
    ("survey.yaml", "maps.depth_q", {"path": ".", "unit": "mag"}, r"maps\.depth_q: 'q' is no band .* depth_<one of"),
    ("survey.yaml", "maps.depth_i", {"path": "$" + "{NOT_SET}/x", "unit": "mag"}, r"the variable NOT_SET is not set"),
    ("config.yaml", "features.colour_flux", "gone", r"config\.yaml: features\.colour_flux: value 'gone'"),
]
NEEDS_THE_TABLES = [
    ("survey.yaml", "maps.depth_i", {"path": "survey.yaml", "unit": "mag"}, r"survey\.yaml: no FITS file with a table"),
    ("survey.yaml", "id.column", "objectid", r"'objectid' \(similar: objectId\)"),
    ("survey.yaml", "photometry.psfFlux.column", "{band}_psfFlx", r"'u_psfFlx' \(similar: u_psfFlux"),
    ("survey.yaml", "format", "fits", "correct `path` or `format`"),
    ("config.yaml", "labels.column", "klass", r"'klass'.*correct labels\.column or labels\.id.*has objectId, class"),
    ("config.yaml", "labels.id.column", "objectid", r"'objectid' \(similar: objectId\); correct labels\."),
    ("survey.yaml", "ra.column", "ra", r"'ra'.*column map in survey\.yaml; the table has objectId, coord_ra"),
    ("config.yaml", "labels.format", "fits", "correct `format`"),
    ("config.yaml", "labels.classes", ["GALAXY", "QUASAR", "STAR"], r"class QUASAR .*QSO \([\d,]+\).*labels\.classes"),
]


@pytest.mark.parametrize(("file", "key", "value", "message"), NEEDS_NO_TABLE + NEEDS_THE_TABLES)
def test_check_finds(file: str, key: str, value: Any, message: str):
    change(file, key, value)
    said = check()
    assert "is right" not in said
    assert re.search(message, said), said


@pytest.mark.parametrize(("file", "key", "value", "message"), NEEDS_NO_TABLE)
def test_the_snakefile_finds(file: str, key: str, value: Any, message: str):
    change(file, key, value)
    with pytest.raises(ValueError, match=message):
        Chain.from_config(read_yaml("config.yaml"), ["config.yaml"])


def test_a_key_that_stands_twice_is_refused(folder: Path):
    for file in ("config.yaml", "survey.yaml", "forest.yaml"):
        before = (folder / file).read_text()
        (folder / file).write_text(before + "name: other\n")
        assert re.search(rf"{file}: not valid YAML: the key 'name' stands twice", check())
        (folder / file).write_text(before)


def test_a_key_that_stands_twice_is_seen_behind_snakemake_too(folder: Path):
    content = read_yaml("config.yaml")
    (folder / "config.yaml").write_text((folder / "config.yaml").read_text() + "name: other\n")
    with pytest.raises(ConfigError, match=r"config\.yaml: not valid YAML: the key 'name' stands twice"):
        Chain.from_config(content, [folder / "config.yaml"])


def test_snakemake_names_the_runs_file(folder: Path):
    change("config.yaml", "splitt", {})
    outcome = run(folder, "-n", check=False)
    assert outcome.returncode != 0
    assert "config.yaml: splitt: unknown key" in outcome.text
    assert outcome.text.count('  File "') <= 1  # where Snakemake read it; not where in our code it came up


def test_a_model_file_from_elsewhere_is_looked_for_and_opened(folder: Path):
    write_yaml(folder / "forest.yaml", {"name": "theirs", "kind": "onnx", "path": "theirs.onnx"})
    assert "forest.yaml: path: theirs.onnx: no such file" in check()
    (folder / "theirs.onnx").write_bytes(b"no graph")
    assert "theirs.onnx: not a valid ONNX file" in check()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(folder: Path):
    (folder / "closed").mkdir(mode=0o500)
    change("config.yaml", "output", "closed/results")
    assert "no permission to write" in check()
