"""The pool: every tile that was ever finished, found by its key."""

from __future__ import annotations

from pathlib import Path

from skymill.sky import Tile
from skymill.store.durable import sweep
from skymill.store.paths import STAGING, pool_file


class Pool:
    """Where the tiles of a catalogue stand.

    A tile is in the pool if and only if it is finished: its file is renamed to its name after its bytes have reached
    the disk. A file of the pool is never written to again.

    Parameters
    ----------
    root : Path
        The catalogue's folder, `<results>/catalogues/<name>`.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    @property
    def staging(self) -> Path:
        """Folder of the files being written; hand it to `TileWriter`."""
        return self.root / STAGING

    def path(self, tile: Tile, key: str) -> Path:
        """Give the place of a tile of a key, whether it stands there or not."""
        return self.root / pool_file(tile, key)

    def find(self, tile: Tile, key: str) -> Path | None:
        """Give the file of a tile of a key, or None if it has to be made."""
        path = self.path(tile, key)
        return path if path.is_file() else None

    def sweep(self) -> list[Path]:
        """Delete what killed writers left behind; safe while others write."""
        return sweep(self.staging)
