"""Two programs in two environments, given the same jobs in turn and measured in the same way.

A side is a process of its own, with its workers below it, that stands before anything is timed. Seconds by the clock,
CPU of the whole family of processes, its peak memory (PSS: shared pages counted once) and bytes on disk are taken from
outside.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from processes import family_cpu_s, peak_memory

FOLDER = Path(__file__).parent
SAMPLE_S = 0.5
VERSIONS = """
import json, platform
from importlib.metadata import distributions
found = {item.metadata["Name"].lower(): item.version for item in distributions()}
print(json.dumps({"python": platform.python_version(), **found}))
"""


class Side:
    """A program of this folder under one interpreter; the environment it stands in is the interpreter's alone."""

    def __init__(self, name: str, python: str | Path, script: str, *arguments: str | Path, own: bool = True) -> None:
        self.name = name
        command = [str(python), *([] if own else ["-E"]), str(FOLDER / script), *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.ready = self._reply()

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def ask(self, **job: Any) -> dict[str, Any]:
        """Have a job done; give its answer and its cost."""
        assert self._process.stdin is not None
        family = psutil.Process(self._process.pid)
        with peak_memory(family, every_s=SAMPLE_S) as peak:
            cpu, clock = family_cpu_s(family), time.perf_counter()
            print(json.dumps(job), file=self._process.stdin, flush=True)
            reply = self._reply()
            cost = {"wall_s": time.perf_counter() - clock, "cpu_s": family_cpu_s(family) - cpu}
        return {**reply, **cost, "peak_MB": peak[0]}

    def cpu_s(self) -> float:
        """CPU time of its family so far."""
        return family_cpu_s(psutil.Process(self._process.pid))

    def _reply(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: ended with status {self._process.wait()}; what it said stands above")
        found: dict[str, Any] = json.loads(line)
        return found


def medians(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Give the median of each number over repeats."""
    found = {key: round(median(run[key] for run in runs), 4) for key, value in runs[0].items() if is_number(value)}
    return {**found, "repeats": len(runs)}


def is_number(value: object) -> bool:
    """Tell numbers from what else an answer holds."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def bytes_below(folder: Path) -> int:
    """Bytes of all files below a folder, links not followed."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def versions(python: str | Path, packages: Sequence[str]) -> dict[str, str]:
    """Give the versions of packages in an interpreter's environment."""
    told = json.loads(subprocess.run([str(python), "-E", "-c", VERSIONS], capture_output=True, check=True).stdout)
    return {name: told[name] for name in ("python", *packages) if name in told}


def machine() -> dict[str, Any]:
    """Name the processor, how many cores of it this process has, and how busy it is."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    load = [round(number, 1) for number in os.getloadavg()]
    return {"cores": len(os.sched_getaffinity(0)), "cpu": models[0] if models else platform.machine(), "load": load}
