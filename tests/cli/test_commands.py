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


def test_where_without_a_run_says_what_to_do(tmp_path):
    done = skymill("where", str(tmp_path))
    assert done.returncode == 1
    assert "run `snakemake --cores all` first" in " ".join(done.stderr.split())


def test_chain_refuses_a_model_named_like_a_catalogue(tmp_path):
    (tmp_path / "m.yaml").write_text(yaml.safe_dump({"name": "features", "kind": "forest"}))
    content = {**read_yaml("config/config.yaml"), "models": [str(tmp_path / "m.yaml")]}
    with pytest.raises(ConfigError, match="'features' is a catalogue of skymill's own"):
        Chain.from_config(content)


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
