"""What the user sees of a run."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from skymill.compute.progress import ProgressLog, Tally


def test_log_has_a_last_line_with_all_counts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with ProgressLog("sorting o1p7", 3000, "rows") as progress:
        progress.advance(1000)
        progress.advance(2000, failed=True)
    [message] = caplog.messages
    assert message.startswith("sorting o1p7: 3,000/3,000 rows (100 %) in ")
    assert message.endswith(" rows/s, 1 failed")


def test_log_has_no_last_line_after_an_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(ValueError, match="broken"), ProgressLog("sorting", 10, "rows"):
        raise ValueError("broken")
    assert not caplog.messages


def test_log_has_a_line_for_each_tenth_of_a_slow_run(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with ProgressLog("sorting", 100, "rows") as progress:
        for _ in range(100):
            now += 0.5
            progress.advance(1)
    assert len(caplog.messages) == 10
    assert caplog.messages[0] == "sorting: 10/100 rows (10 %) in 5.0 s, 2 rows/s, 45 s left"


def test_nothing_to_do_is_all_done() -> None:
    assert Tally(0).fraction == 1


def test_terminal_shows_a_bar() -> None:
    """On a pseudo-terminal, in a process of its own."""
    program = (
        "from skymill.compute.progress import open_progress\n"
        "with open_progress('sorting', 3000, 'rows') as progress:\n"
        "    progress.advance(3000)\n"
    )
    ours, theirs = os.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen([sys.executable, "-c", program], stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 1024)
        except OSError:  # Linux says so when the other end is closed
            break
    assert process.wait() == 0
    assert "sorting" in shown.decode()
    assert "3,000/3,000 rows" in shown.decode()
    assert "rows/s" in shown.decode()
