"""A survey most of whose rows are refused is told of, and by default not planned."""

from __future__ import annotations

import logging
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from skymill import tiling
from skymill.config import ComputeSettings
from skymill.tiling.settings import plan_digest, settings_digest

from .conftest import run_config, toy_survey, toy_table, write_parts

WRONG = {"ra": {"column": "ra", "unit": "rad"}}
REASON = r"[\d,]+ of 2,000 rows \(\d+\.\d%\) are quarantined: [\d,]+ ra_out_of_range \(right ascension"


@pytest.fixture
def survey_folder(tmp_path: Path) -> Path:
    """Right ascensions in degrees: as radians they are many turns."""
    table = toy_table(2000)
    moved = table.set_column(1, "ra", [[value + 100 for value in table["ra"].to_pylist()]])
    write_parts(moved, tmp_path / "in", 1)
    return tmp_path


def test_a_wrong_unit_fails_the_plan_and_leaves_the_rows_to_look_at(survey_folder: Path, compute: ComputeSettings):
    run = run_config(compute)
    with pytest.raises(ValueError, match=REASON + r".* survey 'toy', or raise") as caught:
        tiling.plan(run, toy_survey(survey_folder / "in", run, **WRONG), survey_folder / "out", workers=1)
    assert "tiling.max_quarantined_share (0.5)" in str(caught.value)
    refused = pq.read_table(survey_folder / "out" / "tiling" / "quarantine.parquet")
    assert set(refused["reason"].to_pylist()) == {"ra_out_of_range"}
    assert not (survey_folder / "out" / "tiling" / "plan.json").exists()


def test_below_the_limit_it_is_a_warning(
    survey_folder: Path, compute: ComputeSettings, caplog: pytest.LogCaptureFixture
):
    run = run_config(compute, max_quarantined_share=1.0)
    with caplog.at_level(logging.WARNING):
        tiling.plan(run, toy_survey(survey_folder / "in", run), survey_folder / "out", workers=1)
        assert "quarantined" not in caplog.text
        unplanned = toy_survey(survey_folder / "in", run, dec={"column": "ra", "unit": "deg"})
        tiling.plan(run, unplanned, survey_folder / "out", workers=1)
    assert "2,000 of 2,000 rows (100.0%) are quarantined: 2,000 dec_out_of_range" in caplog.text


def test_the_limit_is_no_part_of_what_names_tiles(survey_folder: Path, compute: ComputeSettings):
    strict, lax = run_config(compute, max_quarantined_share=0.01), run_config(compute)
    survey = toy_survey(survey_folder / "in", lax).config
    assert settings_digest(strict, survey) == settings_digest(lax, survey)
    assert plan_digest(strict, survey) != plan_digest(lax, survey)
