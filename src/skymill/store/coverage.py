"""The part of the sky that a version covers, as a MOC."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skymill.sky import ORDER, Tile, unit_vectors
from skymill.store.errors import StoreError
from skymill.store.manifest import AnyEntry, TileEntry
from skymill.store.paths import pool_file

if TYPE_CHECKING:
    from mocpy import MOC

PIXELS = ("y", "x")
"""The dimensions of an image tile's maps."""
CELLS = 50
"""Cells, at least, along the shorter side of an image: its outline is covered to a fiftieth of that."""
CELL_SIZE = np.sqrt(np.pi / 3)
"""Radians along the side of a HEALPix cell of order 0; each order halves it."""
EDGE_POINTS = 8
"""Points along each edge of an outline: between them it is a great circle."""


def coverage(entries: Sequence[AnyEntry], root: Path) -> MOC:
    """Give the part of the sky that finished tiles cover.

    A tile of the sky covers its pixel. A tile of images covers its pixels within its outline by its WCS, found or not
    found anything: where the survey looked and saw nothing, it looked.

    Parameters
    ----------
    entries : sequence of TileEntry or of ImageEntry
    root : Path
        The catalogue's folder; tiles of images are opened, for their WCS.

    Raises
    ------
    StoreError
        If a tile of images does not tell its outline.
    """
    from mocpy import MOC

    if not entries:
        return MOC.new_empty(max_depth=0)
    tiles = [entry.tile for entry in entries if isinstance(entry, TileEntry)]
    if tiles:
        return _of_sky(tiles)
    parts = [_of_outline(*_outline(root / pool_file(entry.tile, entry.key))) for entry in entries]
    return parts[0].union(*parts[1:]) if len(parts) > 1 else parts[0]


def _of_sky(tiles: Sequence[Tile]) -> MOC:
    from mocpy import MOC

    orders = np.array([tile.order for tile in tiles], dtype=np.uint8)
    pixels = np.array([tile.pixel for tile in tiles], dtype=np.uint64)
    return MOC.from_healpix_cells(pixels, orders, max_depth=int(orders.max()))


def _of_outline(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> MOC:
    from astropy.coordinates import Latitude, Longitude
    from mocpy import MOC

    corners = unit_vectors(ra[::EDGE_POINTS], dec[::EDGE_POINTS])
    shortest = np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1).min()
    order = int(np.clip(np.ceil(np.log2(CELLS * CELL_SIZE / max(shortest, 1e-9))), 0, ORDER))
    return MOC.from_polygon(Longitude(ra, "deg"), Latitude(dec, "deg"), max_depth=order)


def _outline(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give points along the edge of an image tile's pixels, (4 EDGE_POINTS,) each in degrees."""
    from astropy.io import fits
    from astropy.wcs import WCS

    from skymill.store.reader import open_tile

    tile = open_tile(path)
    shape = next((array.shape for array in tile.store.layout.arrays.values() if array.dims == PIXELS), None)
    header = tile.attrs.get("wcs")
    if shape is None or not isinstance(header, str):
        raise StoreError(
            f"{path}: expected an image tile with a map along {PIXELS} and cards of its WCS in the attribute `wcs`, "
            "found none; delete it with the group manifest that names it and run again"
        )
    x, y = edge(*shape)
    ra, dec = WCS(fits.Header.fromstring(header)).all_pix2world(x, y, 0)
    if not np.isfinite([ra, dec]).all():
        raise StoreError(f"{path}: expected an outline on the sky, found that its WCS gives none; correct the image")
    return np.asarray(ra) % 360.0, np.asarray(dec)


def edge(ny: int, nx: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give the points (x, y) of a walk around an image, along the outer edges of its pixels."""
    steps = np.arange(EDGE_POINTS) / EDGE_POINTS
    there, back, still = steps, 1 - steps, np.zeros(EDGE_POINTS)
    x = np.concatenate([there, still + 1, back, still]) * nx - 0.5
    y = np.concatenate([still, there, still + 1, back]) * ny - 0.5
    return x, y
