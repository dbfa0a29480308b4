"""Stamps of sources, cut from a tile in memory into one buffer: what training and inference on pixels both read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skymill.config.images import PLANES
from skymill.survey.images.gate import strips
from skymill.survey.images.tile import TilePixels

Layer = Literal["pixels", "inverse_variance", "mask"]
"""What may be cut: arrays of `TilePixels`."""
WEIGHTLESS = 0x0F
"""Of all bands, in the bytes of `_flaws`."""
BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little").astype(np.float64)
"""Bits of each value of a byte, lowest first, (256, 8)."""


@dataclass(frozen=True)
class CutoutBatch:
    """Stamps of some sources, in the order of the sources.

    The arrays are views of buffers **that the next batch overwrites**, or the one after as many as `cutouts` was given
    buffers for: copy what is to stay.

    Attributes
    ----------
    sources : slice
        Which of the sources given to `cutouts` these are.
    coverage_frac : ndarray of float32, (k, bands)
        Share of a stamp's pixels that lie on the image and have weight.
    masked_frac : ndarray of float32, (k, bands)
        Share of a stamp's pixels that lie on the image and in a mask plane with a role (`config.images.PLANES`).
    pixels : ndarray of float32, (k, bands, size, size), optional
        nJy; NaN outside the image.
    inverse_variance : ndarray of float32, (k, bands, size, size), optional
        1 / nJy^2; 0 outside the image.
    mask : ndarray of uint32, (k, bands, size, size), optional
        Bits by `TilePixels.planes`; outside the image those of the role `no_data`, 0 where there are none.
    """

    sources: slice
    coverage_frac: NDArray[np.float32]
    masked_frac: NDArray[np.float32]
    pixels: NDArray[np.float32] | None = None
    inverse_variance: NDArray[np.float32] | None = None
    mask: NDArray[np.uint32] | None = None


def cutouts(
    tile: TilePixels,
    x: ArrayLike,
    y: ArrayLike,
    size: int,
    *,
    batch: int = 64,
    what: Sequence[Layer] = ("pixels",),
    buffers: int = 1,
) -> Iterator[CutoutBatch]:
    """Cut the stamps of sources out of a tile, batch by batch.

    A stamp is centred on the pixel ``floor(x + 1/2), floor(y + 1/2)``, the one that holds the source (integers are
    pixel centres; half-way goes up), which becomes its pixel ``size // 2`` in both directions: the middle one of an
    odd size, the first after the middle of an even one. It stays so at the image's border, where the stamp is padded.
    A source wholly outside, or one without a position, has a stamp of padding and coverage 0.

    Parameters
    ----------
    tile : TilePixels
    x, y : array_like, (n,)
        Positions in the tile, pixels counted from 0.
    size : int
        Of the stamps, pixels.
    batch : int
        Stamps in a batch; the last may have fewer.
    what : sequence of {'pixels', 'inverse_variance', 'mask'}
        What is cut.
    buffers : int
        Batches that stand in memory at once: with two, one may be looked at while the next is cut.

    Yields
    ------
    CutoutBatch
        Whose arrays the next one overwrites; with `buffers`, the one that is so many later.

    Raises
    ------
    ValueError
        If sizes or positions are not as above, or `what` names something else.
    """
    columns, rows = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if columns.ndim != 1 or columns.shape != rows.shape:
        raise ValueError(f"{tile.name}: expected x and y of one shape (n,), found {columns.shape} and {rows.shape}")
    if min(size, batch, buffers) < 1:
        raise ValueError(
            f"{tile.name}: expected a size, a batch and buffers of at least 1, found {size}, {batch} and {buffers}"
        )
    unknown = sorted(set(what) - set(get_args(Layer)))
    if unknown:
        raise ValueError(f"{tile.name}: expected any of {', '.join(get_args(Layer))}, found {', '.join(unknown)}")
    ny, nx = tile.shape
    corners = list(zip(_first(rows, ny, size), _first(columns, nx, size)))
    return _cut(tile, corners, (size, batch, buffers), what)


def _cut(
    tile: TilePixels, corners: list[tuple[int, int]], sizes: tuple[int, int, int], what: Sequence[Layer]
) -> Iterator[CutoutBatch]:
    """Cut the stamps whose first pixels (row, column) are given; `sizes` are those of a stamp, a batch, the buffers."""
    size, batch, buffers = sizes
    sheets = {name: _Sheet(getattr(tile, name), _padding(tile)[name], size, batch, buffers) for name in what}
    flaws = _Sheet(_flaws(tile), WEIGHTLESS, size, batch)
    for start in range(0, len(corners), batch):
        these = corners[start : start + batch]
        weightless, masked = _shares(flaws.cut(these), len(tile.bands))
        yield CutoutBatch(
            slice(start, start + len(these)),
            1 - weightless,
            masked,
            **{name: sheet.cut(these) for name, sheet in sheets.items()},
        )


class _Sheet:
    """An array (layers, ny, nx) to cut from, what stands outside it, and buffers for batches of its stamps."""

    def __init__(self, array: NDArray[Any], padding: Any, size: int, batch: int, buffers: int = 1) -> None:
        self.array, self.padding = array, padding
        shape = (batch, array.shape[0], size, size)
        self.buffers = cycle([np.empty(shape, array.dtype) for _ in range(buffers)])

    def cut(self, corners: list[tuple[int, int]]) -> NDArray[Any]:
        """Fill the buffer whose turn it is from its start; give what was filled."""
        buffer = next(self.buffers)
        size = buffer.shape[-1]
        ny, nx = self.array.shape[1:]
        for stamp, (row, column) in zip(buffer, corners):
            if 0 <= row <= ny - size and 0 <= column <= nx - size:
                stamp[:] = self.array[:, row : row + size, column : column + size]
            else:
                self._cut_at_border(stamp, row, column)
        return buffer[: len(corners)]

    def _cut_at_border(self, stamp: NDArray[Any], row: int, column: int) -> None:
        stamp[:] = self.padding
        (to_y, from_y), (to_x, from_x) = (
            _overlap(first, n, stamp.shape[-1]) for first, n in zip((row, column), self.array.shape[1:])
        )
        stamp[:, to_y, to_x] = self.array[:, from_y, from_x]


def _overlap(first: int, n: int, size: int) -> tuple[slice, slice]:
    """Give where `size` pixels from `first` on overlap with an image of `n`: in the stamp, and in the image."""
    start, stop = max(first, 0), max(min(first + size, n), 0)
    return slice(start - first, max(stop, start) - first), slice(start, max(stop, start))


def _first(position: NDArray[np.float64], n: int, size: int) -> list[int]:
    """Give the first pixels of stamps along one axis; those wholly outside start just outside."""
    with np.errstate(invalid="ignore"):
        first = np.floor(position + 0.5) - size // 2
    first = np.where(np.isnan(first), -size, np.clip(first, -size, n))
    found: list[int] = first.astype(np.int64).tolist()
    return found


def _flaws(tile: TilePixels) -> NDArray[np.uint8]:
    """Look at all weights and masks once; give bytes that are quick to cut and to count, (ceil(bands / 4), ny, nx).

    A byte tells of up to four bands which have no weight at the pixel (bits 0 to 3) and which are masked (4 to 7).
    """
    bands, (ny, nx) = len(tile.bands), tile.shape
    bad = np.uint32(_bits(tile, PLANES))
    flaws = np.zeros((-(-bands // 4), ny, nx), np.uint8)
    for strip in strips(ny):
        for band in range(bands):
            weightless = tile.inverse_variance[band, strip] <= 0
            masked = (tile.mask[band, strip] & bad) != 0
            layer = flaws[band // 4, strip]
            layer |= weightless.view(np.uint8) * np.uint8(1 << band % 4)
            layer |= masked.view(np.uint8) * np.uint8(16 << band % 4)
    return flaws


def _shares(flaws: NDArray[np.uint8], bands: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give the shares of pixels without weight and of masked ones, (k, bands) each.

    The few bytes that are not 0 are counted by stamp, layer and value; the bits of the values then give the counts.
    """
    k, layers = flaws.shape[:2]
    flat = flaws.reshape(-1)
    found = np.flatnonzero(flat != 0)
    pixels = flaws[0, 0].size
    counts = np.bincount(found // pixels * 256 + flat[found], minlength=k * layers * 256)
    shares = counts.reshape(k, layers, 256) @ BITS / pixels  # (k, layers, 8)
    weightless, masked = (shares[..., part].reshape(k, -1)[:, :bands] for part in (slice(4), slice(4, 8)))
    return weightless.astype(np.float32), masked.astype(np.float32)


def _bits(tile: TilePixels, roles: Sequence[str]) -> int:
    """Give the bits of all mask planes that have one of some roles."""
    names = {name for role in roles for name in tile.roles.get(role, ())}
    return sum(1 << tile.planes[name] for name in names if name in tile.planes)


def _padding(tile: TilePixels) -> dict[Layer, float]:
    return {"pixels": np.nan, "inverse_variance": 0.0, "mask": _bits(tile, ("no_data",))}
