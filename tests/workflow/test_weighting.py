"""A model that weighs its rows by the survey follows new sky; one that does not is left alone."""

from __future__ import annotations

import json
from pathlib import Path

import changes
import pytest
from snakemake_run import Checkout, run
from survey_files import edit_yaml, write_survey


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_new_sky_trains_only_the_model_that_weighs_by_it(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory):
    code = Checkout.copy(tmp_path_factory.mktemp("code"))
    write_survey(tmp_path)
    edit_yaml(tmp_path / "forest.yaml", importance_weighting=True)
    run(tmp_path, checkout=code)
    assert not run(tmp_path, checkout=code).jobs
    [before] = tmp_path.glob("results/training/forest/*/metrics.json")
    weighed = json.loads(before.read_text())["importance_weighting"]
    assert 0 < weighed["effective_rows"] < weighed["rows"]
    [plain] = tmp_path.glob("results/training/mlp/*/metrics.json")
    assert "importance_weighting" not in json.loads(plain.read_text())

    changes.input_file(tmp_path)
    outcome = run(tmp_path, checkout=code)
    assert outcome.jobs["training_fit"] == 1
    assert "model=mlp" not in "".join(outcome.text.partition("rule training_fit:")[2].partition("resources")[0])
    [after] = tmp_path.glob("results/training/forest/*/metrics.json")
    assert json.loads(after.read_text())["importance_weighting"]["survey"] != weighed["survey"]
    assert not run(tmp_path, checkout=code).jobs
