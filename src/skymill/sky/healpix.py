"""HEALPix indices, always NESTED, with ra = longitude and dec = latitude (Gorski et al. 2005, ApJ 622, 759)."""

from __future__ import annotations

from typing import NamedTuple

import healpix
import numpy as np
from numpy.typing import ArrayLike, NDArray

ORDER = 29
"""The order of `_healpix_29`, the finest that fits an int64."""


class Tile(NamedTuple):
    """A HEALPix pixel: the unit of everything."""

    order: int
    pixel: int

    def __str__(self) -> str:
        return f"Norder={self.order}/Npix={self.pixel}"


class ImageTile(NamedTuple):
    """A tile of a survey's images, which keeps the survey's own name: `tract=9813/patch=40`."""

    name: str

    def __str__(self) -> str:
        return self.name


AnyTile = Tile | ImageTile


def order29(ra: ArrayLike, dec: ArrayLike) -> NDArray[np.int64]:
    """Give `_healpix_29` of positions.

    Parameters
    ----------
    ra, dec : array_like of float64, (n,)
        ICRS degrees; dec in [-90, 90].

    Returns
    -------
    ndarray of int64, (n,)
    """
    longitude = np.ascontiguousarray(ra, dtype=np.float64)
    latitude = np.ascontiguousarray(dec, dtype=np.float64)
    index = healpix.ang2pix(1 << ORDER, longitude, latitude, nest=True, lonlat=True)
    return np.asarray(index, dtype=np.int64)


def at_order(healpix29: NDArray[np.int64], order: int) -> NDArray[np.int64]:
    """Give the pixel at `order` that holds each order-29 index."""
    return healpix29 >> 2 * (ORDER - order)


def tile_range(tile: Tile) -> tuple[int, int]:
    """Give the half-open range of order-29 indices inside a tile."""
    shift = 2 * (ORDER - tile.order)
    return tile.pixel << shift, (tile.pixel + 1) << shift


def tile_centres(order: int, pixels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give ra, dec (degrees) of the centres of pixels of one order."""
    ra, dec = healpix.pix2ang(1 << order, np.asarray(pixels, dtype=np.int64), nest=True, lonlat=True)
    return np.asarray(ra), np.asarray(dec)
