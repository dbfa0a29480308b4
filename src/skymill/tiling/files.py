"""Every path of the tiling stage; nothing else spells one.

::

    <output>/tiling/images.json                    groups of image tiles and their digests
    <output>/tiling/images-<digest12>.json         the same, named by survey and settings
    <output>/tiling/images/<group>-<digest12>.json one group's image tiles: outlines, neighbours, digests
    <output>/tiling/plan.json                      groups and their digests, settings, accounting of the gate
    <output>/tiling/plan-<digest12>.json           the same, named by survey and settings
    <output>/tiling/tiles.parquet                  order, pixel, group, rows
    <output>/tiling/quarantine.parquet             rows refused by the gate
    <output>/tiling/groups/<group>-<digest12>.json one group's tiles, buckets and ids in conflict
    <output>/tiling/buckets.parquet                which part holds which bucket of rows
    <output>/tiling/parts/<part12>.*               what is known of a part that has been read
    <output>/tiling/spill/<part12>.npy             a cache: the sorted rows of a part
    <output>/tiling/spill/<part12>.<nested>.npy    the same: their observations, in the order of the rows
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from skymill.store.keys import short


@dataclass(frozen=True)
class PartFiles:
    """What is kept of one part besides its rows."""

    record: Path
    index: Path
    counts: Path
    rejected: Path


@dataclass(frozen=True)
class TilingFiles:
    """The stage's files below the folder of a run."""

    output: Path

    @property
    def root(self) -> Path:
        """Folder of the stage."""
        return self.output / "tiling"

    @property
    def plan(self) -> Path:
        """What the checkpoint declares."""
        return self.root / "plan.json"

    def named_plan(self, name: str) -> Path:
        """The plan's copy, named by survey and settings; `*` for all there are."""
        return self.root / f"plan-{name}.json"

    @property
    def images(self) -> Path:
        """What the checkpoint of the image tiles declares."""
        return self.root / "images.json"

    def named_images(self, name: str) -> Path:
        """Its copy, named by survey and settings."""
        return self.root / f"images-{name}.json"

    def image_group(self, name: str, digest: str) -> Path:
        """Give the file of one group of image tiles; its name changes with its content."""
        return self.root / "images" / f"{name}-{short(digest)}.json"

    @property
    def tiles(self) -> Path:
        """Table of all tiles."""
        return self.root / "tiles.parquet"

    @property
    def quarantine(self) -> Path:
        """Table of the rows the gate refused."""
        return self.root / "quarantine.parquet"

    @property
    def buckets(self) -> Path:
        """Table that leads from a bucket of rows to the parts that hold it."""
        return self.root / "buckets.parquet"

    @property
    def parts(self) -> Path:
        """Folder of what is known of the parts."""
        return self.root / "parts"

    @property
    def spill(self) -> Path:
        """Folder of the cache."""
        return self.root / "spill"

    @property
    def staging(self) -> Path:
        """Folder of unfinished files."""
        return self.root / ".staging"

    def group(self, name: str, digest: str) -> Path:
        """Give the file of one group; its name changes with its content."""
        return self.root / "groups" / f"{name}-{short(digest)}.json"

    def part(self, key: str) -> PartFiles:
        """Give the files of one part; the record is written last."""
        names = (f"{short(key)}.{kind}" for kind in ("json", "index.npy", "counts.npy", "rejected.parquet"))
        return PartFiles(*(self.parts / name for name in names))

    def rows(self, key: str) -> Path:
        """Give the file of a part's sorted rows."""
        return self.spill / f"{short(key)}.npy"

    def observations(self, key: str, nested: str) -> Path:
        """Give the file of the observations of a part's rows, of one nested column."""
        return self.spill / f"{short(key)}.{nested}.npy"


def clean_spill(output: str | Path) -> int:
    """Delete the spilled rows of a run, and return the bytes freed.

    They are a cache: a group that still has to be partitioned reads its parts again.
    """
    spill = TilingFiles(Path(output)).spill
    freed = sum(path.stat().st_size for path in spill.glob("*.npy")) if spill.is_dir() else 0
    shutil.rmtree(spill, ignore_errors=not spill.is_dir())
    return freed
