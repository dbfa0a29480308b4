"""A run on a cluster that somebody else started."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import distributed
import pytest
from deeds import do

from skymill.compute import ComputeError, Task, cluster, run_tasks
from skymill.config import ComputeSettings

HERE = Path(__file__).parent
START_S = 60
IN_THIS_PROCESS = {"processes": False, "protocol": "tcp://", "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, str]:
    """Dask's settings for TLS with a certificate of our own."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=skymill-test"]
        + ["-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    roles = {f"distributed.comm.tls.{role}.{kind}": path for role in ("scheduler", "worker", "client")
             for kind, path in (("key", key), ("cert", certificate))}  # fmt: skip
    return roles | {"distributed.comm.tls.ca-file": certificate}


@pytest.fixture
def address(tmp_path: Path, certificates: dict[str, str]) -> Iterator[str]:
    """Scheduler and one worker on loopback, behind TLS."""
    variables = {f"DASK_{key.upper().replace('.', '__').replace('-', '_')}": path for key, path in certificates.items()}
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | variables | {"PYTHONPATH": path}
    file = tmp_path / "scheduler.json"
    log = (tmp_path / "log").open("wb")
    dask_command = [sys.executable, "-m", "dask"]
    where = ["--host", "tls://127.0.0.1", "--scheduler-file", str(file), "--no-dashboard"]
    scheduler = subprocess.Popen(
        [*dask_command, "scheduler", "--port", "0", *where], env=environment, stdout=log, stderr=log
    )
    try:
        start = time.monotonic()
        while not file.exists() or not file.read_text():
            assert time.monotonic() - start < START_S, (tmp_path / "log").read_text()
            time.sleep(0.05)
        worker = subprocess.Popen(
            [*dask_command, "worker", *where, "--nthreads", "1", "--local-directory", str(tmp_path)],
            env=environment, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield json.loads(file.read_text())["address"]
        finally:
            worker.terminate()
            worker.wait()
    finally:
        scheduler.terminate()
        scheduler.wait()
        log.close()


def test_joined_cluster_does_the_same(tmp_path: Path, address: str, certificates: dict[str, str]) -> None:
    assert address.startswith("tls://127.0.0.1:")
    tasks = [Task(f"t{number}", 1, ("square", str(tmp_path), number)) for number in range(20)]
    tasks.insert(7, Task("killer", 1, ("kill", str(tmp_path), 0)))
    with dask.config.set(certificates):
        found = run_tasks(do, tasks, workers=1, settings=ComputeSettings(scheduler=address), describe="joined")
    assert found.results == {f"t{number}": number**2 for number in range(20)}
    assert found.failures["killer"].startswith("killed its worker 3 times")


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
