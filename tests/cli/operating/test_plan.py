"""What a run is said to cost, before anything runs."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from survey_files import CENTRES, ROWS, edit_yaml, write_survey
from typer.testing import CliRunner

from skymill.cli.chain import Chain
from skymill.cli.main import app
from skymill.cli.operating.costs import estimate
from skymill.cli.operating.counts import count_sky
from skymill.cli.operating.jobs import Workflow
from skymill.cli.operating.measure import cache_path
from skymill.cli.operating.rates import DOCUMENTED, find_rates, read_rates
from skymill.config import read_yaml

REPOSITORY = Path(__file__).resolve().parents[3]
EMBEDDED_ROWS, EMBEDDED_TILES, EMBEDDED_GROUPS = 199_209, 17, 6
"""What `snakemake` makes of the embedded survey."""


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A survey of which nothing has run."""
    write_survey(tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "run"


def _workflow(path: Path) -> Workflow:
    return Workflow(Chain.from_config(read_yaml(path)))


def test_rows_come_from_the_headers_and_tiles_are_said_to_be_estimated(fresh):
    sky = count_sky(_workflow(fresh / "config.yaml"))
    assert sky.n_in == ROWS * len(CENTRES)
    assert sky.labels == ROWS
    assert not sky.certain
    assert sky.n_tiles >= sky.n_rows / 1500


def test_the_embedded_survey_is_counted_without_generating_it(monkeypatch, tmp_path):
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr("skymill.survey.embedded.blocks", None)
    (tmp_path / "config.yaml").write_text(Path("config/catalogue.yaml").read_text())
    edit_yaml(tmp_path / "config.yaml", output=str(tmp_path / "results"))
    sky = count_sky(_workflow(tmp_path / "config.yaml"))
    assert sky.n_in == EMBEDDED_ROWS
    assert len(sky.groups) == EMBEDDED_GROUPS
    assert EMBEDDED_TILES / 2 < sky.n_tiles < EMBEDDED_TILES * 2


def test_core_time_is_that_of_the_rate_and_wall_time_shrinks_with_cores(fresh):
    workflow = _workflow(fresh / "config.yaml")
    rate = replace(DOCUMENTED["features_compute"], per_core_s=100.0, start_s=2.0, source="measured")
    one, four = (estimate(workflow, {"features_compute": rate}, cores=cores) for cores in (1, 4))
    [stage] = [stage for stage in one.stages if stage.rule == "features_compute"]
    rows = sum(one.sky.groups.values())
    assert stage.core_hours * 3600 == pytest.approx(2.0 * stage.jobs + rows / 100.0)
    assert stage.wall_hours == pytest.approx(stage.core_hours)
    assert stage.rate_from == "measured"
    tiles_at_once = min(4, math.ceil(one.sky.n_tiles / stage.jobs))
    [faster] = [stage for stage in four.stages if stage.rule == "features_compute"]
    assert faster.wall_hours * 3600 == pytest.approx(2.0 * stage.jobs + rows / 100.0 / tiles_at_once)
    assert faster.core_hours == stage.core_hours


def test_a_gpu_is_counted_only_where_one_is_asked_for(fresh):
    without = estimate(_workflow(fresh / "config.yaml"), {}, cores=1)
    assert without.total("gpu_hours") == 0
    edit_yaml(fresh / "config.yaml", inference={"provider": "cuda"})
    assert estimate(_workflow(fresh / "config.yaml"), {}, cores=1).total("gpu_hours") > 0


def test_jobs_are_those_of_the_plan(fresh):
    groups = {f"o0p{n}": {"digest": "0" * 64, "n_tiles": 3, "n_rows": 1000} for n in range(5)}
    Path("results/tiling").mkdir(parents=True)
    Path("results/tiling/plan.json").write_text(json.dumps({"groups": groups}))
    costs = estimate(_workflow(fresh / "config.yaml"), {}, cores=2)
    assert costs.sky.certain
    assert (costs.sky.n_tiles, costs.sky.n_rows) == (15, 5000)
    # plan, 5 partitions, 5 features, set, 2 fits, 2 exports, 10 inferences, 4 seals, 2 comparisons, report
    assert costs.total("jobs") == 1 + 5 + 5 + 1 + 2 + 2 + 10 + 4 + 2 + 1


def test_a_model_without_catalogue_costs_a_fit_and_nothing_else(fresh):
    edit_yaml(fresh / "forest.yaml", catalogue=False)
    stages = estimate(_workflow(fresh / "config.yaml"), {}, cores=1).stages
    assert [stage.rule for stage in stages if stage.subject == "forest"] == ["training_fit"]


def test_benchmarks_count_only_where_jobs_did_all_their_work_and_enough(fresh):
    groups = {f"o0p{n}": {"digest": "0" * 64, "n_tiles": 1, "n_rows": 600_000} for n in range(2)}
    Path("results/tiling").mkdir(parents=True)
    Path("results/tiling/plan.json").write_text(json.dumps({"groups": groups}))
    for folder in ("logs", "benchmarks"):
        (Path("results") / folder).mkdir()
    log = Path("results/logs/tiling_plan.log")
    log.write_text("INFO skymill.tiling.planning: 2 of 2 parts are new\n")
    benchmark = Path("results/benchmarks/tiling_plan.tsv")
    start = DOCUMENTED["tiling_plan"].start_s
    benchmark.write_text(f"s\tcpu_time\n9.0\t{start + 4.0}\n")

    def rate():
        return find_rates(_workflow(fresh / "config.yaml"), {})["tiling_plan"]

    assert (rate().source, rate().per_core_s) == ("benchmarks", pytest.approx(300_000))
    log.write_text("INFO skymill.tiling.planning: 1 of 2 parts are new\n")
    assert rate().source == "documented"
    log.write_text("INFO skymill.tiling.planning: 2 of 2 parts are new\n")
    benchmark.write_text(f"s\tcpu_time\n9.0\t{start + 0.1}\n")
    assert rate().source == "documented"


def test_measured_rates_are_kept_by_machine_and_models(fresh, monkeypatch):
    models = list(_workflow(fresh / "config.yaml").chain.models.values())
    path = cache_path(models)
    assert path.is_relative_to(fresh.parent / "cache")
    assert cache_path(models[:1]) != path
    monkeypatch.setattr("skymill.__version__", "9.9.9")
    assert cache_path(models) != path
    assert read_rates(path) == {}


@pytest.mark.slow
def test_measuring_gives_every_rule_that_works_on_rows_a_rate_of_its_own(fresh, monkeypatch):
    monkeypatch.setattr("skymill.cli.operating.measure.ROWS", 30_000)
    monkeypatch.setattr("skymill.cli.operating.measure.SIMULATION", {**SIMULATION, "rows": 30_000})
    outcome = CliRunner().invoke(app, ["plan", "--configfile", "config.yaml", "--measure", "--json"])
    assert outcome.exit_code == 0, outcome.output
    stages = json.loads(outcome.stdout)["stages"]
    others = ("release_seal", "training_shift", "report_page")
    assert {stage["rate_from"] for stage in stages if stage["rule"] not in others} == {"measured"}
    again = CliRunner().invoke(app, ["plan", "--configfile", "config.yaml", "--json"])
    assert json.loads(again.stdout)["stages"] == stages


SIMULATION = {"area_deg2": 60, "seed": 1, "labelled": 0.5}


def test_narrow_terminals_lose_columns_but_no_line(fresh, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = CliRunner().invoke(app, ["plan", "--configfile", "config.yaml"]).stdout
    assert "rate from" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "tiles and groups are estimated" in " ".join(text.split())
