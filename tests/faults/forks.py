"""`forks.py LIBRARY`: read deeds from stdin, do each in a child of its own under a fault, and say how it ended."""

from __future__ import annotations

import ctypes
import functools
import importlib
import json
import os
import select
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def main(library: str) -> None:
    """Answer every line with one line."""
    calls = ctypes.CDLL(library)
    for line in sys.stdin:
        request = json.loads(line)
        _rehearsed(request["module"])
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _do(request, calls, writing)
        os.close(writing)
        with os.fdopen(reading) as words:
            if request["after"] is not None and not select.select([words], [], [], request["after"])[0]:
                os.kill(child, signal.SIGKILL)
            error = words.read()
        _, status = os.waitpid(child, 0)
        print(json.dumps({"killed": os.WIFSIGNALED(status), "error": error}), flush=True)


@functools.cache
def _rehearsed(name: str) -> ModuleType:
    """Import a module of deeds and do them once."""
    module = importlib.import_module(name)
    module.rehearse()
    return module


def _do(request: dict[str, Any], calls: ctypes.CDLL, answer: int) -> None:
    """Do the deed and end this process, whatever comes."""
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND)
    calls.calls_arm(request["root"].encode(), log, request["at"], request["error"], request["lasting"])
    try:
        getattr(_rehearsed(request["module"]), request["deed"])(Path(request["root"]), **request["more"])
    except BaseException as error:
        os.write(answer, f"{type(error).__name__}: {error}".encode())
    finally:
        os._exit(0)


main(sys.argv[1])
