"""The same tiles from one machine, from a queue of jobs, from a Dask cluster over TLS, from two invocations at once."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from snakemake_run import HEADER, REPOSITORY, command, environment, pool_digests, run
from survey_files import edit_yaml, write_survey
from tls_cluster import TlsCluster

from skymill.store import verify

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]

QUEUE = REPOSITORY / "tests" / "helpers" / "job_queue.py"
needs_plugin = pytest.mark.skipif(
    importlib.util.find_spec("snakemake_executor_plugin_cluster_generic") is None,
    reason="needs snakemake-executor-plugin-cluster-generic",
)


def survey(folder: Path, **compute: str) -> Path:
    """A small survey, with its own node-local scratch."""
    write_survey(folder)
    (folder / "scratch").mkdir()
    settings = {"memory_per_worker": "2GB", "scratch": str(folder / "scratch")}
    edit_yaml(folder / "config.yaml", compute=settings | compute)
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The pool of an undisturbed run on this machine."""
    folder = survey(tmp_path_factory.mktemp("plain") / "survey")
    run(folder)
    assert not list((folder / "scratch").iterdir())
    return pool_digests(folder)


def through_queue(folder: Path) -> list[str]:
    """Arguments of a run that submits its jobs: the profile for Slurm, with a queue in Slurm's place."""
    queue = folder / "queue"
    queue.mkdir()
    return [
        *("--profile", str(REPOSITORY / "profiles" / "slurm"), "--executor", "cluster-generic", "--jobs", "6"),
        *("--cluster-generic-submit-cmd", f"{sys.executable} {QUEUE} {queue}", "--max-threads", "2"),
    ]


@needs_plugin
def test_the_chain_runs_through_a_queue_of_cluster_jobs(plain, tmp_path: Path) -> None:
    folder = survey(tmp_path / "survey")
    outcome = run(folder, *through_queue(folder))
    assert pool_digests(folder) == plain and verify(folder / "results").ok
    jobs = {log.stem for log in (folder / "queue").glob("*.log")}
    assert len(jobs) == sum(outcome.jobs.values()) > 10
    assert all(len((folder / "queue" / f"slot{number}").read_text().split()) > 2 for number in range(2))
    assert not list((folder / "scratch").iterdir())
    assert not run(folder).jobs


@needs_plugin
def test_submitted_jobs_go_on_when_snakemake_is_killed(plain, tmp_path: Path) -> None:
    """As on a cluster: only the snakemake on the node is their ancestor."""
    folder = survey(tmp_path / "survey")
    arguments = command(folder, *through_queue(folder))
    with (folder / "run.log").open("wb") as log:
        submitter = subprocess.Popen(arguments, env=environment(), stdout=log, stderr=log)
    plan = folder / "results" / "tiling" / "plan.json"
    while not any(folder.glob("queue/*.log")):
        assert submitter.poll() is None, (folder / "run.log").read_text()
        time.sleep(0.05)
    submitter.kill()
    submitter.wait()
    [log] = folder.glob("queue/*.log")
    deadline = time.monotonic() + 300
    while not plan.exists():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    while any(_in(process, folder) for process in psutil.process_iter()):
        time.sleep(0.2)
    outcome = run(folder)
    assert "tiling_plan" not in outcome.jobs
    assert pool_digests(folder) == plain


def _in(process: psutil.Process, folder: Path) -> bool:
    try:
        return str(folder) in " ".join(process.cmdline())
    except psutil.Error:
        return False


def test_jobs_that_join_a_cluster_over_tls_write_the_same(plain, tmp_path: Path) -> None:
    """One job after the other attaches to two workers that it did not start."""
    with TlsCluster(tmp_path / "cluster", workers=2) as cluster:
        folder = survey(tmp_path / "survey", scheduler=cluster.address)
        done = subprocess.run(
            command(folder), env=environment() | cluster.environment, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        assert cluster.busy_workers() == 2
    assert pool_digests(folder) == plain and verify(folder / "results").ok


def test_two_invocations_over_different_groups_both_finish(plain, tmp_path: Path) -> None:
    folder = survey(tmp_path / "survey")
    run(folder, "results/tiling/plan.json")
    told = run(folder, "-n").text
    groups = sorted(set(re.findall(r"results/catalogues/features/groups/\w+/\w+\.json", told)))
    assert len(groups) == 2
    both = [
        subprocess.Popen(
            command(folder, group), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for group in groups
    ]
    told = [process.communicate(timeout=600)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert all(HEADER.findall(text).count("features_compute") == 1 for text in told)
    assert set(pool_digests(folder).items()) < set(plain.items())
    run(folder)
    assert pool_digests(folder) == plain and verify(folder / "results").ok
