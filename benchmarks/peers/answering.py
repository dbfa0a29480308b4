"""The end of a side's pipe: jobs come in as lines of JSON, answers go out the same way. Needs no package."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any


def answer(job: Callable[..., dict[str, Any]], ready: dict[str, Any]) -> None:
    """Say that all stands, then do one job after the other until the pipe closes, and tell this process's CPU for each.

    What libraries print goes to standard error, so that the answers stand alone.
    """
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps(ready), file=replies, flush=True)
    for line in sys.stdin:
        before = time.process_time()
        found = job(**json.loads(line))
        print(json.dumps({**found, "own_cpu_s": time.process_time() - before}), file=replies, flush=True)


def ids_digest(identifiers: Any) -> str:
    """Give a digest of ids (numpy, int64), whatever their order."""
    return hashlib.sha256(sorted_bytes(identifiers)).hexdigest()


def sorted_bytes(identifiers: Any) -> bytes:
    """Give the bytes of sorted ids."""
    found = identifiers.astype("<i8")
    found.sort()
    return bytes(found.tobytes())
