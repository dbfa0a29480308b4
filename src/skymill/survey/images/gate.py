"""The gate for pixels: whatever a layout gives leaves it native-endian, C-ordered, float32, in nJy.

ONNX Runtime and sep read big-endian arrays, as FITS has them, as garbage: nothing reaches them around this gate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skymill.survey.images.bands import BandSource, Description, Layout, NoiseRole
from skymill.survey.images.limits import check_numbers
from skymill.survey.images.mask_planes import CommonPlanes, as_bits
from skymill.survey.images.tile import ImageError

LARGEST = float(np.finfo(np.float32).max)
STRIP_ROWS = 64


@dataclass(frozen=True)
class BandPixels:
    """A band on its own grid.

    Attributes
    ----------
    pixels : ndarray of float32, (ny, nx)
        nJy, NaN where there is no value.
    inverse_variance : ndarray of float32, (ny, nx)
        1 / nJy^2, or relative weights; 0 where a pixel is not to be used.
    mask : ndarray of uint32, (ny, nx)
    """

    pixels: NDArray[np.float32]
    inverse_variance: NDArray[np.float32]
    mask: NDArray[np.uint32]

    @classmethod
    def nothing(cls, shape: tuple[int, ...]) -> Self:
        """Give a band, or (bands, ny, nx) of them, without any value."""
        return cls(np.full(shape, np.nan, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.uint32))


def read_band(
    layout: Layout,
    source: BandSource,
    description: Description,
    planes: CommonPlanes,
    target: Callable[[], BandPixels] | None = None,
) -> BandPixels:
    """Decode a band and bring it through the gate.

    Parameters
    ----------
    layout, source, description, planes
    target : callable, optional
        Gives the arrays to fill, of nothing yet, once the file holds what its header announces; default new ones.

    Raises
    ------
    ImageError
        If images differ in shape, or do not hold real numbers.
    """
    where, shape = description.grid.where, description.grid.shape
    pixels = _numbers(layout.array(source, "image"), source, "image", where, shape)
    if pixels is None:
        raise ImageError(f"{where}: expected an image, found none; correct `hdu`")
    noise = None
    if description.noise is not None:
        noise = _numbers(layout.array(source, description.noise), source, description.noise, where, shape)
    mask = _numbers(layout.array(source, "mask"), source, "mask", where, shape)
    band = BandPixels.nothing(shape) if target is None else target()
    if mask is not None:
        named = _named(source, "mask")
        band.mask[:] = planes.renumber(as_bits(mask, named), layout.planes(source), named)
    for strip in strips(shape[0]):
        band.pixels[strip] = in_nJy(pixels[strip], description.nJy)
        told = noise if noise is None else noise[strip]
        weights = inverse_variance(told, description.noise, description.nJy, pixels[strip].shape)
        weights[np.isnan(band.pixels[strip])] = 0.0
        band.inverse_variance[strip] = weights
    return band


def strips(n: int) -> Iterator[slice]:
    """Part `n` rows into strips that are worked on while they stand in the processor's cache."""
    yield from (slice(start, min(start + STRIP_ROWS, n)) for start in range(0, n, STRIP_ROWS))


def in_nJy(pixels: NDArray[Any], factor: float) -> NDArray[np.float32]:
    """Scale pixels of any number type to nJy.

    Parameters
    ----------
    pixels : ndarray, (ny, nx)
        Any byte order and stride; a masked array where pixels are empty.
    factor : float
        nJy of one unit.

    Returns
    -------
    ndarray of float32, (ny, nx)
        A new array; NaN where a value is empty, infinite, or too large for float32.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        stored = np.ma.getdata(pixels)
        scaled = stored if factor == 1.0 else np.multiply(stored, factor, dtype=np.float64)
        values = scaled.astype(np.float32, order="C")
    values[~np.isfinite(values) | np.ma.getmask(pixels)] = np.nan
    return values


def inverse_variance(
    noise: NDArray[Any] | None, role: NoiseRole | None, factor: float, shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Turn what tells the noise into inverse variances, or relative weights.

    Parameters
    ----------
    noise : ndarray, (ny, nx), or None
        In the square of the pixels' unit, or 1 over it; weights have no unit.
    role : str or None
        What it is.
    factor : float
        nJy of one unit of the pixels.
    shape : (int, int)

    Returns
    -------
    ndarray of float32, (ny, nx)
        0 where a variance is not finite or not positive, an inverse variance or weight negative or not finite; 1
        where nothing is told. What is too large for float32 becomes the largest of its numbers.
    """
    if noise is None or role is None:
        return np.ones(shape, dtype=np.float32)
    told = np.array(np.ma.getdata(noise), dtype=np.float64, order="C")
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        usable = (told > 0) & (told < np.inf) & ~np.ma.getmaskarray(noise)
        if role == "variance":
            np.divide(factor**-2, told, out=told)
        elif role == "inverse_variance":
            told *= factor**-2
    told[~usable] = 0.0
    return np.minimum(told, LARGEST, out=told).astype(np.float32)


def _numbers(
    array: NDArray[Any] | None, source: BandSource, role: str, where: str, shape: tuple[int, int]
) -> NDArray[Any] | None:
    """Refuse an image of another shape or of what are not real numbers."""
    if array is None:
        return None
    named = _named(source, role)
    check_numbers(array.dtype, named)
    if array.shape != shape:
        raise ImageError(
            f"{named}: expected the shape of {where}, {shape[0]} x {shape[1]}, found "
            f"{' x '.join(map(str, array.shape))}; correct the pattern or `hdu`, or fetch both files again"
        )
    return array


def _named(source: BandSource, role: str) -> str:
    """Name the file of a role for messages, and what is read of it."""
    return f"{source.paths.get(role, source.paths['image'])} ({role.replace('_', ' ')} of band '{source.band}')"
