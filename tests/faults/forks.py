"""`forks.py LIBRARY`: read deeds from stdin, do each in a child of its own under a fault, and say how it ended."""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

import commits


def main(library: str) -> None:
    """Answer every line with one line."""
    calls = ctypes.CDLL(library)
    commits.rehearse()
    for line in sys.stdin:
        request = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _do(request, calls, writing)
        os.close(writing)
        with os.fdopen(reading) as words:
            error = words.read()
        _, status = os.waitpid(child, 0)
        print(json.dumps({"killed": os.WIFSIGNALED(status), "error": error}), flush=True)


def _do(request: dict[str, Any], calls: ctypes.CDLL, answer: int) -> None:
    """Do the deed and end this process, whatever comes."""
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND)
    calls.calls_arm(request["root"].encode(), log, request["at"], request["error"], request["lasting"])
    try:
        getattr(commits, request["deed"])(Path(request["root"]))
    except BaseException as error:
        os.write(answer, f"{type(error).__name__}: {error}".encode())
    finally:
        os._exit(0)


main(sys.argv[1])
