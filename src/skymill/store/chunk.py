"""One chunk of an array as bytes and back.

To the same bytes as Zarr's codecs, by the libraries that they call, but without Zarr's asynchronous pipeline, which
takes longer than the work itself (docs/store.md).
"""

from __future__ import annotations

from typing import Any

import google_crc32c
import numpy as np
from numcodecs.zstd import Zstd  # type: ignore[import-untyped]
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

ZSTD_LEVEL = 1
CHECKSUM_BYTES = 4


def codec_of(dtype: np.dtype[Any]) -> Crc32cCodec | ZstdCodec:
    """Pick what pays for a type (measured, docs/store.md), always with a checksum: no flipped bit is read back."""
    return Crc32cCodec() if dtype.kind == "f" else ZstdCodec(level=ZSTD_LEVEL, checksum=True)


def encode_chunk(values: NDArray[Any]) -> bytes:
    """Encode one whole chunk as Zarr does with `codec_of` its type."""
    raw = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    if values.dtype.kind == "f":
        return raw + google_crc32c.value(raw).to_bytes(CHECKSUM_BYTES, "little")
    return bytes(Zstd(level=ZSTD_LEVEL, checksum=True).encode(raw))


def decode_chunk(content: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Decode what `encode_chunk` gave.

    Raises
    ------
    ValueError, RuntimeError
        If the bytes are not those that were encoded.
    """
    if dtype.kind == "f":
        raw, checksum = content[:-CHECKSUM_BYTES], content[-CHECKSUM_BYTES:]
        if google_crc32c.value(raw).to_bytes(CHECKSUM_BYTES, "little") != checksum:
            raise ValueError("a chunk whose checksum does not fit")
    else:
        raw = Zstd().decode(content)
    return np.frombuffer(raw, dtype.newbyteorder("<")).reshape(shape)
