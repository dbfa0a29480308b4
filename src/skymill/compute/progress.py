"""How far a run is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import Self

logger = logging.getLogger(__name__)

LINE_EVERY_S = 10.0
LINE_EVERY_FRACTION = 0.1
SHORTEST_S = 1.0


class ProgressBar:
    """Progress on a terminal, with rich.

    Parameters
    ----------
    describe : str
        What is done, a few words.
    total : int
        All the work, in `unit`.
    unit : str
        Plural noun, e.g. `rows`.
    """

    def __init__(self, describe: str, total: int, unit: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(f"{{task.completed:,}}/{{task.total:,}} {unit}"),
            TextColumn(f"{{task.fields[rate]:,.0f}} {unit}/s"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[failed]}", style="red"),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task(describe, total=total, rate=0.0, failed="")
        self._tally = Tally(total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def advance(self, weight: int, *, failed: bool = False) -> None:
        """Count one finished task of `weight`."""
        self._tally.add(weight, failed=failed)
        text = f"{self._tally.failed} failed" if self._tally.failed else ""
        self._progress.update(self._task, advance=weight, rate=self._tally.rate, failed=text)


class ProgressLog:
    """Progress in a log, a line every ten seconds or ten per cent and one at the end; parameters as `ProgressBar`."""

    def __init__(self, describe: str, total: int, unit: str) -> None:
        self._describe, self._unit = describe, unit
        self._tally = Tally(total)
        self._last_time, self._last_fraction = self._tally.start, -1.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._last_fraction < self._tally.fraction:
            self._line()

    def advance(self, weight: int, *, failed: bool = False) -> None:
        """Count one finished task of `weight`."""
        self._tally.add(weight, failed=failed)
        elapsed = time.monotonic() - self._last_time
        step = self._tally.fraction - max(self._last_fraction, 0.0)
        if elapsed >= LINE_EVERY_S or (step >= LINE_EVERY_FRACTION and elapsed >= SHORTEST_S):
            self._line()

    def _line(self) -> None:
        tally = self._tally
        self._last_time, self._last_fraction = time.monotonic(), tally.fraction
        left = f", {tally.seconds_left:,.0f} s left" if tally.done < tally.total else ""
        failed = f", {tally.failed} failed" if tally.failed else ""
        logger.info(
            "%s: %s/%s %s (%.0f %%) in %.1f s, %s %s/s%s%s",
            self._describe, f"{tally.done:,}", f"{tally.total:,}", self._unit, 100 * tally.fraction,
            time.monotonic() - tally.start, f"{tally.rate:,.0f}", self._unit, left, failed,
        )  # fmt: skip


class Tally:
    """Work done so far and how fast it went."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.failed = total, 0, 0
        self.start = time.monotonic()

    def add(self, weight: int, *, failed: bool) -> None:
        """Count one finished task."""
        self.done += weight
        self.failed += failed

    @property
    def fraction(self) -> float:
        """Share of the work that is done; 1 where there is none."""
        return self.done / self.total if self.total else 1.0

    @property
    def rate(self) -> float:
        """Work per second since the start."""
        return self.done / max(time.monotonic() - self.start, 1e-6)

    @property
    def seconds_left(self) -> float:
        """Time left at the rate so far; infinite before anything is done."""
        return (self.total - self.done) / self.rate if self.done else float("inf")


def open_progress(describe: str, total: int, unit: str) -> ProgressBar | ProgressLog:
    """Choose the bar on a terminal, the log elsewhere."""
    return (ProgressBar if sys.stderr.isatty() else ProgressLog)(describe, total, unit)
