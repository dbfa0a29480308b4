"""`snakemake release --config release=DR2`: what a scheduled run publishes, and what it leaves for programs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import changes
import pytest
from snakemake_run import Checkout, Outcome, run
from survey_files import edit_yaml, write_yaml
from typer.testing import CliRunner

from skymill.cli.chain import with_release_named
from skymill.cli.main import app
from skymill.config import ConfigError
from skymill.release import Releases, verify_release

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

NOTE = "import os, sys; print(os.environ['SKYMILL_RELEASE'], os.environ['SKYMILL_STATUS'], file=open('told', 'a'))"


def _publish(folder: Path, code: Checkout, name: str, *words: str) -> Outcome:
    return run(folder, "release", "--config", f"release={name}", *words, checkout=code, check=False)


def _summary(folder: Path) -> dict:
    return json.loads((folder / "results" / "release" / "summary.json").read_text())


def test_a_name_is_asked_for(folder, code):
    outcome = run(folder, "release", checkout=code, check=False)
    assert outcome.returncode == 1
    assert "say `snakemake release --config release=DR2`" in outcome.text


def test_scheduled_releases_from_the_first_to_a_failure(folder, code):
    """Published; nothing new; refused by the gate; failed on the way; mended, and new sky published."""
    notify = [sys.executable, "-c", NOTE]
    edit_yaml(folder / "config.yaml", release={"notify": notify, "gate": {"flip_rate": 0.0}})
    first = _publish(folder, code, "DR1")
    assert (first.returncode, first.jobs) == (0, {"release_publish": 1})
    assert _summary(folder)["status"] == "published"
    assert _summary(folder)["catalogues"].keys() == {"sources", "features", "forest", "mlp"}

    second = _publish(folder, code, "2026-11-26")
    assert (second.returncode, _summary(folder)["status"], _summary(folder)["current"]) == (0, "unchanged", "DR1")
    assert _publish(folder, code, "DR1").jobs == {}

    changes.model(folder)
    refused = _publish(folder, code, "DR2")
    assert refused.returncode == 1
    assert _summary(folder)["status"] == "refused"
    [rule] = _summary(folder)["rules"]
    assert (rule["rule"], rule["catalogue"], rule["kept"]) == ("flip_rate", "forest", False)
    assert "the gate refuses" in refused.text

    told = CliRunner().invoke(app, ["release", "status", "DR2", "--run", str(folder / "results")])
    assert (told.exit_code, "forest: flip_rate is" in told.stdout) == (4, True)

    edit_yaml(folder / "mlp.yaml", parity={"max_probability_difference": 1e-30})
    failed = _publish(folder, code, "DR2")
    assert (failed.returncode, _summary(folder)["status"]) == (1, "failed")

    releases = Releases(folder / "results")
    assert (releases.names(), releases.current) == (["DR1"], "DR1")

    for name, keys in (("forest", {"trees": 10, "max_depth": 6}), ("mlp", {"members": 1, "epochs": 3})):
        write_yaml(folder / f"{name}.yaml", {"name": name, "kind": name, "settings": keys})
    changes.input_file(folder)  # measures its old sources anew, so that classes flip
    edit_yaml(folder / "config.yaml", release={"notify": notify, "gate": {"flip_rate": 0.5}})
    new_sky = _publish(folder, code, "DR2")
    assert (new_sky.returncode, _summary(folder)["status"]) == (0, "published"), new_sky.text[-3000:]
    assert new_sky.jobs["tiling_plan"] == new_sky.jobs["release_publish"] == 1
    assert new_sky.jobs["training_fit"] == 0
    assert (
        releases.read("DR2")["catalogues"]["mlp"]["n_rows"] == releases.read("DR1")["catalogues"]["mlp"]["n_rows"] + 100
    )
    assert verify_release(folder / "results", "DR1").ok
    assert (folder / "told").read_text().splitlines() == [
        "DR1 published",
        "2026-11-26 unchanged",
        "DR2 refused",
        "DR2 failed",
        "DR2 published",
    ]


@pytest.mark.parametrize("named", [2026.1, 7, True])
def test_a_name_that_became_a_number_is_refused(named):
    """Snakemake reads `2026.10` as a number and would name the release 2026.1."""
    with pytest.raises(ConfigError, match="expected a name"):
        with_release_named({"release": named}, [])


def test_a_name_keeps_the_section_of_all_files(tmp_path):
    """Files are put together as Snakemake does, key by key."""
    write_yaml(tmp_path / "one.yaml", {"release": {"gate": {"ece": 0.1, "flip_rate": 0.2}}})
    write_yaml(tmp_path / "two.yaml", {"release": {"gate": {"ece": 0.3}}})
    found = with_release_named({"release": "DR1"}, [tmp_path / "one.yaml", tmp_path / "two.yaml"])
    assert found == {"release": {"gate": {"ece": 0.3, "flip_rate": 0.2}, "name": "DR1"}}
