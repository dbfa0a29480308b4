"""From a sparse count map to adaptive HEALPix tiles: the tiles that HATS would make, without a loop over pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymill.sky import ORDER

Ints = NDArray[np.int64]


class CountMap(NamedTuple):
    """Rows per pixel of one order; only pixels with rows, ascending."""

    pixel: Ints
    n_rows: Ints


class TileTable(NamedTuple):
    """Tiles as columns, in the order of the sky (of their first order-29 index)."""

    order: Ints
    pixel: Ints
    n_rows: Ints


def count_pixels(pixels: Ints) -> CountMap:
    """Count the rows in each pixel; `pixels` in any order."""
    found, n_rows = np.unique(pixels, return_counts=True)
    return CountMap(found, n_rows.astype(np.int64))


def add_counts(maps: list[CountMap]) -> CountMap:
    """Add count maps of the same order."""
    if not maps:
        return CountMap(np.empty(0, np.int64), np.empty(0, np.int64))
    pixel = np.concatenate([counts.pixel for counts in maps])
    order = np.argsort(pixel, kind="stable")
    n_rows = np.concatenate([counts.n_rows for counts in maps])[order]
    return _sum_runs(pixel[order], n_rows)


def coarsen(counts: CountMap, *, levels: int) -> CountMap:
    """Give the map of a coarser order."""
    return _sum_runs(counts.pixel >> 2 * levels, counts.n_rows)


def adaptive_tiles(counts: CountMap, *, order: int, lowest_order: int, max_rows: int) -> tuple[TileTable, CountMap]:
    """Choose the largest pixels that hold at most `max_rows` rows.

    From `lowest_order` down, a pixel within the bound becomes a tile and any other is split into its four children;
    empty pixels vanish. These are the tiles of `hats.pixel_math.generate_alignment`, and they do not depend on `order`
    as long as no pixel is left over.

    Parameters
    ----------
    counts : CountMap
        Rows per pixel at `order`.
    order, lowest_order : int
        Order of the map, and of the largest tiles.
    max_rows : int
        Bound of a tile.

    Returns
    -------
    tiles : TileTable
    crowded : CountMap
        Pixels of `order` that are still over the bound and need a finer map.

    Raises
    ------
    ValueError
        If `lowest_order` is beyond `order`.
    """
    if lowest_order > order:
        raise ValueError(f"lowest_order {lowest_order} is beyond the count map's order {order}; lower it")
    tiles = []
    remaining = counts
    for level in range(lowest_order, order + 1):
        at_level = coarsen(remaining, levels=order - level)
        fits = at_level.n_rows <= max_rows
        tiles.append(tile_table(np.full(int(fits.sum()), level), at_level.pixel[fits], at_level.n_rows[fits]))
        parent = np.searchsorted(at_level.pixel, remaining.pixel >> 2 * (order - level))
        over = ~fits[parent]
        remaining = CountMap(remaining.pixel[over], remaining.n_rows[over])
    return join_tiles(tiles), remaining


def tile_table(order: NDArray[np.integer], pixel: Ints, n_rows: Ints) -> TileTable:
    """Make a table of int64 columns."""
    return TileTable(np.asarray(order, np.int64), np.asarray(pixel, np.int64), np.asarray(n_rows, np.int64))


def join_tiles(tables: list[TileTable]) -> TileTable:
    """Put disjoint tables together, in the order of the sky."""
    empty = np.empty(0, np.int64)
    order, pixel, n_rows = (np.concatenate([empty, *columns]) for columns in zip(*tables)) if tables else (empty,) * 3
    by_sky = np.argsort(pixel << 2 * (ORDER - order), kind="stable")
    return TileTable(order[by_sky], pixel[by_sky], n_rows[by_sky])


def tile_bounds(tiles: TileTable) -> tuple[Ints, Ints]:
    """Give the half-open range of order-29 indices of each tile: starts, stops."""
    shift = 2 * (ORDER - tiles.order)
    return tiles.pixel << shift, (tiles.pixel + 1) << shift


def group_of(tiles: TileTable, *, group_order: int) -> tuple[Ints, Ints]:
    """Give the group of each tile (order, pixel): its ancestor at `group_order`, or itself where that is coarser."""
    order = np.minimum(tiles.order, group_order)
    return order, tiles.pixel >> 2 * (tiles.order - order)


def _sum_runs(pixel: Ints, n_rows: Ints) -> CountMap:
    """Add the rows of equal neighbours in an ascending array."""
    if len(pixel) == 0:
        return CountMap(pixel, n_rows)
    first = np.flatnonzero(np.concatenate([[True], pixel[1:] != pixel[:-1]]))
    return CountMap(pixel[first], np.add.reduceat(n_rows, first))
