"""The history of releases: a line for everything that was done, chained, so that none is changed or lost unseen."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from skymill.store import StoreError, digest
from skymill.store.document import CHECKSUM
from skymill.store.durable import write_bytes
from skymill.store.trouble import explained

END = {"action": "end"}
"""The last line, without which one could not tell that lines before it are lost."""
MEND = "restore it from a backup, or move it away: the next command that changes releases begins a new one"


def read_history(path: Path) -> list[dict[str, Any]]:
    """Read what was done, oldest first; nothing where there is no such file.

    Raises
    ------
    StoreError
        If it is not as it was written: with the number of the first wrong line.
    TroubleError
        If the disk refuses.
    """
    if not path.is_file():
        return []
    with explained(path, "reading"):
        texts = path.read_bytes().splitlines(keepends=True)
    lines = [_parsed(text) for text in texts]
    wrong = (number for number, pair in enumerate(zip(texts, _chained(lines)), start=1) if pair[0] != pair[1])
    if (number := next(wrong, None)) is not None:
        raise StoreError(f"{path}: line {number} is not as it was written; {MEND}")
    if lines[-1:] != [END]:
        raise StoreError(f"{path}: expected a last line that says 'end', found none: lines are lost; {MEND}")
    return lines[:-1]


def write_history(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write all lines, whole or not at all; each ends with a digest of itself and of that of the line before."""
    write_bytes(path, b"".join(_chained([*lines, END])))


def _chained(lines: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    before = ""
    for line in lines:
        before = digest({**line, "before": before})
        yield json.dumps({**line, CHECKSUM: before}).encode() + b"\n"


def _parsed(text: bytes) -> dict[str, Any]:
    """Read what a line says; nothing where it is no JSON object any more."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return {name: value for name, value in line.items() if name != CHECKSUM} if isinstance(line, dict) else {}
