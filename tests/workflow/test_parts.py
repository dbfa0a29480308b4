"""A part of a run, and what Snakemake says when it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from snakemake_run import run
from survey_files import write_survey


@pytest.mark.slow
def test_a_part_of_a_run_ends_well_before_anything_is_sealed(tmp_path: Path):
    write_survey(tmp_path)
    outcome = run(tmp_path, "results/tiling/plan.json")
    assert outcome.jobs == {"tiling_plan": 1}
    assert (tmp_path / "results/tiling/plan.json").is_file()
