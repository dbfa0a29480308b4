"""Who holds a lock is told, also by one who has not yet written its name."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest

from skymill.compute.lock import GroupLockedError, group_lock


def test_the_name_of_who_has_just_locked_is_waited_for(tmp_path: Path) -> None:
    with (tmp_path / "all.lock").open("a") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)

        def write() -> None:
            holder.write("process 12345 on a.node\n")
            holder.flush()

        threading.Timer(0.2, write).start()
        with (
            pytest.raises(GroupLockedError, match=r"computed by process 12345 on a\.node;"),
            group_lock(tmp_path / "all.lock"),
        ):
            pass
