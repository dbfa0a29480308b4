"""The strip of sky around a tile."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skymill.sky.healpix import ORDER, Tile

NARROWEST = 0.4
"""No HEALPix pixel is narrower than this share of 58.6 degrees / 2^order, the side of a square of its area."""
DEEPEST = 24


def border_ranges(tile: Tile, width_deg: float) -> NDArray[np.int64]:
    """Give half-open ranges of order-29 indices that hold every place outside a tile and within a distance of it.

    Parameters
    ----------
    tile : Tile
    width_deg : float
        More than 0, up to 10.

    Returns
    -------
    ndarray of int64, (m, 2)
        Sorted; none overlaps the tile.

    Raises
    ------
    ValueError
        If the strip is wider than that.
    """
    from cdshealpix.nested import external_neighbours

    if not 0 < width_deg <= 10:
        raise ValueError(f"border: expected a width of up to 10 degrees, found {width_deg}")
    order = int(np.clip(np.floor(np.log2(58.6 * NARROWEST / width_deg)), 0, DEEPEST))
    depth = min(tile.order, order)
    # A tile smaller than the strip has the neighbours of the pixel that holds it, and that pixel's other tiles.
    holder = tile.pixel >> 2 * (tile.order - depth)
    around = external_neighbours(np.array([holder]), depth, order - depth)
    cells = np.unique(np.concatenate([cells.ravel() for cells in around]).astype(np.int64))
    shift = 2 * (ORDER - order)
    ranges = [(cell << shift, (cell + 1) << shift) for cell in cells[cells >= 0].tolist()]
    first, last = tile.pixel << 2 * (ORDER - tile.order), (tile.pixel + 1) << 2 * (ORDER - tile.order)
    start, stop = holder << 2 * (ORDER - depth), (holder + 1) << 2 * (ORDER - depth)
    ranges += [edge for edge in ((start, first), (last, stop)) if edge[0] < edge[1]]
    return np.array(sorted(ranges), np.int64).reshape(-1, 2)
