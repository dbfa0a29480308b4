"""The pixels of one image tile, all bands on one grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.io.fits import Header
from astropy.wcs import WCS
from numpy.typing import NDArray


class ImageError(ValueError):
    """Images that cannot be used: the message names the file, what was expected, what was found and the mend."""


@dataclass(frozen=True)
class Psf:
    """The point-spread function of a band over a tile.

    Attributes
    ----------
    fwhm_px : float
    image : ndarray of float32, (k, k), optional
        k odd, centred on the middle pixel, of sum 1; None where only the width is known (a Gaussian then).
    """

    fwhm_px: float
    image: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class TilePixels:
    """The pixels of an image tile as they leave the reader: native-endian, C-ordered, in nJy.

    Attributes
    ----------
    name : str
        Of the tile.
    bands : tuple of str
        In the survey's order, all of them.
    pixels : ndarray of float32, (bands, ny, nx)
        nJy; NaN where there is no value. A band that is missing in this tile is NaN throughout.
    inverse_variance : ndarray of float32, (bands, ny, nx)
        1 / nJy^2, never negative, NaN or infinite; 0 where a pixel has no value or is not to be used.
    mask : ndarray of uint32, (bands, ny, nx)
        Bits by `planes`.
    planes : mapping of str to int
        Bit number of each mask plane, in the survey's own words.
    roles : mapping of str to tuple of str
        Which planes mean what (`config.images.PLANES`).
    wcs : WCS
        Celestial, ICRS, of the common grid; its pixels are counted from 0.
    psf : mapping of str to Psf
        By band; a band without one is not in it.
    metadata : mapping
        What the files tell of themselves.
    resampled : tuple of str
        Bands whose pixels were brought from another grid: their noise is correlated.
    noise_known : bool
        False where the survey gives no noise, or relative weights only: `inverse_variance` then holds these (1 where
        there are none), and whoever measures scales them by the noise of the background.
    """

    name: str
    bands: tuple[str, ...]
    pixels: NDArray[np.float32]
    inverse_variance: NDArray[np.float32]
    mask: NDArray[np.uint32]
    planes: Mapping[str, int]
    roles: Mapping[str, tuple[str, ...]]
    wcs: WCS
    psf: Mapping[str, Psf] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    resampled: tuple[str, ...] = ()
    noise_known: bool = True

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.pixels.shape[1], self.pixels.shape[2]

    def plane(self, name: str) -> NDArray[np.bool_]:
        """Give the pixels of one of the survey's mask planes, (bands, ny, nx).

        Raises
        ------
        KeyError
            If there is no such plane; the message lists those there are.
        """
        if name not in self.planes:
            raise KeyError(f"{self.name}: no mask plane '{name}'; there are {', '.join(self.planes) or 'none'}")
        return (self.mask & np.uint32(1 << self.planes[name])) != 0

    def having(self, role: str) -> NDArray[np.bool_]:
        """Give the pixels that have a role (`saturated`, `bad`, ...), (bands, ny, nx)."""
        bits = sum(1 << self.planes[name] for name in self.roles.get(role, ()) if name in self.planes)
        return (self.mask & np.uint32(bits)) != 0


@dataclass(frozen=True)
class TileGeometry:
    """Where an image tile is, before its pixels are decoded.

    Attributes
    ----------
    name : str
        Of the tile.
    header : str
        FITS header text of the WCS of the common grid: celestial, ICRS.
    shape : (int, int)
        Rows and columns of the common grid.
    bands : tuple of str
        That the tile has, in the survey's order.
    origin : (int, int), optional
        Column and row of the first pixel in the survey's own count over a tract or detector, where its files tell it.
    inner : (int, int, int, int), optional
        First column and row, and those behind the last, of what belongs to no neighbouring tile, counted in this tile;
        where its files tell it.
    """

    name: str
    header: str
    shape: tuple[int, int]
    bands: tuple[str, ...]
    origin: tuple[int, int] | None = None
    inner: tuple[int, int, int, int] | None = None

    @property
    def wcs(self) -> WCS:
        """The WCS of the header; its pixels are counted from 0 where its methods are called so."""
        return WCS(Header.fromstring(self.header), naxis=2)
