"""FITS files, plain or packed by gzip or bzip2: headers one by one, and the pixels of one of them.

astropy parses headers and decodes pixels. The file is walked here, so that a header can be read without the pixels
behind it, a packed file unpacks to no more than its headers announce, and sums are checked on the stored bytes.
"""

from __future__ import annotations

import bz2
import gzip
import math
import mmap
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from skymill.survey.images.checksums import check_sums
from skymill.survey.images.compressed_tiles import check_packed_tiles
from skymill.survey.images.limits import check_size, most_unpacked
from skymill.survey.images.tile import ImageError

BLOCK = 2880
"""FITS files come in blocks of so many bytes (FITS standard 4.0, section 3.1)."""
MAX_HEADER = 2**24
TRAILING = 10 * BLOCK
"""Bytes that may follow the last unit: tapes were written in multiples of these."""
CHUNK = 2**22
PACKED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open}
"""Openers by a file's first bytes."""
UNPACKING_ERRORS = (EOFError, zlib.error, OSError, ValueError)


@dataclass(frozen=True)
class Unit:
    """A header and where its data lie.

    Attributes
    ----------
    index : int
    header : Header
        As it is stored: that of a compressed image is the header of the table that holds it.
    shape : tuple of int
        Of the image, in numpy's order; () where it holds none.
    start, data, stop : int
        Bytes of the file at which header and data begin and the unit ends, without padding.
    """

    index: int
    header: fits.Header
    shape: tuple[int, ...]
    start: int
    data: int
    stop: int

    @property
    def name(self) -> str:
        """`EXTNAME` in capitals; '' where there is none."""
        return str(self.header.get("EXTNAME", "")).strip().upper()

    def __str__(self) -> str:
        kind = (
            f"image {'x'.join(map(str, self.shape))}" if self.shape else "table" if _is_table(self.header) else "empty"
        )
        return f"{self.index} {self.name!r} ({kind})" if self.name else f"{self.index} ({kind})"


class FitsFile:
    """A FITS file that is walked as far as asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._units: list[Unit] = []
        self._arrays: dict[int, NDArray[Any]] = {}
        try:
            self._file: IO[bytes] = path.open("rb")
        except OSError as error:
            raise ImageError(
                f"{path}: expected a file, found none that can be read ({error.strerror}); correct the pattern, or put "
                "the file there"
            ) from error
        first = self._file.read(4)
        self._file.seek(0)
        opener = next((opener for magic, opener in PACKED.items() if first.startswith(magic)), None)
        self._packed: IO[bytes] | None = opener(self._file) if opener else None
        self._bytes: Any = bytearray() if opener else self._map()
        self._whole = False

    def close(self) -> None:
        """Close the file."""
        if isinstance(self._bytes, mmap.mmap):
            self._bytes.close()
        self._file.close()

    @property
    def units(self) -> Iterator[Unit]:
        """The units one by one; what lies behind is not read yet."""
        index = 0
        while index < len(self._units) or self._read_header():
            yield self._units[index]
            index += 1

    def find(self, wanted: str | int | None = None) -> Unit:
        """Find a unit.

        Parameters
        ----------
        wanted : str or int, optional
            `EXTNAME` (`SCI`, or `SCI,2` with `EXTVER`), or number; None for the first that holds an image.

        Raises
        ------
        ImageError
            If there is none; the message lists those there are.
        """
        name, _, version = str(wanted).upper().partition(",")
        for unit in self.units:
            if wanted is None and len(unit.shape) >= 2 and 0 not in unit.shape:
                return unit
            if isinstance(wanted, int) and unit.index == wanted:
                return unit
            known = unit.name or ("PRIMARY" if unit.index == 0 else "")
            if isinstance(wanted, str) and known == name and version in ("", str(unit.header.get("EXTVER", 1))):
                return unit
        there = ", ".join(map(str, self._units))
        expected = "an image" if wanted is None else f"an extension {wanted!r}"
        raise ImageError(f"{self.path}: expected {expected}, found {there}; correct `hdu` or fetch the file again")

    def array(self, unit: Unit) -> NDArray[Any]:
        """Decode an image: numbers as its header scales them, big-endian still.

        Raises
        ------
        ImageError
            If it is no image, is too large, was cut off or changed since it was written, or cannot be decoded.
        """
        if unit.index not in self._arrays:
            self._read_all()
            if len(unit.shape) < 2:
                raise ImageError(f"{self.path}: expected an image, found {unit}; correct `hdu`")
            bits = unit.header.get("ZBITPIX", unit.header["BITPIX"])
            check_size(unit.shape, f"{self.path}[{unit.index}]", itemsize=abs(int(bits)) // 8)
            check_sums(self._stored(unit), unit.data - unit.start, unit.header, f"{self.path}: extension {unit}")
            with self._decoding(unit):
                self._arrays[unit.index] = _decoded(self._stored(unit), unit, f"{self.path}[{unit.index}]")
        return self._arrays[unit.index]

    def table(self, unit: Unit) -> Any:
        """Give a binary table, as astropy's `FITS_rec`."""
        self._read_all()
        check_size((unit.stop - unit.data,), f"{self.path}: extension {unit}")
        check_sums(self._stored(unit), unit.data - unit.start, unit.header, f"{self.path}: extension {unit}")
        with self._decoding(unit):
            return fits.BinTableHDU.fromstring(self._stored(unit)).data

    def _map(self) -> Any:
        size = self.path.stat().st_size
        return mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_READ) if size else b""

    def _read_header(self) -> bool:
        """Read the next header; False at the end of the file."""
        last = self._units[-1] if self._units else None
        start = _padded(last.stop) if last else 0
        first = self._slice(start, start + BLOCK)
        if last and not first.startswith(b"XTENSION"):
            return self._end(start)
        if not last and not first.startswith(b"SIMPLE  ="):
            raise ImageError(
                f"{self.path}: expected a FITS file, found one that begins with {first[:16]!r}; correct the pattern, "
                "or unpack what is packed in another way than by gzip or bzip2"
            )
        stop = start + BLOCK
        while not _has_end(block := self._slice(stop - BLOCK, stop)):
            if len(block) < BLOCK or stop - start > MAX_HEADER:
                raise self._cut_off(stop)
            stop += BLOCK
        header = fits.Header.fromstring(self._slice(start, stop))
        try:
            self._units.append(Unit(len(self._units), header, _shape(header), start, stop, stop + _data_bytes(header)))
        except (KeyError, ValueError, TypeError, fits.VerifyError) as error:
            raise ImageError(
                f"{self.path}: expected a header that says how large its data are, found one that does not ({error}); "
                "fetch the file again"
            ) from error
        return True

    def _end(self, start: int) -> bool:
        """Refuse more bytes behind the last unit than a tape's block: the file says nothing of them."""
        if len(self._slice(start, start + TRAILING + 1)) > TRAILING:
            raise ImageError(
                f"{self.path}: expected the file to end at byte {start} (unpacked), as its headers say, found more; "
                "fetch it again"
            )
        return False

    def _read_all(self) -> None:
        """Walk to the end, so that a file that was cut off is noticed wherever that was."""
        if self._whole:
            return
        for unit in self.units:
            if len(self._slice(unit.stop - 1, unit.stop)) < 1 and unit.stop > unit.data:
                raise self._cut_off(unit.stop)
        self._whole = True

    def _slice(self, start: int, stop: int) -> bytes:
        """Bytes of the unpacked file; fewer where it ends."""
        if self._packed is not None:
            self._unpack(self._packed, stop)
        with memoryview(self._bytes) as view:
            return bytes(view[start:stop])

    def _unpack(self, packed: IO[bytes], stop: int) -> None:
        limit = most_unpacked(self.path.stat().st_size)
        if stop > limit:
            raise ImageError(
                f"{self.path}: expected at most {limit:,} bytes when unpacked, found headers that announce {stop:,}; "
                "unpack it yourself if it is sound"
            )
        while len(self._bytes) < stop:
            try:
                chunk = packed.read(min(CHUNK, stop - len(self._bytes)))
            except UNPACKING_ERRORS as error:
                raise ImageError(
                    f"{self.path}: expected a sound gzip or bzip2 file, found one that breaks off or is damaged after "
                    f"{len(self._bytes):,} unpacked bytes ({error}); fetch it again"
                ) from error
            if not chunk:
                return
            self._bytes += chunk

    def _stored(self, unit: Unit) -> bytes:
        """A unit's bytes, padded."""
        return self._slice(unit.start, _padded(unit.stop)).ljust(_padded(unit.stop) - unit.start, b"\0")

    def _cut_off(self, needed: int) -> ImageError:
        return ImageError(
            f"{self.path}: expected {needed:,} bytes, as its headers announce, found {len(self._bytes):,}: it was cut "
            "off; fetch it again"
        )

    @contextmanager
    def _decoding(self, unit: Unit) -> Iterator[None]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", fits.verify.VerifyWarning)
                yield
        except (MemoryError, ImageError):
            raise
        except Exception as error:  # each of astropy's decoders raises what it likes
            raise ImageError(
                f"{self.path}: expected extension {unit} to hold what its header says, found data that cannot be "
                f"decoded ({str(error).splitlines()[0] if str(error) else type(error).__name__}); fetch it again"
            ) from error


def _decoded(stored: bytes, unit: Unit, where: str) -> NDArray[Any]:
    if unit.header.get("ZIMAGE", False):
        check_packed_tiles(fits.BinTableHDU.fromstring(stored), where)
        table = fits.BinTableHDU.fromstring(stored, uint=True)
        return np.asarray(fits.CompImageHDU(bintable=table, uint=True).data)
    kind = fits.PrimaryHDU if unit.index == 0 else fits.ImageHDU
    return np.asarray(kind.fromstring(stored, uint=True).data)


def _has_end(block: bytes) -> bool:
    return any(block[card : card + 80].rstrip() == b"END" for card in range(0, len(block), 80))


def _is_table(header: fits.Header) -> bool:
    return str(header.get("XTENSION", "IMAGE")).strip() != "IMAGE"


def _shape(header: fits.Header) -> tuple[int, ...]:
    if header.get("ZIMAGE", False):
        return _axes(header, "ZNAXIS")
    return () if _is_table(header) else _axes(header, "NAXIS")


def _axes(header: fits.Header, keyword: str) -> tuple[int, ...]:
    axes = tuple(int(header[f"{keyword}{axis}"]) for axis in range(int(header[keyword]), 0, -1))
    if min(axes, default=0) < 0:
        raise ValueError(f"{keyword} with negative lengths {axes}")
    return axes


def _data_bytes(header: fits.Header) -> int:
    """How many bytes of data a header announces (FITS standard 4.0, equation 2)."""
    axes = _axes(header, "NAXIS")
    if not axes:
        return 0
    elements = int(header.get("GCOUNT", 1)) * (int(header.get("PCOUNT", 0)) + math.prod(axes))
    return abs(int(header["BITPIX"])) // 8 * max(elements, 0)


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
