"""`skymill train`: a fit of one's own beside the run's, which it never touches."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner
from workbench_run import write_run

from skymill.cli.main import app
from skymill.training import load_fit


def train(run: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, ["train", *arguments, "--configfile", str(run), "--device", "cpu"])
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


def test_it_fits_judges_and_logs_with_the_settings_that_were_given(run: Path) -> None:
    told = train(run, "small", "--epochs", "2", "--set", "width=6")
    [folder] = (run.parent / "results" / "workbench" / "train" / "small").iterdir()
    fit = load_fit(folder)
    assert fit.manifest["settings"]["width"] == 6
    assert len(fit.model.history()) == 2
    accuracy = json.loads((folder / "metrics.json").read_text())["overall"]["accuracy"]["value"]
    assert f"{accuracy:.4f}" in told and str(folder / "card.md") in told
    with (folder / "logs" / "metrics.csv").open(newline="") as file:
        assert len([row for row in csv.DictReader(file) if row["validation_log_loss"]]) == 2
    assert {path.name for path in (run.parent / "results" / "training").iterdir()} == {"set.json", "sets"}
    before = (folder / "manifest.json").stat().st_mtime_ns
    assert train(run, "small", "--epochs", "2", "--set", "width=6").startswith("on the test split")
    assert (folder / "manifest.json").stat().st_mtime_ns == before  # done already


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tiny",), r"run\.yaml: expected one of the models it fits \(small\), found 'tiny'"),
        (("small", "--set", "width"), r"--set: expected NAME=VALUE, like learning_rate=0\.001, found 'width'"),
        (("small", "--set", "widht=8"), r"widht: unknown key .* did you mean 'width'"),
    ],
)
def test_what_is_wrong_is_named(run: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(run, *arguments)


def test_what_it_learns_from_is_asked_of_the_workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path)
    (tmp_path / "results" / "training" / "set.json").unlink()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"set\.json: not there, .* run `snakemake .*set\.json --cores all"):
        train(run, "small")
