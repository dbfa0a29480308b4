"""The pool: every tile that was ever finished, found by its key."""

from __future__ import annotations

import logging
from pathlib import Path

from skymill.sky import AnyTile
from skymill.store.accounting import Accounting
from skymill.store.durable import sweep
from skymill.store.errors import CorruptTile
from skymill.store.keys import file_sha256
from skymill.store.manifest import AnyEntry, entry_of
from skymill.store.paths import STAGING, pool_file

logger = logging.getLogger(__name__)


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

    def path(self, tile: AnyTile, key: str) -> Path:
        """Give the place of a tile of a key, whether it stands there or not."""
        return self.root / pool_file(tile, key)

    def find(self, tile: AnyTile, key: str) -> Path | None:
        """Give the file of a tile of a key, or None if it has to be made."""
        path = self.path(tile, key)
        return path if path.is_file() else None

    def entry(self, tile: AnyTile, key: str) -> AnyEntry | None:
        """Give the manifest's entry of a tile that stands in the pool, having read it to its last byte.

        A run that resumes takes over what an earlier one finished, and its manifest will vouch for it.

        Returns
        -------
        entry or None
            None if the tile has to be made: it is not there, or it is not whole or not of this key, which is logged.
            Making it puts a whole file in the place of the damaged one.
        """
        path = self.find(tile, key)
        if path is None:
            return None
        from skymill.store.check import check_whole, wrong_receipt  # they bring Zarr with them

        try:
            attributes = check_whole(path)
            wrong = wrong_receipt(attributes["receipt"], key)
        except CorruptTile as error:
            wrong = str(error)
        if wrong:
            logger.warning("%s is damaged and is made again: %s", path, wrong)
            return None
        accounting = Accounting.from_dict(attributes["receipt"]["accounting"])
        return entry_of(tile, key, file_sha256(path), path.stat().st_size, attributes["n_rows"], accounting)

    def sweep(self) -> list[Path]:
        """Delete what killed writers left behind; safe while others write."""
        return sweep(self.staging)
