"""`skymill sweep`: it finds better settings, goes on where it was, and the test split takes no part."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner
from workbench_run import table, write_run, write_set

from skymill.cli.main import app
from skymill.cli.workbench.sweep import read_space
from skymill.config import ConfigError, read_yaml
from skymill.config.load import load_model

pytest.importorskip("optuna", reason="optuna is not installed: pip install 'skymill[sweep]'")
SPACE = "learning_rate: {low: 1.0e-5, high: 0.03, log: true}\nactivation: [relu, gelu]\n"


def sweep(run: Path, trials: int) -> list[dict[str, str]]:
    (run.parent / "space.yaml").write_text(SPACE)
    options = ["--space", str(run.parent / "space.yaml"), "--trials", str(trials), "--configfile", str(run)]
    result = CliRunner().invoke(app, ["sweep", "small", *options, "--device", "cpu"])
    if result.exception is not None:
        raise result.exception
    with (found(run) / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def found(run: Path) -> Path:
    [folder] = (run.parent / "results" / "workbench" / "sweep" / "small").iterdir()
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


def test_the_best_of_its_trials_is_a_model_file_and_a_study_goes_on(run: Path) -> None:
    first = sweep(run, 3)
    rows = sweep(run, 5)
    assert rows[:3] == first and len(rows) == 5
    complete = [row for row in rows if row["state"] == "complete"]
    best = min(complete, key=lambda row: float(row["validation_log_loss"]))
    model = load_model(found(run) / "best.yaml")
    assert model.settings["learning_rate"] == float(best["learning_rate"])
    assert model.settings["activation"] == best["activation"]
    assert model.settings["width"] == 8  # as it was
    assert model.name == read_yaml(run.parent / "small.yaml")["name"]


def test_rows_of_the_test_split_do_not_matter_and_are_not_there(run: Path, tmp_path: Path) -> None:
    expected = sweep(run, 2)[:2]
    other = write_run(tmp_path)
    rows = table(900)
    test = np.asarray(rows["split"]) == "test"
    label = np.where(test, 2 - np.asarray(rows["label"]), np.asarray(rows["label"])).astype(np.int8)
    colour = np.where(test, np.nan, np.asarray(rows["g_minus_r"])).astype(np.float32)
    for name, values in (("label", label), ("g_minus_r", colour)):
        rows = rows.set_column(rows.column_names.index(name), name, pa.array(values))
    write_set(tmp_path, rows)
    assert sweep(other, 2) == expected
    assert set(pq.read_table(found(other) / "set.parquet")["split"].to_pylist()) == {"train", "validation"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("width: {low: 9, high: 3}", "settings.width.* expected low < high"),
        ("width: {low: 0, high: 3, log: true}", "low > 0 with `log`"),
        ("width: {lo: 1, high: 3}", r"settings\.width"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "space.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_space(tmp_path / "space.yaml")
