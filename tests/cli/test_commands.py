"""The skymill command says what is right, and names what is wrong in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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


def test_schema_is_json():
    result = CliRunner().invoke(app, ["config", "schema", "survey"])
    assert "photometry" in json.loads(result.stdout)["properties"]


def test_an_unknown_schema_lists_the_known():
    done = skymill("config", "schema", "nothing")
    assert done.returncode == 1
    assert "run, survey, model" in done.stderr


def test_where_without_a_run_says_what_to_do(tmp_path):
    done = skymill("where", str(tmp_path))
    assert done.returncode == 1
    assert "run `snakemake --cores all` first" in " ".join(done.stderr.split())


def test_chain_refuses_a_model_named_like_a_catalogue(tmp_path):
    (tmp_path / "m.yaml").write_text(yaml.safe_dump({"name": "features", "kind": "forest"}))
    content = {**read_yaml("config/config.yaml"), "models": [str(tmp_path / "m.yaml")]}
    with pytest.raises(ConfigError, match="'features' is a catalogue of skymill's own"):
        Chain.from_config(content)


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
