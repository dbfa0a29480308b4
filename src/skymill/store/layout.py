"""How the arrays of a tile file are laid out, held against the file before anything is unpacked.

Metadata and compressed chunks may claim any size. What passes here is what the file can hold, so that a reader never
sets more memory aside.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numcodecs.zstd import Zstd  # type: ignore[import-untyped]
from numpy.typing import NDArray

from skymill.store.chunk import CHECKSUM_BYTES
from skymill.store.encode import FORMAT
from skymill.store.errors import CorruptTile, FormatError
from skymill.store.variable import SOURCE, ZONED

LARGEST_CHUNK = 1 << 28
"""Bytes of an unpacked chunk: 65,536 rows of 1,024 float32."""
MOST_UNPACKED = 100
"""Times the size of its file that a tile may have unpacked, beside one chunk; with coordinates it is about twice."""
LARGEST_TEXT = 1 << 24
"""Bytes of the names of columns, unpacked."""
NUMBERS = {"bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64))}
FLOATS = {"float16", "float32", "float64"}
TEXT = "string"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ZSTD_OVERHEAD = 1024
"""Bytes by which a frame may be larger than what it holds, beside a part in 128 of it."""


@dataclass(frozen=True)
class ArrayLayout:
    """One array of a tile.

    Attributes
    ----------
    data_type : str
        In Zarr's words.
    shape, chunks : tuple of int
    dims : tuple of str
    attributes : mapping
    """

    data_type: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dims: tuple[str, ...]
    attributes: Mapping[str, Any]

    @property
    def is_text(self) -> bool:
        """Whether it holds names."""
        return self.data_type == TEXT

    @property
    def is_rows(self) -> bool:
        """Whether it has one entry per source."""
        return self.dims[:1] == (SOURCE,)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its numbers."""
        return np.dtype(self.data_type)

    @property
    def itemsize(self) -> int:
        """Bytes of an entry, unpacked; of a name, those of its length."""
        return 4 if self.is_text else self.dtype.itemsize

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk, unpacked."""
        return math.prod(self.chunks) * self.itemsize

    @property
    def n_chunks(self) -> int:
        """Number of chunks."""
        return math.prod(-(-size // chunk) for size, chunk in zip(self.shape, self.chunks, strict=True))

    def fits(self, n_bytes: int) -> bool:
        """Whether a chunk can have so many bytes in the file."""
        if self.data_type in FLOATS:
            return n_bytes == self.chunk_bytes + CHECKSUM_BYTES
        most = LARGEST_TEXT if self.is_text else self.chunk_bytes
        return n_bytes <= most + most // 128 + ZSTD_OVERHEAD


@dataclass(frozen=True)
class Layout:
    """All arrays of a tile.

    Attributes
    ----------
    n_rows, chunk_rows : int
    zones : ndarray of int64, (chunks, 2)
        Smallest and largest `_healpix_29` of each chunk.
    arrays : mapping of str to ArrayLayout
    """

    n_rows: int
    chunk_rows: int
    zones: NDArray[np.int64]
    arrays: Mapping[str, ArrayLayout]

    def problem(self, sizes: Mapping[str, int], n_bytes: int) -> str | None:
        """Say what cannot be true of a file, or None.

        Parameters
        ----------
        sizes : mapping of str to int
            Bytes of each of its chunks, by name.
        n_bytes : int
            Size of the file.
        """
        found = Counter(array_of(name) for name in sizes)
        if strange := sorted(found.keys() - self.arrays.keys()):
            return f"chunks of {strange}, which are no arrays of it"
        for name, array in self.arrays.items():
            if array.chunk_bytes > LARGEST_CHUNK:
                return f"chunks of {array.chunk_bytes:,} bytes in '{name}', which is more than {LARGEST_CHUNK:,}"
            if array.n_chunks != found[name]:
                return f"{found[name]:,} chunks of '{name}' instead of {array.n_chunks:,}"
        for chunk, size in sizes.items():
            if not self.arrays[array_of(chunk)].fits(size):
                return f"{size:,} bytes as chunk '{chunk}'"
        unpacked = sum(math.prod(array.shape) * array.itemsize for array in self.arrays.values())
        if unpacked > LARGEST_CHUNK + MOST_UNPACKED * n_bytes:
            return f"{unpacked:,} bytes, unpacked, in a file of {n_bytes:,}"
        return None

    def chunk_problem(self, name: str, content: bytes) -> str | None:
        """Say why a chunk must not be unpacked, or None."""
        array = self.arrays[array_of(name)]
        if array.data_type in FLOATS:
            return None  # its size is its own
        size = frame_size(content)
        if array.is_text:
            if size is None or size > LARGEST_TEXT:
                return f"a chunk '{name}' of {size} bytes, unpacked"
            try:
                n = int.from_bytes(bytes(Zstd().decode(content)[:4]), "little")
            except RuntimeError as error:
                return f"a broken chunk '{name}' ({error})"
            return None if n == math.prod(array.chunks) else f"{n:,} names in chunk '{name}'"
        return None if size == array.chunk_bytes else f"a chunk '{name}' of {size} bytes, unpacked"


def array_of(chunk: str) -> str:
    """Give the array of a chunk `<array>/c/<number>`."""
    return chunk.partition("/c/")[0]


def read_layout(document: Mapping[str, Any], *, where: str) -> Layout:
    """Read the metadata of a tile.

    Parameters
    ----------
    document : mapping
        That of the group, with those of all arrays.
    where : str
        The tile's path or URL.

    Raises
    ------
    FormatError
        If a newer skymill wrote it.
    CorruptTile
        If no skymill did.
    """
    try:
        attributes = document["attributes"]
        found = attributes.get("skymill_format")
        if not isinstance(found, int) or found > FORMAT:
            raise FormatError(
                f"{where}: expected a tile of format {FORMAT} or older, found {found}; install a newer skymill"
            )
        arrays = {name: _array(array) for name, array in document["consolidated_metadata"]["metadata"].items()}
        zones = np.array([[int(low), int(high)] for low, high in attributes["zones"]], np.int64).reshape(-1, 2)
        layout = Layout(_count(attributes["n_rows"]), _count(attributes["chunk_rows"], least=1), zones, arrays)
        for name, array in arrays.items():
            expected = (layout.n_rows, layout.chunk_rows, *(max(size, 1) for size in array.shape[1:]))
            if array.is_rows and (array.shape[0], *array.chunks) != expected:
                raise ValueError(f"'{name}' of shape {array.shape} in chunks {array.chunks}")
        if ZONED in arrays and len(zones) != arrays[ZONED].n_chunks:
            raise ValueError(f"{len(zones)} zones of {arrays[ZONED].n_chunks} chunks")
        if not isinstance(attributes["receipt"], dict):
            raise ValueError("no receipt")
    except FormatError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CorruptTile(f"{where}: expected the metadata of a tile, found {error!r}; do not use it") from error
    return layout


def _array(document: Mapping[str, Any]) -> ArrayLayout:
    """Read the metadata of an array, which has to be as `encode` makes it."""
    data_type, grid = document["data_type"], document["chunk_grid"]
    first, last = document["codecs"]
    codecs = (first["name"], last["name"])
    if codecs != _codecs(data_type) or first.get("configuration", {}).get("endian", "little") != "little":
        raise ValueError(f"the codecs {codecs} of {data_type}")
    form = (document["node_type"], grid["name"], document["chunk_key_encoding"]["configuration"]["separator"])
    if form != ("array", "regular", "/") or document.get("storage_transformers"):
        raise ValueError(f"an array of the form {form}")
    shape = tuple(_count(size) for size in document["shape"])
    chunks = tuple(_count(size, least=1) for size in grid["configuration"]["chunk_shape"])
    dims = tuple(document["dimension_names"])
    if not len(shape) == len(chunks) == len(dims):
        raise ValueError(f"the shape {shape} in chunks {chunks} along {dims}")
    return ArrayLayout(data_type, shape, chunks, dims, dict(document["attributes"]))


def _codecs(data_type: str) -> tuple[str, str]:
    """Name the codecs that `chunk.codec_of` picks."""
    if data_type not in NUMBERS | FLOATS | {TEXT}:
        raise ValueError(f"the type {data_type!r}")
    return ("vlen-utf8" if data_type == TEXT else "bytes", "crc32c" if data_type in FLOATS else "zstd")


def _count(value: Any, *, least: int = 0) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f"the number {value!r}")
    return value


def frame_size(content: bytes) -> int | None:
    """Give how many bytes a zstd frame says that it holds, or None if it does not say (RFC 8878, 3.1.1.1)."""
    if len(content) < 6 or content[:4] != ZSTD_MAGIC:
        return None
    descriptor = content[4]
    single = descriptor >> 5 & 1
    width = (single, 2, 4, 8)[descriptor >> 6]
    start = 6 - single + (0, 1, 2, 4)[descriptor & 3]
    size = int.from_bytes(content[start : start + width], "little")
    return size + 256 * (width == 2) if width else None
