"""What a process and all below it take: CPU and memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil


def family_cpu_s(process: psutil.Process | None = None) -> float:
    """CPU time of a process (this one), of those below it, and of those below it that have ended."""
    process, seconds = process or psutil.Process(), 0.0
    for member in (process, *process.children(recursive=True)):
        with suppress(psutil.Error):  # it has just ended, and its parent now counts it
            seconds += sum(member.cpu_times()[:4])
    return seconds


def family_MB(process: psutil.Process | None = None) -> float:
    """Memory of a process (this one) and of those below it now, shared pages counted once (PSS)."""
    process, total = process or psutil.Process(), 0
    for member in (process, *process.children(recursive=True)):
        with suppress(psutil.Error):
            total += member.memory_full_info().pss
    return total / 1e6


@contextmanager
def peak_memory(process: psutil.Process | None = None, *, every_s: float) -> Iterator[list[float]]:
    """Give the most memory (MB) that a process and all below it had at one time within the block, at its end."""
    peak, stop = [0.0], threading.Event()

    def sample() -> None:
        while not stop.wait(every_s):
            peak[0] = max(peak[0], family_MB(process))

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        yield peak
    finally:
        stop.set()
        sampler.join()
    peak[0] = max(peak[0], family_MB(process))
