"""Listing files with their sizes and times: one look at each, for there may be 100,000."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from skymill.sky import Tile
from skymill.survey.readers.base import TableFile


def walk(folder: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Give the files below a folder in a fixed order, with their names relative to it.

    Hidden files and metadata, whose names begin with `.` or `_`, are passed over.
    """
    prefix = len(os.fspath(folder)) + 1
    for entry in _entries(folder):
        if entry.name.endswith(suffixes):
            yield entry.path[prefix:], entry


def found(name: str, entry: os.DirEntry[str] | Path, tile: Tile | None = None) -> TableFile:
    """Note a file's size and time of change."""
    stat = entry.stat()
    return TableFile(name, os.fspath(entry), stat.st_size, stat.st_mtime_ns, tile)


def _entries(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith((".", "_")):
            continue
        if entry.is_dir():
            yield from _entries(entry.path)
        else:
            yield entry
