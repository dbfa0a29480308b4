"""What the store commits, to be disturbed: one tile, one group manifest, one seal."""

from __future__ import annotations

import tempfile
from pathlib import Path

from skies import Sky, group_of_all, write_sky_tile

from skymill.sky import Tile
from skymill.store import GroupManifest, Pool, TileEntry, digest, group_file, seal

SKY = Sky.draw(600, seed=3)
FIRST, SECOND = Tile(0, 1), Tile(0, 6)


def prepare(root: Path) -> None:
    """What stands there before: one tile and the manifest that names it."""
    group_of_all(root, [_tile(root, FIRST)])


def rehearse() -> None:
    """Do all of it once, for what is imported and looked up then."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "demo")
        for deed in (prepare, tile, manifest, sealing):
            deed(root)


def tile(root: Path) -> None:
    """Write a second tile, unless it stands there."""
    pool = Pool(root)
    pool.sweep()
    if pool.entry(SECOND, _key(SECOND)) is None:
        _tile(root, SECOND)


def manifest(root: Path) -> None:
    """Replace the manifest by one that names both tiles."""
    pool = Pool(root)
    group_of_all(root, [entry for place in (FIRST, SECOND) if (entry := pool.entry(place, _key(place)))])


def sealing(root: Path) -> None:
    """Seal what the manifest names."""
    group = GroupManifest.read(group_file(root, "0123456789abcdef", "all"))
    seal(root, [group], n_in=group.accounting.n_in)


def _tile(root: Path, place: Tile) -> TileEntry:
    return write_sky_tile(Pool(root), SKY, place, chunk_rows=64)


def _key(place: Tile) -> str:
    return digest({"tile": str(place)})
