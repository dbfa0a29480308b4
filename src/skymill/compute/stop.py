"""Turn SIGINT and SIGTERM into one clean stop."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from skymill.compute.tasks import Stopped

logger = logging.getLogger(__name__)

STOPPING = (signal.SIGINT, signal.SIGTERM)


class _Hold:
    """Whether a stop has to wait, and the signal that waits."""

    held = False
    waiting: int | None = None


@contextmanager
def stop_on_signals(describe: str) -> Iterator[None]:
    """Raise `Stopped` at the first signal; further ones change nothing while the block is being left.

    Only the main thread may handle signals: elsewhere nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        for each in STOPPING:
            signal.signal(each, signal.SIG_IGN)
        logger.warning(
            "%s: stopped by %s; what is finished is kept, run again to go on", describe, signal.Signals(number).name
        )
        if _Hold.held:
            _Hold.waiting = number
            return
        raise Stopped(128 + number)

    before = {each: signal.signal(each, stop) for each in STOPPING}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def stops_held() -> Iterator[None]:
    """Let a stop wait until the block has ended: raised in the midst of Dask's start, it leaves tracebacks behind."""
    _Hold.held = True
    try:
        yield
    finally:
        _Hold.held = False
    if _Hold.waiting is not None:
        number, _Hold.waiting = _Hold.waiting, None
        raise Stopped(128 + number)
