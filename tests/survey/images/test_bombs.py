"""Small files that unpack to much: they are refused, and what they would take is never held."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from astropy.io import fits
from image_tiles import SHAPE, header, image_settings, noise, read

from skymill.config.images import ImageSettings
from skymill.survey.images.fits_files import FitsFile
from skymill.survey.images.tile import ImageError

MANY = 300_000_000
HELD = 60_000_000
"""Bytes that may be held at most while a bomb is looked at."""
PLACED = {"centre": (150.0, 2.0), "pixel_scale_arcsec": 0.2}


def whole_file() -> bytes:
    """A FITS file with an image in its first extension."""
    written = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(noise(), header(), "IMAGE")]).writeto(written)
    return written.getvalue()


def giant(kind: str) -> bytes:
    """A header that announces `MANY` bytes, and as many."""
    cards = {
        kind: True if kind == "SIMPLE" else "IMAGE",
        "BITPIX": 8,
        "NAXIS": 2,
        "NAXIS1": MANY // 10_000,
        "NAXIS2": 10_000,
    }
    more = {"PCOUNT": 0, "GCOUNT": 1} if kind == "XTENSION" else {}
    return fits.Header({**cards, **more}).tostring().encode() + bytes(-(-MANY // 2880) * 2880)


def packed_fits(folder: Path, pack: Callable[[bytes], bytes], *, before: bool) -> ImageSettings:
    """An image behind a giant, or before one."""
    sound = whole_file()
    content = giant("SIMPLE") + sound[2880:] if before else sound + giant("XTENSION")
    (folder / "g.fits").write_bytes(pack(content))
    return image_settings(image={"file": "{band}.fits", "hdu": "IMAGE"})


def tile_compressed(folder: Path, **cards: Any) -> ImageSettings:
    """A compressed image of one tile, which unpacks to `MANY` bytes."""
    bomb = np.frombuffer(gzip.compress(bytes(MANY), 1), dtype=np.uint8)
    table = fits.BinTableHDU.from_columns(
        [fits.Column("COMPRESSED_DATA", "PB()", array=np.array([bomb], dtype=object))]
    )
    shape = {"ZNAXIS": 2, "ZNAXIS1": SHAPE[1], "ZNAXIS2": SHAPE[0]}
    table.header.update({"ZIMAGE": True, "ZCMPTYPE": "GZIP_1", "ZBITPIX": 32, **shape, **header(), **cards})
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(folder / "g.fits")
    return image_settings()


def archive(folder: Path, method: int) -> ImageSettings:
    """An array in an archive whose directory makes it out to be small."""
    text = str({"descr": "<f4", "fortran_order": False, "shape": (4, 4)}).ljust(117) + "\n"
    member = b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode() + bytes(MANY)
    with zipfile.ZipFile(folder / "a.npz", "w", method, compresslevel=1) as written:
        written.writestr("images.npy", member)
    content = (folder / "a.npz").read_bytes()
    (folder / "a.npz").write_bytes(content.replace(struct.pack("<I", len(member)), struct.pack("<I", 128 + 64)))
    return image_settings("numpy", image={"file": "a.npz"}, **PLACED)


def chunked(folder: Path, codec: Any, chunk: bytes, zarr_format: Any = 3) -> ImageSettings:
    """A Zarr array whose chunk is another."""
    array = zarr.create_array(folder / "a.zarr", data=noise(), chunks=SHAPE, compressors=codec, zarr_format=zarr_format)
    (folder / "a.zarr" / array.metadata.encode_chunk_key((0, 0))).write_bytes(chunk)
    return image_settings("zarr", image={"file": "{tile}.zarr"}, **PLACED)


def announced(folder: Path, **metadata: Any) -> ImageSettings:
    """A Zarr array without chunks, whose metadata announce much."""
    zarr.create_array(folder / "a.zarr", shape=SHAPE, chunks=SHAPE, dtype="f4")
    path = folder / "a.zarr" / "zarr.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | metadata))
    return image_settings("zarr", image={"file": "{tile}.zarr"}, **PLACED)


def zipped(folder: Path, settings: ImageSettings) -> ImageSettings:
    """The same array in a zip, its members deflated."""
    with zipfile.ZipFile(folder / "b.zarr.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as written:
        for path in sorted(each for each in (folder / "a.zarr").rglob("*") if each.is_file()):
            written.write(path, path.relative_to(folder / "a.zarr"))
    return settings.model_copy(update={"image": settings.image.model_copy(update={"file": "b.zarr.zip"})})


BOMBS: dict[str, tuple[Callable[[Path], ImageSettings], str]] = {
    "gzip before the image": (
        lambda folder: packed_fits(folder, lambda content: gzip.compress(content, 1), before=True),
        r"expected at most 268,435,456 bytes when unpacked, found headers that announce 300,\d+,\d+; unpack it",
    ),
    "gzip behind the image": (
        lambda folder: packed_fits(folder, lambda content: gzip.compress(content, 1), before=False),
        "bytes when unpacked, found headers that announce",
    ),
    "bzip2 behind the image": (
        lambda folder: packed_fits(folder, lambda content: bz2.compress(content, 1), before=False),
        "bytes when unpacked, found headers that announce",
    ),
    "tile larger than the image": (
        lambda folder: tile_compressed(folder, ZTILE1=20_000, ZTILE2=20_000),
        r"expected tiles of at most 5,760 bytes, found one of .* unpacks to more",
    ),
    "fewer tiles than the image needs": (
        lambda folder: tile_compressed(folder, ZNAXIS1=20_000, ZNAXIS2=20_000),
        "expected 20,000 packed tiles, found 1; fetch the file again",
    ),
    "archive, deflated": (lambda folder: archive(folder, zipfile.ZIP_DEFLATED), r"a.npz\[images\]: .*CRC"),
    "archive, by bzip2": (lambda folder: archive(folder, zipfile.ZIP_BZIP2), "packed by method 12, not stored or defl"),
    "archive, by lzma": (lambda folder: archive(folder, zipfile.ZIP_LZMA), "packed by method 14, not stored or defl"),
    "chunk, zstd": (
        lambda folder: chunked(folder, zarr.codecs.ZstdCodec(), bytes(numcodecs.Zstd().encode(bytes(MANY)))),
        "a.zarr: expected chunks of 2,880 bytes, found c/0/0 to be more; fetch it again",
    ),
    "chunk, gzip": (
        lambda folder: chunked(folder, zarr.codecs.GzipCodec(), gzip.compress(bytes(MANY), 1)),
        "expected chunks of 2,880 bytes",
    ),
    "chunk, blosc": (
        lambda folder: chunked(folder, zarr.codecs.BloscCodec(), bytes(numcodecs.Blosc().encode(bytes(MANY)))),
        "expected chunks of 2,880 bytes",
    ),
    "chunk, zlib": (
        lambda folder: chunked(folder, numcodecs.Zlib(), bytes(numcodecs.Zlib().encode(bytes(MANY))), 2),
        "expected chunks of 2,880 bytes, found 0.0 to be more",
    ),
    "chunk, lz4": (
        lambda folder: chunked(folder, numcodecs.LZ4(), bytes(numcodecs.LZ4().encode(bytes(MANY))), 2),
        "expected chunks of 2,880 bytes",
    ),
    "chunk, larger than any image": (
        lambda folder: announced(
            folder, chunk_grid={"name": "regular", "configuration": {"chunk_shape": [100_000, 100_000]}}
        ),
        r"a.zarr, a chunk: expected images of at most 536,870,912 pixels",
    ),
    "Zarr in a zip": (
        lambda folder: zipped(folder, chunked(folder, None, bytes(MANY))),
        r"b.zarr.zip: expected a zip of stored or deflated members, of at most 268,435,456 bytes, found 300,",
    ),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_and_not_held(tmp_path: Path, bomb: str) -> None:
    make, message = BOMBS[bomb]
    settings = make(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=message):
            read(tmp_path, settings)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < HELD


def test_a_table_larger_than_any_is_not_read(tmp_path: Path) -> None:
    """A file with a hole announces what its disk does not hold."""
    table = fits.Header({"XTENSION": "BINTABLE", "BITPIX": 8, "NAXIS": 2, "NAXIS1": 8, "NAXIS2": 10**8})
    table.update({"PCOUNT": 0, "GCOUNT": 1, "TFIELDS": 1, "TFORM1": "K"})
    with (tmp_path / "g.fits").open("wb") as file:
        file.write(fits.PrimaryHDU().header.tostring().encode() + table.tostring().encode())
        file.truncate(file.tell() + 8 * 10**8 + 2880)
    opened = FitsFile(tmp_path / "g.fits")
    with pytest.raises(ImageError, match=r"extension 1 \(table\): expected images of at most"):
        opened.table(opened.find(1))
    opened.close()


def test_what_is_packed_well_and_is_small_is_read(tmp_path: Path) -> None:
    """An image of zeros packs to a thousandth."""
    pixels = np.zeros((2000, 2000), np.float32)
    written = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(pixels, header())]).writeto(written)
    (tmp_path / "g.fits").write_bytes(gzip.compress(written.getvalue(), 1))
    assert (tmp_path / "g.fits").stat().st_size < pixels.nbytes / 100
    assert not read(tmp_path, image_settings()).pixels.any()
