"""Runs whose tiles hold one source each: many of them in little time."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skymill.config.run import GateSettings
from skymill.release import Content, publish
from skymill.sky import Tile, tile_range
from skymill.store import (
    Accounting,
    GroupManifest,
    Pool,
    TileEntry,
    Variable,
    digest,
    group_file,
    seal,
    write_tile,
)

SETTINGS = ("a" * 12, "b" * 12)
Contents = Mapping[int, int]
"""By pixel: a number that the tile's only source has."""


@dataclass(frozen=True)
class TinyRun:
    """A run's folder, whose catalogues have tiles of one order."""

    folder: Path
    order: int = 0

    def root(self, catalogue: str) -> Path:
        """The folder of a catalogue."""
        return self.folder / "catalogues" / catalogue

    def write_tile(self, catalogue: str, pixel: int, content: int) -> TileEntry:
        """Write a tile, unless it stands there."""
        tile, pool = Tile(self.order, pixel), Pool(self.root(catalogue))
        ingredients = {"catalogue": catalogue, "tile": str(tile), "content": content}
        key, accounting = digest(ingredients), Accounting(n_in=1, n_ok=1)
        if (done := pool.entry(tile, key)) is not None:
            return done
        variables = {
            "objectId": Variable(2**60 + np.array([pixel])),
            "_healpix_29": Variable(np.array([tile_range(tile)[0]])),
            "content": Variable(np.array([content])),
        }
        receipt = {"key": key, "ingredients": ingredients, "accounting": accounting.as_dict()}
        file = write_tile(pool.path(tile, key), variables, receipt=receipt, chunk_rows=1, staging=pool.staging)
        return TileEntry(*tile, key, file.sha256, file.n_bytes, 1, accounting)

    def write_groups(self, catalogue: str, contents: Contents, settings: str = SETTINGS[0]) -> list[GroupManifest]:
        """Write tiles and the manifests of two groups, one of the even pixels and one of the odd ones."""
        groups = []
        for number, name in enumerate(("even", "odd")):
            entries = [self.write_tile(catalogue, *tile) for tile in sorted(contents.items()) if tile[0] % 2 == number]
            groups.append(GroupManifest(catalogue, settings, name, {}, tuple(entries)))
            groups[-1].write(group_file(self.root(catalogue), settings, name))
        return groups

    def seal(self, catalogue: str, contents: Contents, settings: str = SETTINGS[0]) -> str:
        """Seal tiles of such contents."""
        return seal(self.root(catalogue), self.write_groups(catalogue, contents, settings))

    def publish(self, name: str, *catalogues: str) -> None:
        """Publish the current versions."""
        publish(Content(self.folder, catalogues, []), name, gate=GateSettings(), page=_no_page)

    def age(self, days: float) -> None:
        """Make all files seem older."""
        then = time.time() - days * 86_400
        for path in self.folder.rglob("*"):
            os.utime(path, (then, then), follow_symlinks=False)

    def files(self) -> dict[str, int]:
        """Every file and link below the folder, without locks, and its bytes."""
        found = (path for path in self.folder.rglob("*") if path.is_symlink() or path.is_file())
        return {str(path): path.lstat().st_size for path in found if not path.name.endswith(".lock")}


def _no_page(told: object, folder: Path) -> Path:
    raise AssertionError(f"nothing was to be compared, found {told} for {folder}")
