"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from skymill.config import ComputeSettings

REPOSITORY = Path(__file__).resolve().parents[1]

# How long drawing an example takes says more about what else the machine does than about the test.
settings.register_profile("skymill", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("skymill")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real test data, which is not part of the repository."""
    folder = Path(os.environ.get("SKYMILL_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}; set SKYMILL_TEST_DATA to the folder that holds catalogues/ and images/")
    return folder


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The address of a scheduler with two workers: starting one for each call would take most of the time."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as running:
        yield running.scheduler_address


@pytest.fixture(scope="session")
def compute(cluster: str) -> ComputeSettings:
    return ComputeSettings(scheduler=cluster)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Add up what the tests of faults have counted (`record_property`), also across processes."""
    counts: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        if report.when == "call":
            counts.update(dict(report.user_properties))
    if counts:
        terminalreporter.section("faults")
    for name, number in counts.items():
        terminalreporter.line(f"{number:9,}  {name}")


HALF = """
import os, sys
from pathlib import Path
from skymill.store.durable import staged
staging = Path(sys.argv[1])
with staged(staging.parent / "tile.zarr.zip", staging=staging) as file:
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def leave() -> Callable[[Path], Path]:
    """Kill a process that writes to a staging folder, and give what it leaves there."""

    def leave(staging: Path) -> Path:
        subprocess.run([sys.executable, "-c", HALF, str(staging)], check=False)
        [left] = staging.iterdir()
        return left

    return leave


class RangeHandler(SimpleHTTPRequestHandler):
    """A static file server that answers Range, as all but Python's own do."""

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        """Answer with the file or the part asked for."""
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        size = path.stat().st_size
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        stop = min(int(wanted[2]) + 1 if wanted and wanted[2] else size, size)
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        with path.open("rb") as file:
            file.seek(start)
            self.wfile.write(file.read(stop - start))


class PlainHandler(SimpleHTTPRequestHandler):
    """Python's own server, which ignores Range."""

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[..., str]]:
    """Serve a folder and give its URL."""
    servers = []

    def start(folder: Path, *, ranges: bool = True) -> str:
        handler = partial(RangeHandler if ranges else PlainHandler, directory=str(folder))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
