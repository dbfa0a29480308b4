"""Groups of image tiles: what `tiling_images` hands to `features_measure`, one content-addressed file a group."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from skymill.store.durable import write_bytes
from skymill.store.keys import canonical_json, digest
from skymill.survey.images.ownership import Outline
from skymill.tiling.files import TilingFiles

LABEL_BITS = 22
"""Of an `objectId`; a tile has at most four million sources. The other 41 are the tile's number."""


def tile_number(survey: str, tile: str) -> int:
    """Give the number of an image tile that its sources' ids begin with: 41 bits of the SHA-256 of its name."""
    return int.from_bytes(hashlib.sha256(f"{survey}/{tile}".encode()).digest()[:8], "big") >> 23


@dataclass(frozen=True)
class PlannedImage:
    """An image tile that a job measures.

    Attributes
    ----------
    name : str
    sha256 : str
        Digest of its files.
    outline : Outline, optional
        None where it cannot be read.
    neighbours : tuple of Outline
        The tiles that share sky with it, by name.
    problem : str
        Why there is no outline.
    """

    name: str
    sha256: str
    outline: Outline | None = None
    neighbours: tuple[Outline, ...] = ()
    problem: str = ""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> PlannedImage:
        """Make one of plain values."""
        outline = _outline(values["outline"]) if values["outline"] else None
        neighbours = tuple(_outline(each) for each in values["neighbours"])
        return cls(values["name"], values["sha256"], outline, neighbours, values["problem"])


def _outline(values: Mapping[str, Any]) -> Outline:
    ny, nx = values["shape"]
    return Outline(values["name"], values["header"], (ny, nx))


@dataclass(frozen=True)
class ImageGroup:
    """The image tiles of one job."""

    name: str
    tiles: tuple[PlannedImage, ...]

    @property
    def digest(self) -> str:
        """Digest of the content."""
        return digest(asdict(self))

    def write(self, files: TilingFiles) -> None:
        """Write the group's file unless it stands there already."""
        path = files.image_group(self.name, self.digest)
        if not path.is_file():
            write_bytes(path, canonical_json(asdict(self)) + b"\n")

    @classmethod
    def read(cls, path: str | Path) -> ImageGroup:
        """Read a group's file."""
        values = json.loads(Path(path).read_bytes())
        return cls(values["name"], tuple(PlannedImage.of(tile) for tile in values["tiles"]))
