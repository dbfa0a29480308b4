"""No orphans: a process ends when those it works for are gone.

`die_with_parent` is for workers, `guard_ancestors` for the scripts that Snakemake starts. On Linux the kernel does the
first one's work; a watching thread does the rest, and everything on macOS.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

POLL_S = 0.25
GRACE_S = 2.0
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def die_with_parent() -> None:
    """Kill this process as soon as its parent has ended, whatever it is doing then."""
    parent = os.getppid()
    signal_parents_death()
    threading.Thread(target=_watch_parent, args=(parent,), name="skymill-parent", daemon=True).start()


def signal_parents_death() -> None:
    """Have the Linux kernel kill this process with its parent, even where no Python code gets to run any more."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os.kill(os.getpid(), signal.SIGKILL)


def guard_ancestors() -> None:
    """End this process and its children about a second after Snakemake, or a process between it and us, has vanished.

    For scripts that Snakemake starts; one that is run by hand has nobody to guard. Only our own part of the process
    group is ended, since the group also holds whoever started Snakemake.

    Raises
    ------
    SystemExit
        If Snakemake has vanished already, while the script was being started.
    """
    import psutil

    ancestors = psutil.Process().parents()
    above = [i for i, process in enumerate(ancestors) if _is_snakemake(process)]
    if not above:
        raise SystemExit(
            "expected Snakemake among the ancestors of this process, found none: it has ended, so nothing is done (in "
            "a container, share the process ids of the host)"
        )
    chain = ancestors[: above[-1] + 1]
    threading.Thread(target=_watch_chain, args=(chain,), name="skymill-ancestors", daemon=True).start()


def _is_snakemake(process: Any) -> bool:
    """Whether the command is `snakemake`, `python .../bin/snakemake` or `python -m snakemake`."""
    import psutil

    try:
        return "snakemake" in (Path(word).name for word in process.cmdline()[:3])
    except psutil.Error:
        return False


def _watch_chain(chain: list[Any]) -> None:
    while all(_alive(process) for process in chain):
        time.sleep(POLL_S)
    _end_family()


def _alive(process: Any) -> bool:
    """Whether `process` still runs; one that is dead but not yet collected by its parent does not."""
    import psutil

    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _end_family() -> None:
    """Kill the children, then ask this process to end (which removes its scratch folder), then insist."""
    _kill_children()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    _kill_children()
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_children() -> None:
    import psutil

    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
