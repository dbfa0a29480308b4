"""Mask planes: which bit has which name, in the files' words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from skymill.survey.images.tile import ImageError

BITS = 32
"""Of a pixel of `TilePixels.mask`."""
AFW = "MP_"
"""`MP_SAT = 1`: bit of a plane, in files of the LSST and HSC pipelines."""
CELLS = "MSKN"
"""`MSKN0003 = 'SATURATED'`: name of a plane, whose mask `MSKM0003` is 2^3, in files of the package lsst-images."""


def planes_of(header: fits.Header, where: str) -> dict[str, int]:
    """Read the bit of each plane from a mask's header; none where it names none.

    Raises
    ------
    ImageError
        If a card does not give a bit of 0 to 31.
    """
    planes: dict[str, int] = {}
    for keyword in header:
        if keyword.startswith(AFW):
            planes[keyword.removeprefix(AFW)] = _bit(header[keyword], keyword, where)
        elif keyword.startswith(CELLS) and (number := keyword.removeprefix(CELLS)).isdigit():
            mask = header.get(f"MSKM{number}", 1 << int(number))
            bit = mask.bit_length() - 1 if isinstance(mask, int) and mask > 0 and mask & (mask - 1) == 0 else None
            planes[str(header[keyword]).strip()] = _bit(bit, f"MSKM{number}", where)
    return dict(sorted(planes.items(), key=lambda plane: plane[1]))


def _bit(value: object, keyword: str, where: str) -> int:
    if not isinstance(value, int) or not 0 <= value < BITS:
        raise ImageError(
            f"{where}: expected {keyword} to give one bit of 0 to {BITS - 1}, found {value!r}; mend the header"
        )
    return value


class CommonPlanes:
    """One numbering of planes for all bands of a tile: bits are given anew in every file."""

    def __init__(self) -> None:
        self.planes: dict[str, int] = {}
        """Bit of each plane."""

    def renumber(self, mask: NDArray[np.uint32], planes: Mapping[str, int], where: str) -> NDArray[np.uint32]:
        """Move a band's bits to where the bands before it have the same planes.

        Parameters
        ----------
        mask : ndarray of uint32, (ny, nx)
            Bits that no plane names become planes `BIT_<number>`.
        planes : mapping of str to int
        where : str

        Raises
        ------
        ImageError
            If there are more than 32 planes in all.
        """
        named = {**planes, **_unnamed(mask, planes)}
        moves = [(bit, self._bit(name, bit, where)) for name, bit in named.items()]
        if all(bit == new for bit, new in moves):
            return mask
        moved = np.zeros_like(mask)
        for bit, new in moves:
            moved |= ((mask >> np.uint32(bit)) & np.uint32(1)) << np.uint32(new)
        return moved

    def _bit(self, name: str, wished: int, where: str) -> int:
        if name not in self.planes:
            free = [bit for bit in (wished, *range(BITS)) if bit not in self.planes.values()]
            if not free:
                raise ImageError(
                    f"{where}: expected at most {BITS} mask planes in a tile's bands, found '{name}' beside "
                    f"{', '.join(self.planes)}; leave planes out of the files"
                )
            self.planes[name] = free[0]
        return self.planes[name]


def unnamed_planes(planes: Mapping[str, int]) -> list[str]:
    """Give the planes that neither a file nor the settings named."""
    return [name for name in planes if name.startswith("BIT_")]


def _unnamed(mask: NDArray[np.uint32], planes: Mapping[str, int]) -> dict[str, int]:
    left = int(np.bitwise_or.reduce(mask, axis=None)) & ~sum({1 << bit for bit in planes.values()})
    return {f"BIT_{bit}": bit for bit in range(BITS) if left >> bit & 1}


def as_bits(mask: NDArray[Any], where: str) -> NDArray[np.uint32]:
    """Give a mask of any kind of integers as 32 bits per pixel.

    Raises
    ------
    ImageError
        If it holds other numbers, or bits above the 31st.
    """
    if mask.dtype.kind == "b":
        return np.ascontiguousarray(mask, dtype=np.uint32)
    if mask.dtype.kind == "f" and np.array_equal(mask, np.trunc(mask)):
        mask = mask.astype(np.int64)
    if mask.dtype.kind not in "iu":
        raise ImageError(
            f"{where}: expected a mask of integers, bits per pixel, found {mask.dtype}; store it as integers"
        )
    if mask.dtype.itemsize > 4 and mask.size and not (mask.min() >= 0 and mask.max() < 2**BITS):
        raise ImageError(
            f"{where}: expected a mask of {BITS} bits, found values from {mask.min()} to {mask.max()}; leave planes out"
        )
    return np.ascontiguousarray(mask.astype(np.uint32))
