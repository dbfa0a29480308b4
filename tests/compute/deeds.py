"""What tasks may do to their worker; each payload is (deed, folder, number)."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from skymill.store.durable import staged

Payload = tuple[str, str, int]


def do(payload: Payload) -> Any:
    """Leave a byte in a file named after the deed and the number, then act."""
    deed, folder, number = payload
    with Path(folder, f"{deed}-{number}").open("ab") as file:
        file.write(b".")
    return globals()[f"_{deed}"](Path(folder), number)


def calls(folder: Path, deed: str, number: int) -> int:
    """How often a task was called."""
    return Path(folder, f"{deed}-{number}").stat().st_size


def _square(folder: Path, number: int) -> int:
    return number**2


def _process(folder: Path, number: int) -> tuple[int, str]:
    return os.getpid(), os.environ["OMP_NUM_THREADS"]


def _where(folder: Path, number: int) -> str:
    return str(Path.cwd())


def _scratch(folder: Path, number: int) -> str:
    from distributed import get_worker

    return str(get_worker().local_directory)


def _name_workers(folder: Path, number: int) -> list[int]:
    """Give the ids of the processes that this one's parent has started and that still live."""
    children = psutil.Process().parent().children()
    return [child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE]


def _sleep(folder: Path, number: int) -> None:
    time.sleep(number)


def _raise(folder: Path, number: int) -> None:
    raise ValueError(f"tile {number} is broken")


def _raise_once(folder: Path, number: int) -> int:
    if calls(folder, "raise_once", number) == 1:
        raise ConnectionError("the file server was away")
    return number


def _exit(folder: Path, number: int) -> None:
    sys.exit(number)


def _return_unpicklable(folder: Path, number: int) -> Any:
    return lambda: number


def _kill(folder: Path, number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_once(folder: Path, number: int) -> int:
    if calls(folder, "kill_once", number) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def _segfault(folder: Path, number: int) -> None:
    ctypes.string_at(0)


def _hang(folder: Path, number: int) -> None:
    ctypes.PyDLL(None).sleep(600)  # PyDLL keeps the interpreter's lock: no Python thread runs meanwhile


def _fill_disk(folder: Path, number: int) -> None:
    """Meet a real write error, with the limit on the file size in the place of the disk's."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    with staged(folder / "tile.zarr.zip") as file:
        file.write(bytes(10_000))


def _out_of_memory(folder: Path, number: int) -> None:
    """Take 20 MB after the other until the worker is ended for it; at most 2 GB."""
    taken = []
    for _ in range(100):
        taken.append(bytearray(20_000_000))
        time.sleep(0.01)
    raise MemoryError("nobody minded")
