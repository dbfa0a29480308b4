"""What changed between two versions of a catalogue of image tiles: tiles, told apart by their keys."""

from __future__ import annotations

from dataclasses import dataclass

from skymill.store import StoreError, open_catalogue
from skymill.store.kinds import IMAGES


@dataclass(frozen=True)
class TileChanges:
    """Image tiles of two versions, by name; each is in one of the four.

    Attributes
    ----------
    shared : tuple of str
        Of the same key: the same to the last byte.
    changed : tuple of str
        Of another key: made of other pixels, settings or code.
    added, removed : tuple of str
        In one of the versions only.
    """

    shared: tuple[str, ...]
    changed: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{len(self.shared):,} tiles of images are the same, {len(self.changed):,} changed, "
            f"{len(self.added):,} added, {len(self.removed):,} removed"
        )


def tile_changes(before: str, after: str) -> TileChanges:
    """Compare the tables of tiles of two versions; no tile is opened, sources are not compared one by one.

    Parameters
    ----------
    before, after : str
        Locations of catalogues of image tiles.

    Raises
    ------
    StoreError
        If one is of another kind.
    """
    keys = []
    for location in (before, after):
        catalogue = open_catalogue(location)
        if catalogue.kind is not IMAGES:
            raise StoreError(f"{location}: expected a catalogue of image tiles, found tiles of the sky")
        keys.append(dict(zip(catalogue.tiles["image"], catalogue.tiles["key"], strict=True)))
    then, now = keys
    both = [name for name in then if name in now]
    return TileChanges(
        shared=tuple(name for name in both if then[name] == now[name]),
        changed=tuple(name for name in both if then[name] != now[name]),
        added=tuple(name for name in now if name not in then),
        removed=tuple(name for name in then if name not in now),
    )
