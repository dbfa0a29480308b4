"""Find the processes of one run by a marker in their environment, whoever their parents are.

Processes come and go while they are looked at: one that has ended belongs to no family and has no command line.
"""

from __future__ import annotations

import time

import psutil

MARKER = "SKYMILL_TEST_RUN"
"""Name of the environment variable; its value names the run."""


def family(marker: str) -> list[psutil.Process]:
    """Every live process that was started with `marker`."""
    return [process for process in psutil.process_iter() if _carries(process, marker)]


def command_line(process: psutil.Process) -> list[str]:
    """The words a process was started with."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def workers(marker: str) -> list[psutil.Process]:
    """Dask's worker processes of a run: the children of a fork server, which they share the command line with."""
    servers = {process.pid for process in family(marker) if "forkserver" in " ".join(command_line(process))}
    return [process for process in family(marker) if process.pid in servers and _parent(process) in servers]


def wait_until_gone(marker: str, *, seconds: float) -> list[psutil.Process]:
    """Wait for a run's processes to end and give those that did not."""
    deadline = time.monotonic() + seconds
    while (left := family(marker)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def _parent(process: psutil.Process) -> int:
    """The parent's number; -1 once the process has ended."""
    try:
        return process.ppid()
    except psutil.Error:
        return -1


def _carries(process: psutil.Process, marker: str) -> bool:
    try:
        return process.environ().get(MARKER) == marker and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
