"""`skymill gc` on a finished run: what the configuration asks for stays, and jobs wait while it is at it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from snakemake_run import command, environment
from typer.testing import CliRunner

from skymill.cli.main import app
from skymill.cli.operating.status import read_status
from skymill.compute import alone
from skymill.release import verify

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
GC = ("gc", "--configfile", "config.yaml", "--older-than", "0")


def gc(*options: str) -> dict:
    done = CliRunner().invoke(app, [*GC, "--json", *options])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def leave_garbage(results: Path) -> set[Path]:
    """Leave what former settings would have left, as copies of what stands there."""
    mlp = results / "catalogues" / "mlp"
    [groups], [version] = mlp.glob("groups/*"), mlp.glob("versions/*")
    places = ("training/mlp/[!.]*", "training/sets/*.parquet", "models/mlp/*.onnx")
    [fit], [training_set], [onnx] = (sorted(results.glob(place)) for place in places)
    tile = next(mlp.glob("tiles/*/*/*/*.zarr.zip"))
    left = {path: path.with_name(f"{'0' * 12}{path.suffix}") for path in (groups, version, fit, training_set, onnx)}
    for path, copy in {**left, tile: tile.with_name(f"{'0' * 12}.zarr.zip")}.items():
        (shutil.copytree if path.is_dir() else shutil.copy)(path, copy)
    return {*left.values(), tile.with_name(f"{'0' * 12}.zarr.zip")}


def test_of_a_finished_run_only_garbage_goes(folder, workflow):
    assert gc()["n_bytes"] == 0
    garbage = leave_garbage(folder / "results")
    assert gc()["n_bytes"] > 0 and all(path.exists() for path in garbage)
    told = CliRunner().invoke(app, [*GC])
    assert "mlp" in told.stdout and "stays: current" in told.stdout and "say --yes" in told.stdout
    assert gc("--yes")["done"] and not any(path.exists() for path in garbage)
    assert read_status(workflow()).is_done and verify(folder / "results").ok
    assert gc("--yes")["n_bytes"] == 0


def test_what_is_not_made_yet_keeps_what_is_there(folder):
    """Snakemake deletes what a checkpoint declares before it starts it."""
    leave_garbage(folder / "results")
    for name in ("training/set.json", "models/mlp/manifest.json"):
        (folder / "results" / name).unlink()
    told = gc()
    assert told["catalogues"]["mlp"]["groups"]["deleted"] == told["learned"]["fits"]["deleted"] == []
    (folder / "results/tiling/plan.json").unlink()
    assert all(of["groups"]["deleted"] == [] for of in gc()["catalogues"].values())


def test_a_job_that_starts_while_garbage_is_collected_waits(folder, code):
    seal, log = folder / "results/catalogues/sources/seal.json", folder / "results/logs/release_seal/sources.log"
    seal.unlink()
    started = command(folder, str(seal.relative_to(folder)), checkout=code)
    with alone(folder / "results"):
        snakemake = subprocess.Popen(started, env=environment(code))
        while "waiting for process" not in (log.read_text() if log.exists() else ""):
            assert snakemake.poll() is None
            time.sleep(0.05)
        assert not seal.exists()
    assert snakemake.wait(timeout=300) == 0 and seal.exists()
