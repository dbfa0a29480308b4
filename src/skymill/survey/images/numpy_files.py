"""Arrays in `.npy` and `.npz` files, read no further than their headers announce, and never as pickles."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from skymill.survey.images.limits import check_size
from skymill.survey.images.tile import ImageError

PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How NumPy packs arrays; other methods unpack without a limit."""
ERRORS = (ValueError, OSError, EOFError, KeyError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class ArrayHeader:
    """What the header of an array says."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    data: int
    """Byte at which the numbers begin."""


class NumpyFile:
    """An `.npy` file, or the arrays of an `.npz` archive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._arrays: dict[str, NDArray[Any]] = {}
        with self._reading(""):
            self._file = path.open("rb")
            self._archive = zipfile.ZipFile(self._file) if self._file.read(2) == b"PK" else None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def find(self, wanted: str | int | None = None) -> str:
        """Give the name of an array; where none is wanted, of the first that may be an image.

        Raises
        ------
        ImageError
            If there is none; the message lists those there are.
        """
        if self._archive is None:
            return ""
        names = [name.removesuffix(".npy") for name in self._archive.namelist()]
        if wanted in names:
            return str(wanted)
        if wanted is None:
            headers = {name: self.header(name) for name in names}
            images = [
                name for name, header in headers.items() if len(header.shape) >= 2 and header.dtype.kind in "iufb"
            ]
            if images:
                return images[0]
        raise ImageError(
            f"{self.path}: expected an array {'of an image' if wanted is None else repr(wanted)}, found "
            f"{', '.join(names) or 'none'}; correct `hdu`"
        )

    def header(self, name: str) -> ArrayHeader:
        """Read the shape and type of an array."""
        with self._reading(name), self._stream(name) as stream:
            version = np.lib.format.read_magic(stream)
            if version == (1, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
            elif version == (2, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
            else:
                raise ValueError(f"format version {version}")
            return ArrayHeader(shape, fortran, dtype, stream.tell())

    def array(self, name: str) -> NDArray[Any]:
        """Read an array; that of an `.npy` file is mapped, not read.

        Raises
        ------
        ImageError
            If it holds objects, is too large or was cut off.
        """
        if name not in self._arrays:
            header = self.header(name)
            self._check(name, header)
            with self._reading(name):
                self._arrays[name] = self._numbers(name, header)
        return self._arrays[name]

    def where(self, name: str) -> str:
        """Name an array for messages."""
        return f"{self.path}[{name}]" if name else str(self.path)

    def _check(self, name: str, header: ArrayHeader) -> None:
        if header.dtype.hasobject or header.dtype.kind not in "iufb":
            raise ImageError(
                f"{self.where(name)}: expected an array of numbers, found {header.dtype}, which is never read from a "
                "file (a pickle runs what its author wrote); store numbers"
            )
        check_size(header.shape, self.where(name), itemsize=header.dtype.itemsize)
        needed = header.data + math.prod(header.shape) * header.dtype.itemsize
        there = self._archive.getinfo(f"{name}.npy").file_size if self._archive else self.path.stat().st_size
        if there != needed:
            raise ImageError(
                f"{self.where(name)}: expected {needed:,} bytes, as its header announces, found {there:,}; fetch the "
                "file again"
            )

    def _numbers(self, name: str, header: ArrayHeader) -> NDArray[Any]:
        order: Any = "F" if header.fortran else "C"
        if self._archive is None:
            return np.memmap(self._file, header.dtype, "r", header.data, header.shape, order)
        with self._stream(name) as stream:
            stream.read(header.data)
            numbers = np.frombuffer(stream.read(math.prod(header.shape) * header.dtype.itemsize), header.dtype)
        return numbers.reshape(header.shape, order=order)

    def _stream(self, name: str) -> IO[bytes]:
        if self._archive is not None:
            member = self._archive.getinfo(f"{name}.npy")
            if member.compress_type not in PACKED:
                raise ValueError(f"packed by method {member.compress_type}, not stored or deflated")
            return self._archive.open(member)
        return self.path.open("rb")

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except ERRORS as error:
            if isinstance(error, ImageError):
                raise
            raise ImageError(
                f"{self.where(name)}: expected a NumPy array (npy, npz), found what cannot be read ({error}); correct "
                "the pattern, or write the file again with numpy.save or numpy.savez"
            ) from error
