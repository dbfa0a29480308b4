"""Writing tiles: a Zarr group in one stored zip, filled block by block, committed by one rename."""

from __future__ import annotations

import contextlib
import math
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.store.durable import staged
from skymill.store.encode import FORMAT, Encoder
from skymill.store.errors import StoreError
from skymill.store.keys import canonical_json, file_sha256
from skymill.store.layout import LARGEST_CHUNK
from skymill.store.variable import CHUNK_ROWS, ZONED, Variable

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every zip entry, so that equal content is equal bytes."""


@dataclass(frozen=True)
class TileFile:
    """What identifies a written tile."""

    sha256: str
    n_bytes: int


def directory_mark(entries: Iterable[zipfile.ZipInfo]) -> bytes:
    """Give the zip comment that guards the zip's directory, the one part of it that has no checksum of its own."""
    rows = [(entry.filename, entry.header_offset, entry.file_size, entry.CRC) for entry in entries]
    return b"skymill directory crc32 %08x" % zlib.crc32(canonical_json(rows))


class TileWriter:
    """Write a tile block by block, holding one chunk of each variable and no more.

    Parameters
    ----------
    path : Path
        The tile's final name.
    schema : mapping of str to Variable
        Variables with the dimension `source` have no rows yet (see `Variable.of_rows`); others are complete.
    n_rows : int
        Number of sources to come.
    chunk_rows : int
        Rows per chunk.
    staging : Path, optional
        Folder for the unfinished file; default `.staging` beside `path`.

    Examples
    --------
    ::

        with TileWriter(path, schema, n_rows) as writer:
            for block in blocks:
                writer.append(block)
            file = writer.commit(receipt=receipt)
    """

    def __init__(
        self,
        path: str | Path,
        schema: Mapping[str, Variable],
        n_rows: int,
        *,
        chunk_rows: int = CHUNK_ROWS,
        staging: Path | None = None,
    ) -> None:
        self.path, self.n_rows = Path(path), int(n_rows)
        # Zarr fills the last chunk up, so that a tile of few rows must not have large chunks.
        self.chunk_rows = min(int(chunk_rows), max(self.n_rows, 1))
        for name, variable in schema.items():
            size = math.prod(variable.chunks(self.chunk_rows)) * variable.data.dtype.itemsize
            if size > LARGEST_CHUNK:
                raise ValueError(
                    f"{self.path}: variable '{name}': expected chunks of at most {LARGEST_CHUNK:,} bytes, as readers "
                    f"take, found {size:,}; lower chunk_rows ({self.chunk_rows})"
                )
        self._encoder = Encoder(schema, self.n_rows, self.chunk_rows)
        self._zones: list[list[str]] = []
        self._written = self._waiting = 0  # rows in the zip, rows in the buffer
        self._last = -1
        self._buffer = {
            name: np.empty((self.chunk_rows, *variable.data.shape[1:]), variable.data.dtype)
            for name, variable in schema.items()
            if variable.is_rows
        }
        with contextlib.ExitStack() as context:
            self._zip = zipfile.ZipFile(context.enter_context(staged(self.path, staging=staging)), "w")
            context.callback(self._leave_zip)
            self._store(self._encoder.take())
            self._context = context.pop_all()
        self._committed = False

    def append(self, block: Mapping[str, NDArray[Any]]) -> None:
        """Add the next rows.

        Parameters
        ----------
        block : mapping of str to ndarray
            Every variable of the schema that has rows, with its dtype.

        Raises
        ------
        ValueError
            If a variable is missing, of another shape or type, or the rows are not sorted or too many.
        """
        n = self._check(block)
        taken = 0
        while taken < n:
            step = min(n - taken, self.chunk_rows - self._waiting)
            for name, held in self._buffer.items():
                held[self._waiting : self._waiting + step] = block[name][taken : taken + step]
            self._waiting += step
            taken += step
            if self._waiting == self.chunk_rows:
                self._flush()

    def commit(self, *, attrs: Mapping[str, Any] | None = None, receipt: Mapping[str, Any] | None = None) -> TileFile:
        """Write the metadata and give the file its name.

        Parameters
        ----------
        attrs : mapping, optional
            Attributes of the tile.
        receipt : mapping, optional
            What made the tile: key, its ingredients, accounting, versions.

        Raises
        ------
        ValueError
            If rows are missing.
        OSError
            If the disk is full; nothing is left behind.
        """
        self._flush()
        if self._written != self.n_rows:
            raise ValueError(f"{self.path}: expected {self.n_rows} rows, found {self._written}")
        own = {
            "skymill_format": FORMAT,
            "n_rows": self.n_rows,
            "chunk_rows": self.chunk_rows,
            "zones": self._zones,
            "receipt": dict(receipt or {}),
        }
        self._store(self._encoder.documents({**(attrs or {}), **own}))
        self._zip.comment = directory_mark(self._zip.infolist())
        self._zip.close()
        self._committed = True
        self._context.close()
        return TileFile(file_sha256(self.path), self.path.stat().st_size)

    def __enter__(self) -> TileWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._committed:
            return
        if error is None:
            error = StoreError(f"{self.path}: left without commit(); the tile was discarded")
            kind = type(error)
        self._context.__exit__(kind, error, trace)
        if trace is None:
            raise error

    def _leave_zip(self) -> None:
        """Close the zip, which would else try to when it is forgotten; a full disk has said so by now."""
        with contextlib.suppress(OSError):
            self._zip.close()

    def _check(self, block: Mapping[str, NDArray[Any]]) -> int:
        """Hold a block against the schema and give its number of rows."""
        if set(block) != set(self._buffer):
            raise ValueError(f"{self.path}: expected variables {sorted(self._buffer)}, found {sorted(block)}")
        n = len(next(iter(block.values())))
        for name, held in self._buffer.items():
            values = block[name]
            if values.dtype != held.dtype or values.shape != (n, *held.shape[1:]):
                raise ValueError(
                    f"{self.path}: variable '{name}': expected {held.dtype} {(n, *held.shape[1:])}, "
                    f"found {values.dtype} {values.shape}"
                )
        if self._written + self._waiting + n > self.n_rows:
            raise ValueError(f"{self.path}: expected {self.n_rows} rows, found more")
        if n and ZONED in block:
            index = block[ZONED]
            if index[0] < self._last or np.any(index[1:] < index[:-1]):
                raise ValueError(f"{self.path}: expected rows sorted by {ZONED}, found them unsorted; sort the source")
            self._last = int(index[-1])
        return n

    def _flush(self) -> None:
        """Encode the buffered rows as one chunk of each variable."""
        if not self._waiting:
            return
        rows = {name: held[: self._waiting] for name, held in self._buffer.items()}
        if ZONED in rows:
            self._zones.append([str(rows[ZONED][0]), str(rows[ZONED][-1])])
        self._store(self._encoder.put(self._written, rows))
        self._written += self._waiting
        self._waiting = 0

    def _store(self, entries: Iterable[tuple[str, bytes]]) -> None:
        for name, content in entries:
            entry = zipfile.ZipInfo(name, date_time=EPOCH)
            entry.create_system = 3  # the same on every system
            entry.external_attr = 0o644 << 16
            self._zip.writestr(entry, content)


def write_tile(
    path: str | Path,
    variables: Mapping[str, Variable],
    *,
    attrs: Mapping[str, Any] | None = None,
    receipt: Mapping[str, Any] | None = None,
    chunk_rows: int = CHUNK_ROWS,
    staging: Path | None = None,
) -> TileFile:
    """Write a whole tile at once.

    Parameters
    ----------
    path : Path
        The tile's name.
    variables : mapping of str to Variable
        In the order in which they are to stand in the file.
    attrs, receipt, chunk_rows, staging
        As for `TileWriter`.

    Returns
    -------
    TileFile
        Digest and size of the file.

    Raises
    ------
    ValueError
        If the variables do not fit each other or the rows are not sorted.
    OSError
        If the disk is full; nothing is left behind.
    """
    rows = {name: variable.data for name, variable in variables.items() if variable.is_rows}
    n_rows = len(next(iter(rows.values()))) if rows else 0
    with TileWriter(path, variables, n_rows, chunk_rows=chunk_rows, staging=staging) as writer:
        if rows:
            writer.append(rows)
        return writer.commit(attrs=attrs, receipt=receipt)
