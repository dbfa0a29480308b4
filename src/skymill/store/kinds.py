"""The two kinds of catalogues, of tiles of the sky and of tiles of images, and what their tables name a tile by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from skymill.sky import AnyTile, ImageTile, Tile, tile_range
from skymill.store.errors import StoreError
from skymill.store.manifest import (
    AnyEntry,
    AnyQuarantined,
    ImageEntry,
    ImageQuarantined,
    Quarantined,
    TileEntry,
)

REASONS = pa.map_(pa.string(), pa.int64())
COUNTED = (
    ("key", pa.string()),
    ("sha256", pa.string()),
    ("n_bytes", pa.int64()),
    ("n_rows", pa.int64()),
    ("n_in", pa.int64()),
    ("n_ok", pa.int64()),
    ("n_flagged", pa.int64()),
    ("flagged", REASONS),
    ("quarantined", REASONS),
    ("excluded", REASONS),
)
FAILED = (("key", pa.string()), ("reason", pa.string()), ("n_in", pa.int64()))


@dataclass(frozen=True)
class Kind:
    """A kind of catalogue.

    Attributes
    ----------
    name : str
        As it stands in `content.kind` of a version's manifest; empty of the sky, which says nothing.
    place : tuple of (str, DataType)
        The columns that name a tile.
    entry, failed : type
        What a row of the tables of tiles and of failures is.
    version_format : int
        The oldest `skymill_format` whose readers know the kind.
    """

    name: str
    place: tuple[tuple[str, pa.DataType], ...]
    entry: type[TileEntry] | type[ImageEntry]
    failed: type[Quarantined] | type[ImageQuarantined]
    version_format: int

    @property
    def tiles(self) -> pa.Schema:
        """The columns of the table of tiles."""
        return pa.schema([*self.place, *COUNTED])

    @property
    def quarantine(self) -> pa.Schema:
        """The columns of the table of failures."""
        return pa.schema([*self.place, *FAILED])

    def tile(self, *place: Any) -> AnyTile:
        """Give the tile that the values of `place` name."""
        return ImageTile(*place) if self is IMAGES else Tile(*place)

    def content(self) -> dict[str, str]:
        """Give what a version's manifest says of its kind."""
        return {"kind": self.name} if self.name else {}


SKY = Kind("", (("order", pa.int8()), ("pixel", pa.int64())), TileEntry, Quarantined, 1)
IMAGES = Kind("images", (("image", pa.string()),), ImageEntry, ImageQuarantined, 2)


def kind_of(content: Mapping[str, Any]) -> Kind:
    """Give the kind of a version from the content that its manifest tells."""
    return IMAGES if content.get("kind") == IMAGES.name else SKY


def kind_of_tiles(entries: Iterable[AnyEntry | AnyQuarantined], where: object) -> Kind:
    """Give the kind of the catalogue that tiles belong to; without a tile, that of the sky.

    Raises
    ------
    StoreError
        If some are of the sky and some of images.
    """
    found = {isinstance(entry, (ImageEntry, ImageQuarantined)) for entry in entries}
    if len(found) > 1:
        raise StoreError(f"{where}: expected tiles of the sky or tiles of images, found both; seal them apart")
    return IMAGES if found == {True} else SKY


def in_order(tile: AnyTile) -> Any:
    """Give what tiles of a kind are sorted by: their place on the sky, or their name."""
    return tile.name if isinstance(tile, ImageTile) else tile_range(tile)
