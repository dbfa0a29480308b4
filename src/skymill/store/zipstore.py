"""A read-only Zarr store over a tile file: one read for its directory and metadata, then exact ranges.

Unlike `zarr.storage.ZipStore` it reads over HTTP, checks the directory, and raises where a chunk is missing (Zarr takes
a missing chunk for one full of fill values).
"""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
import zlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype

from skymill.store.encode import DOCUMENT
from skymill.store.errors import CorruptTile
from skymill.store.forms import LARGEST_DOCUMENT
from skymill.store.layout import Layout, read_layout
from skymill.store.source import Source
from skymill.store.writer import directory_mark

TAILS = (1 << 16, 1 << 20, 1 << 24)
"""Bytes read from the end, until the directory is among them: the first holds it for all but very large tiles."""
LOCAL_HEADER = 30
"""Bytes before the name in front of each entry (PKWARE APPNOTE 4.3.7); our entries have no extra field."""

LARGEST_REQUEST = 1 << 24
"""Bytes up to which neighbouring chunks come in one request."""


@dataclass
class Traffic:
    """What was read: files opened, chunks, requests made, bytes received."""

    files: int = 0
    chunks: int = 0
    requests: int = 0
    n_bytes: int = 0


@dataclass(frozen=True)
class Entry:
    """Where the bytes of a zip entry stand."""

    start: int
    stop: int
    crc32: int


class TileStore(Store):
    """The entries of one tile file.

    Parameters
    ----------
    source : Source
        The file.
    traffic : Traffic, optional
        Counts what is read.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, source: Source, traffic: Traffic | None = None) -> None:
        super().__init__(read_only=True)
        self.source = source
        self.traffic = traffic if traffic is not None else Traffic()
        self._held: dict[str, bytes] = {}  # chunks fetched ahead, until they are asked for

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TileStore) and other.source.location == self.source.location

    def __str__(self) -> str:
        return self.source.location

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """The directory of the file.

        Raises
        ------
        CorruptTile
            If the file is truncated, changed, or no tile.
        """
        self.traffic.files += 1
        size = self.source.size
        for length in TAILS:
            start = max(0, size - length)
            tail = self._read(start, size)
            try:
                archive = zipfile.ZipFile(io.BytesIO(tail))  # offsets count from the tail, hence may be negative
                break
            except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
                if start == 0 or length == TAILS[-1]:
                    raise self._corrupt(f"no directory of a whole tile ({error})") from error
        for info in archive.infolist():
            info.header_offset += start
        if archive.comment != directory_mark(archive.infolist()):
            raise self._corrupt("a directory that differs from the one written")
        found = self._checked(archive.infolist(), archive.start_dir + start)
        for name, entry in found.items():
            if entry.start >= start and name.endswith(DOCUMENT):
                self._held[name] = tail[entry.start - start : entry.stop - start]
        return found

    def _checked(self, infos: Iterable[zipfile.ZipInfo], end: int) -> dict[str, Entry]:
        """Give the entries, which have to be stored one behind the other and end where the directory begins."""
        found: dict[str, Entry] = {}
        last = 0
        for info in sorted(infos, key=lambda info: info.header_offset):
            first = info.header_offset + LOCAL_HEADER + len(info.filename.encode())
            stored = info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size
            if not stored or info.header_offset < last or info.filename in found:
                raise self._corrupt(f"'{info.filename}' packed, twice, or over another entry")
            if info.filename.endswith(DOCUMENT) and info.file_size > LARGEST_DOCUMENT:
                raise self._corrupt(f"{info.file_size:,} bytes of '{info.filename}'")
            last = first + info.file_size
            found[info.filename] = Entry(first, last, info.CRC)
        if last > end:
            raise self._corrupt("entries that reach beyond it")
        return found

    def fetch(self, names: Iterable[str]) -> None:
        """Read chunks ahead: those that stand side by side in the file come in one request."""
        wanted = sorted((self.entry(name).start, self.entry(name).stop, name) for name in set(names) - set(self._held))
        while wanted:
            run = [wanted.pop(0)]
            while (
                wanted
                and wanted[0][0] - run[-1][1] == LOCAL_HEADER + len(wanted[0][2].encode())
                and wanted[0][1] - run[0][0] <= LARGEST_REQUEST
            ):
                run.append(wanted.pop(0))
            offset = run[0][0]
            content = memoryview(self._read(offset, run[-1][1]))
            for start, stop, name in run:
                self._held[name] = bytes(content[start - offset : stop - offset])

    def entry(self, name: str) -> Entry:
        """Give an entry that has to be there.

        Raises
        ------
        CorruptTile
            If it is missing.
        """
        if name not in self.entries:
            raise self._corrupt(f"no entry '{name}'")
        return self.entries[name]

    def content(self, name: str) -> bytes:
        """Give the bytes of an entry; chunks have checksums of their own, documents are checked here."""
        entry = self.entry(name)
        if name.endswith(DOCUMENT):
            content = self._held.get(name) or self._read(entry.start, entry.stop)
            if zlib.crc32(content) != entry.crc32:
                raise self._corrupt(f"a changed '{name}'")
            return content
        self.traffic.chunks += 1
        held = self._held.pop(name, None)
        return held if held is not None else self._read(entry.start, entry.stop)

    def _whole(self, name: str) -> bytes:
        """Give the bytes of an entry for Zarr, whose codecs do not say which file is damaged."""
        content = self.content(name)
        if zlib.crc32(content) != self.entry(name).crc32:
            raise self._corrupt(f"a changed '{name}'")
        if "/c/" in name:
            self.check_chunk(name, content)
        return content

    @cached_property
    def document(self) -> dict[str, Any]:
        """The metadata of the tile.

        Raises
        ------
        CorruptTile
            If they are no JSON.
        """
        try:
            document = json.loads(self.content(DOCUMENT))
        except (ValueError, RecursionError) as error:
            raise self._corrupt(f"no metadata ({error})") from error
        if not isinstance(document, dict):
            raise self._corrupt("no metadata")
        return document

    @cached_property
    def layout(self) -> Layout:
        """How the arrays are laid out, as far as the file can hold what is said.

        Raises
        ------
        CorruptTile
            If it cannot.
        FormatError
            If a newer skymill wrote it.
        """
        layout = read_layout(self.document, where=str(self))
        sizes = {name: entry.stop - entry.start for name, entry in self.entries.items() if "/c/" in name}
        wrong = layout.problem(sizes, self.source.size)
        if wrong:
            raise self._corrupt(wrong)
        return layout

    def check_chunk(self, name: str, content: bytes) -> None:
        """Make sure that a chunk unpacks to what its array has.

        Raises
        ------
        CorruptTile
            If it does not.
        """
        wrong = self.layout.chunk_problem(name, content)
        if wrong:
            raise self._corrupt(wrong)

    def _read(self, start: int, stop: int) -> bytes:
        content = self.source.read(start, stop)
        self.traffic.requests += 1
        self.traffic.n_bytes += len(content)
        if len(content) != stop - start:
            raise self._corrupt(f"{len(content)} bytes at {start} instead of {stop - start}")
        return content

    def _corrupt(self, found: str) -> CorruptTile:
        return CorruptTile(f"{self}: expected a whole tile, found {found}; delete the file and make it again")

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Give an entry, or part of one; None for documents that a tile does not have."""
        if key not in self.entries and "/c/" not in key:
            return None
        content = await asyncio.to_thread(self._whole, key)
        return prototype.buffer.from_bytes(content[_bounds(byte_range)])

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Give several entries or parts of them."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        """Tell whether an entry is there."""
        return key in self.entries

    async def list(self) -> AsyncIterator[str]:
        """Name all entries."""
        for name in self.entries:
            yield name

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Name the entries that begin with a prefix."""
        for name in self.entries:
            if name.startswith(prefix):
                yield name

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Name what stands directly below a folder."""
        folder = f"{prefix.rstrip('/')}/" if prefix else ""
        for name in sorted({name[len(folder) :].split("/")[0] for name in self.entries if name.startswith(folder)}):
            yield name

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse: tiles are never written to."""
        raise PermissionError(f"{self}: tiles are never written to")

    async def delete(self, key: str) -> None:
        """Refuse: tiles are never written to."""
        raise PermissionError(f"{self}: tiles are never written to")


def _bounds(byte_range: ByteRequest | None) -> slice:
    if byte_range is None:
        return slice(None)
    if isinstance(byte_range, RangeByteRequest):
        return slice(byte_range.start, byte_range.end)
    if isinstance(byte_range, OffsetByteRequest):
        return slice(byte_range.offset, None)
    return slice(-byte_range.suffix, None)
