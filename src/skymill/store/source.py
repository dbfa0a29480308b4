"""Bytes of a file, here or on a web server, by exact range."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import fsspec

from skymill.store.errors import StoreError
from skymill.store.trouble import explained

logger = logging.getLogger(__name__)


class Source(Protocol):
    """A file that can be read in part."""

    location: str
    distant: bool
    """Whether a request takes so long that neighbours are better fetched together."""

    @property
    def size(self) -> int:
        """Bytes of the file."""

    def read(self, start: int, stop: int) -> bytes:
        """Give bytes `start` to `stop`; fewer if the file ends before."""

    def forget(self) -> None:
        """Let go of bytes that are held; they are read again when they are asked for."""


@dataclass
class LocalSource:
    """A file on a file system."""

    location: str
    distant: bool = False

    @cached_property
    def size(self) -> int:
        """Bytes of the file."""
        return Path(self.location).stat().st_size

    def read(self, start: int, stop: int) -> bytes:
        """Give bytes `start` to `stop`; fewer if the file ends before."""
        with (
            explained(self.location, "reading"),
            open(self.location, "rb", buffering=0) as file,  # noqa: PTH123 (Path.open is twice as slow)
        ):
            file.seek(start)
            return file.read(stop - start)

    def forget(self) -> None:
        """Do nothing: no bytes are held."""


@dataclass
class WebSource:
    """A file on a web server, or anything else that fsspec reads.

    A server that does not know ranges sends the whole file instead; it is then kept until `forget`, and a warning is
    logged.
    """

    location: str
    known_size: int | None = None
    distant: bool = True
    _whole: bytes | None = field(default=None, repr=False)

    @cached_property
    def _files(self) -> fsspec.AbstractFileSystem:
        return fsspec.core.url_to_fs(self.location)[0]

    @cached_property
    def size(self) -> int:
        """Bytes of the file.

        Raises
        ------
        OSError
            If the server does not tell.
        """
        size = self.known_size if self.known_size is not None else self._files.size(self.location)
        if size is None:
            raise OSError(
                f"{self.location}: expected a server that tells Content-Length, found none; download the file"
            )
        return int(size)

    def read(self, start: int, stop: int) -> bytes:
        """Give bytes `start` to `stop`; fewer if the file ends before."""
        stop = min(stop, self.size)
        if self._whole is not None:
            return self._whole[start:stop]
        found: bytes = self._files.cat_file(self.location, start=start, end=stop)
        if len(found) <= stop - start:
            return found
        logger.warning("%s: the server ignores Range, so whole files are downloaded", self.location)
        self._whole = found
        return found[start:stop]

    def forget(self) -> None:
        """Let go of a file that came whole; it would come again."""
        self._whole = None


def is_url(location: str | Path) -> bool:
    """Tell a URL from a path."""
    return "://" in str(location)


def open_source(location: str | Path, *, size: int | None = None) -> Source:
    """Give the bytes behind a path or a URL; `size` spares a request where it is known."""
    text = str(location)
    return WebSource(text, size) if is_url(text) else LocalSource(text)


def read_whole(location: str | Path, *, most: int) -> bytes:
    """Give all bytes of a small file behind a path or a URL.

    Parameters
    ----------
    location : Path or str
    most : int
        Bytes that it may have; a larger file of this machine is not read.

    Raises
    ------
    FileNotFoundError
        If there is none.
    StoreError
        If it is larger.
    """
    if is_url(location):
        content: bytes = fsspec.core.url_to_fs(str(location))[0].cat_file(str(location))
        size = len(content)
    else:
        with explained(location, "reading"), Path(location).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(size if size <= most else 0)
    if size > most:
        raise StoreError(f"{location}: expected a file of at most {most:,} bytes, found {size:,}; do not use it")
    return content
