"""A run on a cluster that somebody else started."""

from __future__ import annotations

import time
from pathlib import Path

import dask
import distributed
import pytest
from deeds import do
from tls_cluster import TlsCluster

from skymill.compute import ComputeError, Task, cluster, run_tasks
from skymill.config import ComputeSettings

IN_THIS_PROCESS = {"processes": False, "protocol": "tcp://", "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}


def test_joined_cluster_does_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers that somebody else started, behind TLS."""
    tasks = [Task(f"t{number}", 1, ("square", str(tmp_path), number)) for number in range(20)]
    tasks.insert(7, Task("killer", 1, ("kill", str(tmp_path), 0)))
    tasks.append(Task("where", 1, ("where", str(tmp_path), 0)))
    monkeypatch.chdir(tmp_path)  # as for a run, whose paths may be relative
    with TlsCluster(tmp_path / "cluster", workers=2) as running, dask.config.set(running.settings):
        assert running.address.startswith("tls://127.0.0.1:")
        settings = ComputeSettings(scheduler=running.address)
        found = run_tasks(do, tasks, workers=2, settings=settings, describe="joined")
    assert found.results == {f"t{number}": number**2 for number in range(20)} | {"where": str(tmp_path)}
    assert found.failures["killer"].startswith("killed its worker 3 times")


def test_certificates_that_lack_are_asked_for() -> None:
    settings = ComputeSettings(scheduler="tls://127.0.0.1:9")
    with pytest.raises(ComputeError, match=r"tls://127\.0\.0\.1:9 needs certificates, found none; set DASK_"):
        run_tasks(do, [Task("a", 1, None)], workers=1, settings=settings, describe="joined")


def test_workers_with_threads_are_refused() -> None:
    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, **IN_THIS_PROCESS) as threaded:
        settings = ComputeSettings(scheduler=threaded.scheduler_address)
        with pytest.raises(ComputeError, match="2 threads; start workers with --nthreads 1"):
            run_tasks(str, [Task("a", 1, None)], workers=1, settings=settings, describe="joined")


def test_a_cluster_that_gets_no_worker_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skymill.compute.runner.WAIT_FOR_WORKERS_S", 0.5)
    with distributed.LocalCluster(n_workers=0, **IN_THIS_PROCESS) as empty:
        settings = ComputeSettings(scheduler=empty.scheduler_address)
        with pytest.raises(ComputeError, match=r"joined: no Dask worker for 0\.5 s; start workers and run again"):
            run_tasks(str, [Task("a", 1, None)], workers=1, settings=settings, describe="joined")


def test_a_scheduler_that_goes_away_ends_the_run() -> None:
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, **IN_THIS_PROCESS) as lost:
        settings = ComputeSettings(scheduler=lost.scheduler_address)
        tasks = [Task("first", 9, 0.0), Task("second", 1, 3.0)]
        with pytest.raises(ComputeError, match="joined: lost the Dask scheduler; run again, what is finished is kept"):
            run_tasks(
                time.sleep, tasks, workers=1, settings=settings, describe="joined", on_result=lambda *_: lost.close()
            )


def test_absent_scheduler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    settings = ComputeSettings(scheduler="tcp://127.0.0.1:9")
    with pytest.raises(ComputeError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        run_tasks(do, [Task("a", 1, None)], workers=1, settings=settings, describe="joined")
