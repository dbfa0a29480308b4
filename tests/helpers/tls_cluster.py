"""A Dask scheduler and its workers in processes of their own, on loopback behind TLS."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import pytest

START_S = 120


def certificates(folder: Path) -> dict[str, str]:
    """Dask's settings for TLS, with a certificate of our own."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    key, certificate = str(folder / "key.pem"), str(folder / "certificate.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=skymill-test"]
        + ["-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    roles = {f"distributed.comm.tls.{role}.{kind}": path for role in ("scheduler", "worker", "client")
             for kind, path in (("key", key), ("cert", certificate))}  # fmt: skip
    return roles | {"distributed.comm.tls.ca-file": certificate}


class TlsCluster:
    """Started by `with`.

    Attributes
    ----------
    address : str
    environment : dict
        Variables with which a process may join: names of certificates.
    """

    def __init__(self, folder: Path, *, workers: int, python_path: str | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.workers = folder, workers
        self.settings = certificates(folder)
        self.environment = {
            f"DASK_{key.upper().replace('.', '__').replace('-', '_')}": path for key, path in self.settings.items()
        }
        self._python_path = os.pathsep.join(sys.path) if python_path is None else python_path
        self._processes: list[subprocess.Popen[bytes]] = []
        self.address = ""

    def __enter__(self) -> TlsCluster:
        file = self.folder / "scheduler.json"
        where = ["--host", "tls://127.0.0.1", "--scheduler-file", str(file), "--no-dashboard"]
        try:
            self._start("scheduler", "--port", "0", *where)
            start = time.monotonic()
            while not file.exists() or not file.read_text():
                assert time.monotonic() - start < START_S, self.log()
                time.sleep(0.05)
            for number in range(self.workers):
                scratch = self.folder / f"worker{number}"
                self._start("worker", *where, "--nthreads", "1", "--local-directory", str(scratch))
            self.address = json.loads(file.read_text())["address"]
            return self
        except BaseException:
            self._stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def log(self) -> str:
        """What scheduler and workers said."""
        return "\n".join(path.read_text() for path in self.folder.glob("*.log"))

    def busy_workers(self) -> int:
        """How many workers have run a task."""
        import dask
        from distributed import Client

        with dask.config.set(self.settings), Client(self.address, set_as_default=False) as client:
            return sum(n > 0 for n in client.run(lambda dask_worker: dask_worker.state.executed_count).values())

    def _start(self, *words: str) -> None:
        log = (self.folder / f"{words[0]}{len(self._processes)}.log").open("wb")
        environment = os.environ | self.environment | {"PYTHONPATH": self._python_path, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "dask", *words]
        self._processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))

    def _stop(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
            process.wait()
