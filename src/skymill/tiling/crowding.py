"""Tiles of a survey from what is known of its parts: its own where it has them, else adaptive ones of any depth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from skymill.sky import ORDER, Tile
from skymill.tiling.adaptive import (
    CountMap,
    TileTable,
    adaptive_tiles,
    join_tiles,
    tile_bounds,
    tile_table,
)
from skymill.tiling.identity import count_between, merge_spans, span_pixels

STEP = 4
"""Orders by which a crowded pixel's map is deepened at once: 256 children."""


def tiles_of_any_depth(
    counts: CountMap, indexes: Sequence[Path], *, order: int, lowest_order: int, max_rows: int
) -> TileTable:
    """Choose adaptive tiles, and deepen the map where a pixel of `order` is still over the bound.

    hats-import stops with an error there. A tile exceeds the bound only if all its rows share one position.

    Parameters
    ----------
    counts : CountMap
        Rows per pixel of the whole survey.
    indexes : sequence of Path
        Indexes of all parts, read only where a pixel is crowded.
    order, lowest_order, max_rows : int
        Order of `counts`, order of the largest tiles, bound of a tile.
    """
    tiles, crowded = adaptive_tiles(counts, order=order, lowest_order=lowest_order, max_rows=max_rows)
    found = [tiles]
    while len(crowded.pixel):
        deeper = min(order + STEP, ORDER)
        span = span_pixels(indexes, crowded.pixel, order=order, deeper=deeper)
        whole = merge_spans([span._replace(key=span.key >> 2 * (deeper - order))])
        single = whole.first == whole.last
        found.append(tile_table(np.full(int(single.sum()), order), crowded.pixel[single], crowded.n_rows[single]))
        mixed = ~single[np.searchsorted(whole.key, span.key >> 2 * (deeper - order))]
        finer = CountMap(span.key[mixed], span.n_rows[mixed])
        lowest_order = min(order + 1, ORDER)
        tiles, crowded = adaptive_tiles(finer, order=deeper, lowest_order=lowest_order, max_rows=max_rows)
        found.append(tiles)
        order = deeper
    return join_tiles(found)


def tiles_of_input(native: Sequence[Tile], indexes: Sequence[Path]) -> TileTable:
    """Count the rows in the tiles that a HATS input has already.

    Raises
    ------
    ValueError
        If a source lies outside of them.
    """
    order, pixel = (np.array(column, np.int64) for column in zip(*native)) if native else (np.empty(0, np.int64),) * 2
    tiles = join_tiles([tile_table(order, pixel, np.zeros(len(order), np.int64))])
    n_rows, outside = count_between(indexes, *tile_bounds(tiles))
    if outside:
        raise ValueError(
            f"expected every source inside one of the catalogue's {len(native)} HATS tiles, found {outside} outside; "
            "its partition_info.csv does not fit its files: repair it, or read the files with format 'parquet'"
        )
    return tiles._replace(n_rows=n_rows)
