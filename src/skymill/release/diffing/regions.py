"""Which tiles of two versions stand against each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from skymill.sky import Tile, tile_range

PIECE_ROWS = 1_000_000
"""Rows of both versions that one task compares, unless a single region has more."""


class Side(NamedTuple):
    """A tile of one version."""

    tile: Tile
    key: str
    n_rows: int


@dataclass(frozen=True)
class Region:
    """The smallest part of the sky that whole tiles of both versions fill; one side may be empty.

    Tiles are HEALPix pixels, so of two that overlap one holds the other: a region is as large as its largest tile.
    """

    before: tuple[Side, ...]
    after: tuple[Side, ...]

    @property
    def tile(self) -> Tile:
        """The pixel of the region."""
        return min(side.tile for side in (*self.before, *self.after))

    @property
    def is_shared(self) -> bool:
        """Both versions hold the same tile, to the last byte: there is nothing to compare."""
        return len(self.before) == len(self.after) == 1 and self.before[0] == self.after[0]

    @property
    def n_rows(self) -> int:
        """Rows of both versions."""
        return sum(side.n_rows for side in (*self.before, *self.after))


def regions(before: pd.DataFrame, after: pd.DataFrame) -> Iterator[Region]:
    """Put the tiles of two versions together, in the order of the sky.

    Parameters
    ----------
    before, after : DataFrame
        `order`, `pixel`, `key`, `n_rows` of each tile (`Catalogue.tiles`); those of a version do not overlap.
    """
    sides = [(tile_range(side.tile), 0, side) for side in _sides(before)]
    sides += [(tile_range(side.tile), 1, side) for side in _sides(after)]
    held: tuple[list[Side], list[Side]] = ([], [])
    end = -1
    for (start, stop), which, side in sorted(sides, key=lambda item: (item[0][0], -item[0][1])):
        if start >= end and (held[0] or held[1]):
            yield Region(tuple(held[0]), tuple(held[1]))
            held = ([], [])
        held[which].append(side)
        end = max(end, stop)
    if held[0] or held[1]:
        yield Region(tuple(held[0]), tuple(held[1]))


def _sides(tiles: pd.DataFrame) -> Iterator[Side]:
    columns = (tiles[name].tolist() for name in ("order", "pixel", "key", "n_rows"))
    return (Side(Tile(order, pixel), key, n_rows) for order, pixel, key, n_rows in zip(*columns))


def pieces(found: Sequence[Region], most_rows: int) -> Iterator[list[Region]]:
    """Cut regions into runs of up to `most_rows` rows, so that small tiles do not become small tasks."""
    piece: list[Region] = []
    for region in found:
        if piece and sum(each.n_rows for each in piece) + region.n_rows > most_rows:
            yield piece
            piece = []
        piece.append(region)
    if piece:
        yield piece
