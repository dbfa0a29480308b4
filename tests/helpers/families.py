"""Find the processes of one run by a marker in their environment, whoever their parents are.

Processes come and go while they are looked at: one that has ended belongs to no family and has no command line.
"""

from __future__ import annotations

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


def _carries(process: psutil.Process, marker: str) -> bool:
    try:
        return process.environ().get(MARKER) == marker and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
