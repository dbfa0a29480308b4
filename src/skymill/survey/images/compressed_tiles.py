"""Tile-compressed images: as many tiles as the image needs, and none that unpacks to more than a tile holds."""

from __future__ import annotations

import math
import zlib
from typing import Any

from astropy.io import fits

from skymill.survey.images.tile import ImageError

MOST_PER_BYTE = 1032
"""Bytes to which deflate unpacks one byte at most."""
HARMLESS_BYTES = 2**28
"""A tile that cannot unpack to more is not tried: unpacking it twice would cost half the time of reading."""
GZIP_WINDOW = 31
"""`wbits` of zlib for gzip's header and trailer."""


def check_packed_tiles(table: fits.BinTableHDU, where: str) -> None:
    """Try the tiles that could be bombs, without keeping what they unpack to.

    Raises
    ------
    ImageError
        If one unpacks to more than its pixels take as 64-bit numbers, or tiles are missing.
    """
    tiles = _tiles(table.header)
    needed = math.prod(-(-length // tile) for length, tile in tiles)
    if len(table.data) != needed:
        raise ImageError(f"{where}: expected {needed:,} packed tiles, found {len(table.data):,}; fetch the file again")
    by_gzip = str(table.header.get("ZCMPTYPE", "")).startswith("GZIP")
    column = "COMPRESSED_DATA" if by_gzip else "GZIP_COMPRESSED_DATA"
    if column not in table.columns.names:
        return
    limit = 8 * math.prod(tile for _, tile in tiles)
    for tile in table.data[column]:
        if len(tile) * MOST_PER_BYTE > max(HARMLESS_BYTES, limit) and _unpacks_beyond(tile, limit):
            raise ImageError(
                f"{where}: expected tiles of at most {limit:,} bytes, found one of {len(tile):,} packed bytes that "
                "unpacks to more; fetch the file again"
            )


def _tiles(header: fits.Header) -> list[tuple[int, int]]:
    """Give the lengths of image and tile along each axis; rows are the default (FITS standard 4.0, section 10.1)."""
    lengths = [int(header[f"ZNAXIS{axis}"]) for axis in range(1, int(header["ZNAXIS"]) + 1)]
    tiles = [int(header.get(f"ZTILE{axis}", lengths[0] if axis == 1 else 1)) for axis in range(1, len(lengths) + 1)]
    return [(length, min(max(tile, 1), length)) for length, tile in zip(lengths, tiles, strict=True)]


def _unpacks_beyond(tile: Any, limit: int) -> bool:
    return len(zlib.decompressobj(GZIP_WINDOW).decompress(bytes(tile), limit + 1)) > limit
