"""The skymill command says what is right, and names what is wrong in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from skymill.cli.chain import Chain
from skymill.cli.job import check_output, files_of
from skymill.cli.main import app
from skymill.config import ConfigError, read_yaml

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


def skymill(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    program = "from skymill.cli.main import main; main()"
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)


def test_check_accepts_the_shipped_run():
    result = CliRunner().invoke(app, ["config", "check", "config/config.yaml"])
    assert result.exit_code == 0
    assert "run 'embedded' is right" in result.stdout


def test_a_fault_is_one_readable_line(tmp_path):
    content = read_yaml("config/config.yaml")
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({**content, "seeed": 1}))
    done = skymill("config", "check", str(path))
    assert done.returncode == 1
    assert "seeed" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_knows_the_settings_of_each_kind(tmp_path):
    (tmp_path / "forest.yaml").write_text(yaml.safe_dump({"name": "f", "kind": "forest", "settings": {"treees": 3}}))
    content = {**read_yaml("config/config.yaml"), "models": [str(tmp_path / "forest.yaml")]}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(content))
    result = CliRunner().invoke(app, ["config", "check", str(tmp_path / "run.yaml")])
    assert isinstance(result.exception, ConfigError)
    assert "did you mean 'trees'" in str(result.exception)


def test_an_ensemble_of_a_model_that_is_not_fitted_here_names_those_that_are(tmp_path):
    pool = {"name": "pool", "kind": "ensemble", "settings": {"members": ["mlp", "forrest"]}}
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump(pool))
    shipped = read_yaml("config/config.yaml")
    content = {**shipped, "models": [*shipped["models"], str(tmp_path / "pool.yaml")]}
    with pytest.raises(
        ConfigError,
        match=r"settings\.members: 'forrest' is no model fitted .* choose from forest, mlp, baseline_forest",
    ):
        Chain.from_config(content)


def test_schema_is_json():
    result = CliRunner().invoke(app, ["config", "schema", "survey"])
    assert "photometry" in json.loads(result.stdout)["properties"]


def test_the_shipped_schemas_are_those_that_the_command_writes(tmp_path):
    result = CliRunner().invoke(app, ["config", "schema", "--write", str(tmp_path / "new")])
    written = {path.name: path.read_text() for path in (tmp_path / "new").iterdir()}
    assert written == {path.name: path.read_text() for path in Path("config/schemas").iterdir()}
    assert sorted(result.stdout.split()) == sorted(str(tmp_path / "new" / name) for name in written)


@pytest.mark.parametrize(
    ("error", "told", "traced"),
    [("ComputeError('disk full')", "ComputeError: disk full", False), ("KeyError('x')", "KeyError: 'x'", True)],
    ids=["expected", "unexpected"],
)
def test_a_job_that_fails_says_why_in_its_log(tmp_path, error, told, traced):
    program = (
        "import sys; from pathlib import Path; from skymill.cli.job import configure_logging;"
        "from skymill.compute import ComputeError;"
        f"configure_logging(Path(sys.argv[1])); raise {error}"
    )
    log = tmp_path / "logs" / "rule.log"
    done = subprocess.run([sys.executable, "-c", program, str(log)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    text = log.read_text()
    assert told in text and ("Traceback" in text) == traced


def test_an_unknown_schema_lists_the_known():
    done = skymill("config", "schema", "nothing")
    assert done.returncode == 1
    assert "run, survey, model" in done.stderr


def test_clean_deletes_the_spill_and_nothing_else(tmp_path):
    for name in ("tiling/spill/a.npy", "tiling/parts/a.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(2_000_000))
    assert "2.0 MB freed" in skymill("clean", str(tmp_path)).stdout
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.json"]
    assert "0.0 MB freed" in skymill("clean", str(tmp_path)).stdout


def test_where_without_a_run_says_what_to_do(tmp_path):
    done = skymill("where", str(tmp_path))
    assert done.returncode == 1
    assert "run `snakemake --cores all` first" in " ".join(done.stderr.split())


def test_verify_looks_at_the_folder_that_where_looks_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in ("verify", "where"):
        done = skymill(command)
        assert done.returncode == 1
        assert "skymill: results:" in done.stderr


def test_what_ends_a_job_is_told_once_by_its_log(tmp_path):
    program = (
        "import logging; from pathlib import Path; from skymill.cli.job import configure_logging;"
        "configure_logging(Path('job.log')); logging.warning('seen at once'); raise ValueError('the reason')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["seen at once"]
    assert "ValueError: the reason" in (tmp_path / "job.log").read_text()


def test_chain_refuses_a_model_named_like_a_catalogue(tmp_path):
    (tmp_path / "m.yaml").write_text(yaml.safe_dump({"name": "features", "kind": "forest"}))
    content = {**read_yaml("config/config.yaml"), "models": [str(tmp_path / "m.yaml")]}
    with pytest.raises(ConfigError, match="'features' is a catalogue of skymill's own"):
        Chain.from_config(content)


def test_the_workflow_refuses_what_config_check_refuses(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"name": "m", "kind": "forest"}))
    content = {**read_yaml("config/config.yaml"), "models": [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]}
    with pytest.raises(ConfigError, match=r"run 'embedded': models: two models are named 'm'; rename one"):
        Chain.from_config(content)
    with pytest.raises(ConfigError, match="labels: needed to train"):
        Chain.from_config({**content, "models": content["models"][:1], "labels": None})


def test_a_job_asks_for_the_memory_of_its_workers_and_the_gpu_of_its_provider():
    chain = Chain.from_config({**read_yaml("config/config.yaml"), "compute": {"memory_per_worker": "1.5GB"}})
    assert chain.job_memory_mb(16) == 25_000 and chain.inference_gpus == 0
    on_gpu = Chain.from_config({**read_yaml("config/config.yaml"), "inference": {"provider": "cuda"}})
    assert on_gpu.inference_gpus == 1 and on_gpu.job_memory_mb(1) == 4000
    with pytest.raises(ConfigError, match="memory_per_worker"):
        Chain.from_config({**read_yaml("config/config.yaml"), "compute": {"memory_per_worker": "much"}})


def test_chain_loads_nothing_that_learns_or_draws():
    program = (
        "import sys; from skymill.cli.chain import Chain; from skymill.config import read_yaml;"
        "chain = Chain.from_config(read_yaml('config/config.yaml'));"
        "chain.plan_settings, chain.sources_settings, chain.features_settings, chain.survey_digest;"
        "print([name for name in ('torch', 'sklearn', 'distributed', 'lightning', 'onnxruntime', 'zarr')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_one_file_of_a_rule_is_a_list_too():
    assert files_of("one.json") == ["one.json"]
    assert files_of(["one.json", "two.json"]) == ["one.json", "two.json"]


def test_output_elsewhere_means_that_code_changed():
    check_output(Path("a/../a/b.json"), "a/b.json")
    with pytest.raises(RuntimeError, match="changed while the workflow was running"):
        check_output(Path("a/c.json"), "a/b.json")


def test_a_job_is_done_by_one_run_at_a_time(tmp_path):
    program = (
        "import sys; from pathlib import Path; from skymill.cli.job import lock_job;"
        "lock_job(Path(sys.argv[1])); print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "logs" / "release_seal" / "sources.log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "locked\n"
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert second.returncode == 1 and f"being computed by process {first.pid} on" in second.stderr
        first.communicate("")
    assert subprocess.run(command, input="", capture_output=True, text=True, check=False).returncode == 0


class TestSurvey:
    @pytest.fixture
    def table(self, tmp_path: Path) -> Path:
        rng = np.random.default_rng(0)
        columns = {"objectId": 2**60 + np.arange(100), "ra": rng.uniform(0, 360, 100), "dec": rng.uniform(-90, 90, 100)}
        for band in "gr":
            columns |= {f"{band}_flux": rng.uniform(10, 1e4, 100), f"{band}_fluxErr": np.ones(100)}
        columns["dec"][3] = 91
        pq.write_table(pa.table(columns), tmp_path / "t.parquet")
        return tmp_path / "t.parquet"

    def test_a_draft_is_refused_until_a_person_has_decided(self, table: Path, tmp_path: Path):
        path = tmp_path / "mine.yaml"
        made = skymill("survey", "new", "mine", "--table", str(table), "--write", str(path))
        assert made.returncode == 0 and f"{path}: written" in made.stdout
        refused = skymill("config", "check", str(path))
        assert refused.returncode == 1
        for key in ("ra.unit", "dec.unit", "photometry.flux.unit"):
            assert f"{key}: still DECIDE" in refused.stderr
        (tmp_path / "run.yaml").write_text(yaml.safe_dump({"name": "r", "survey": str(path)}))
        assert "ra.unit: still DECIDE" in skymill("config", "check", str(tmp_path / "run.yaml")).stderr
        decided = path.read_text().replace("unit: DECIDE }", "unit: deg }").replace("DECIDE", "nJy")
        path.write_text(decided)
        accepted = skymill("config", "check", str(path))
        assert accepted.returncode == 0 and "survey 'mine' (parquet) is right" in accepted.stdout

    def test_a_file_that_is_there_is_not_written_over(self, table: Path, tmp_path: Path):
        (tmp_path / "mine.yaml").write_text("precious")
        done = skymill("survey", "new", "mine", "--table", str(table), "--write", str(tmp_path / "mine.yaml"))
        assert done.returncode == 1 and "such a file already" in done.stderr
        assert (tmp_path / "mine.yaml").read_text() == "precious"

    def test_check_says_what_becomes_of_the_first_rows_and_what_looks_wrong(self, table: Path, tmp_path: Path):
        path = tmp_path / "mine.yaml"
        CliRunner().invoke(app, ["survey", "new", "mine", "--table", str(table), "--write", str(path)])
        path.write_text(path.read_text().replace("unit: DECIDE }", "unit: deg }").replace("DECIDE", "Jy"))
        result = CliRunner().invoke(app, ["survey", "check", str(path), "--rows", "80"])
        assert result.exit_code == 0, result.output
        assert "survey 'mine' (parquet), its first 80 rows at most" in result.stdout
        assert "rows         80\naccepted     79\nexcluded     none\nquarantined  dec_out_of_range 1\n" in result.stdout
        assert "median AB magnitude of flux: g -" in result.stdout
        assert "warning: photometry.flux, g, r: the median AB magnitude (-" in result.stdout
