"""Processes in which the k-th call that changes a file goes wrong."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path += [str(HERE), str(HERE.parent / "compute")]  # modules that worker processes import too


@dataclass(frozen=True)
class Fault:
    """What happens to a call: the process ends there (no `error`), or it fails; `lasting`: so do those after it."""

    name: str
    error: int = 0
    lasting: bool = False


KILL = Fault("kill")
ERRORS = (
    Fault("disk full", errno.ENOSPC, lasting=True),
    Fault("input/output error", errno.EIO),
    Fault("too many open files", errno.EMFILE, lasting=True),
    Fault("read-only", errno.EROFS, lasting=True),
)


@dataclass(frozen=True)
class Ending:
    """How a deed ended: `killed`, or with the words of an `error`, or well; and the calls it made until then."""

    killed: bool
    error: str
    calls: tuple[str, ...]


class FaultyProcess:
    """A process with `calls.c` before libc; it forks one child for each deed, so that imports are paid once."""

    def __init__(self, library: Path, log: Path) -> None:
        self._log = log
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "forks.py"), str(library)],
            env={**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(
        self,
        deed: str,
        root: Path,
        fault: Fault = KILL,
        at: int = 0,
        *,
        of: str = "commits",
        after: float | None = None,
        **more: str,
    ) -> Ending:
        """Do a deed of a module in `root`, with a fault at call number `at` (0: none), or a kill `after` seconds."""
        self._log.write_text("")
        request = {"module": of, "deed": deed, "root": str(root), "more": more, "log": str(self._log), "at": at}
        request |= {"error": fault.error, "lasting": fault.lasting, "after": after}
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return Ending(answer["killed"], answer["error"], tuple(self._log.read_text().splitlines()))

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def contents(root: Path) -> dict[str, bytes]:
    """What stands under final names: bytes of files, targets of links."""
    paths = [path for path in root.rglob("*") if ".staging" not in path.parts]
    return {
        str(path.relative_to(root)): bytes(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in paths
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where there is one: thousands of fsyncs would keep a disk busy and the tests waiting."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path_factory.mktemp("faults")
        return
    with tempfile.TemporaryDirectory(prefix="skymill-faults-", dir=shared) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyProcess]:
    """A process whose calls can be made to fail."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler (cc) to stand between a process and its files")
    folder = tmp_path_factory.mktemp("calls")
    library = folder / "calls.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "calls.c", "-ldl"], check=True)
    process = FaultyProcess(library, folder / "log")
    yield process
    process.close()
