"""Chunks of Zarr arrays: what they unpack to is found without keeping it, for zarr itself unpacks without a limit."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import pyarrow as pa
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from skymill.survey.images.limits import check_size, most_unpacked
from skymill.survey.images.tile import ImageError


def _streamed(method: str) -> Callable[[bytes, int], int]:
    return lambda packed, limit: len(pa.CompressedInputStream(pa.BufferReader(packed), method).read(limit))


UNPACKED: Mapping[str, Callable[[bytes, int], int]] = {
    "zstd": _streamed("zstd"),
    "gzip": _streamed("gzip"),
    "bz2": _streamed("bz2"),
    "zlib": lambda packed, limit: len(zlib.decompressobj().decompress(packed, limit)),
    "blosc": lambda packed, _: int.from_bytes(packed[4:8], "little"),
    "lz4": lambda packed, _: int.from_bytes(packed[:4], "little"),
}
"""By codec: bytes to which a chunk unpacks, or as many as are asked for."""


def check_chunks(array: Any, place: tuple[int, ...], where: str) -> None:
    """Refuse an array if a chunk that is to be read is larger than any image, or unpacks to more than it holds.

    Parameters
    ----------
    array : zarr.Array
    place : tuple of int
        Index of the image, on all axes but the last two.
    where : str
        Store and array, for the message.

    Raises
    ------
    ImageError
    """
    shape = array.shards or array.chunks
    check_size(shape, f"{where}, a chunk", itemsize=array.dtype.itemsize)
    codecs = [type(each).__name__.lower().removesuffix("codec") for each in array.compressors]
    if array.shards or not codecs or codecs[-1] not in UNPACKED:
        return
    limit = math.prod(shape) * array.dtype.itemsize
    for key, packed in _stored(array, place):
        if UNPACKED[codecs[-1]](packed, limit + 1) > limit:
            raise ImageError(f"{where}: expected chunks of {limit:,} bytes, found {key} to be more; fetch it again")


def check_zip(path: Path) -> None:
    """Refuse a zip whose members unpack to more than images do.

    Raises
    ------
    ImageError
    """
    with ZipFile(path) as archive:
        members = archive.infolist()
    total, limit = sum(member.file_size for member in members), most_unpacked(path.stat().st_size)
    if total > limit or not {member.compress_type for member in members} <= {ZIP_STORED, ZIP_DEFLATED}:
        raise ImageError(
            f"{path}: expected a zip of stored or deflated members, of at most {limit:,} bytes, found {total:,}; "
            "unpack it yourself if it is sound"
        )


def _stored(array: Any, place: tuple[int, ...]) -> Iterator[tuple[str, bytes]]:
    """The chunks of an image as they are stored; those that are not hold the fill value."""
    first = [index // length for index, length in zip(place, array.chunks)]
    rows, columns = (range(-(-n // length)) for n, length in zip(array.shape[-2:], array.chunks[-2:], strict=True))
    for row, column in product(rows, columns):
        key = array.metadata.encode_chunk_key((*first, row, column))
        found = sync((array.store_path / key).get(default_buffer_prototype()))
        if found is not None:
            yield key, found.to_bytes()
