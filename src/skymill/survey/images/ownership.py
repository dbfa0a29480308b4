"""Which of the image tiles that overlap a source belongs to.

The tile whose middle is nearest owns a position, among those whose pixels hold it: the inner regions of a regular grid
of patches, and as good a rule for frames that lie anyhow. It partitions the sky that the tiles cover, and needs no more
than the tiles' outlines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skymill.sky import unit_vectors

if TYPE_CHECKING:
    from astropy.wcs import WCS

PRIMARY = "detect_isPrimary"
"""The column that tells whether a source belongs to the tile it was measured on."""


@dataclass(frozen=True)
class Outline:
    """The place of an image tile on the sky.

    Attributes
    ----------
    name : str
    header : str
        Cards of a celestial WCS in ICRS, as FITS writes them.
    shape : tuple of int
        Rows and columns.
    """

    name: str
    header: str
    shape: tuple[int, int]

    @cached_property
    def wcs(self) -> WCS:
        """The tile's WCS."""
        from astropy.io import fits  # most jobs only ask whose name the column has
        from astropy.wcs import WCS

        return WCS(fits.Header.fromstring(self.header))

    @cached_property
    def centre(self) -> tuple[float, float]:
        """RA and Dec of the tile's middle, degrees."""
        ra, dec = self.wcs.all_pix2world((self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2, 0)
        return float(ra) % 360, float(dec)

    @cached_property
    def radius(self) -> float:
        """Degrees from the middle to the farthest corner."""
        ny, nx = self.shape
        ra, dec = self.wcs.all_pix2world([-0.5, nx - 0.5, -0.5, nx - 0.5], [-0.5, -0.5, ny - 0.5, ny - 0.5], 0)
        return float(np.degrees(self.distance(ra, dec).max()))

    def holds(self, ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which positions (degrees) lie on the tile's pixels."""
        near = self.distance(ra, dec) <= np.radians(self.radius * 1.01)
        inside = np.zeros(len(ra), bool)
        if near.any():
            x, y = self.wcs.all_world2pix(ra[near], dec[near], 0, quiet=True)
            ny, nx = self.shape
            inside[near] = (x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5)
        return inside

    def distance(self, ra: Any, dec: Any) -> NDArray[np.float64]:
        """Give the angles from the tile's middle, radians."""
        chord = np.linalg.norm(
            unit_vectors(np.asarray(ra, float), np.asarray(dec, float))
            - unit_vectors(np.array([self.centre[0]]), np.array([self.centre[1]])),
            axis=-1,
        )
        return np.asarray(2 * np.arcsin(np.clip(chord / 2, 0, 1)))

    def overlaps(self, other: Outline) -> bool:
        """Tell whether two tiles may share sky: their circles do."""
        apart = np.degrees(self.distance(*(np.array([value]) for value in other.centre)))[0]
        return bool(apart < self.radius + other.radius)


def owned(
    ra: NDArray[np.float64], dec: NDArray[np.float64], tile: Outline, neighbours: Sequence[Outline]
) -> NDArray[np.bool_]:
    """Tell which positions belong to a tile and to none of its neighbours.

    Parameters
    ----------
    ra, dec : ndarray of float64, (n,)
        Degrees, on the tile.
    tile : Outline
    neighbours : sequence of Outline
        Every tile that overlaps it. Of two tiles equally far the first by name is the owner.

    Returns
    -------
    ndarray of bool, (n,)
    """
    mine = np.ones(len(ra), bool)
    own = tile.distance(ra, dec)
    for other in neighbours:
        theirs = other.distance(ra, dec)
        nearer = theirs <= own if other.name < tile.name else theirs < own
        nearer[nearer] = other.holds(ra[nearer], dec[nearer])
        mine &= ~nearer
    return mine
