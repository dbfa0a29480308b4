"""Group manifests: which tiles of which key a job has finished. What Snakemake declares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from skymill.sky import AnyTile, ImageTile, Tile
from skymill.store.accounting import Accounting
from skymill.store.document import from_document, to_document
from skymill.store.durable import write_bytes
from skymill.store.errors import StoreError
from skymill.store.paths import is_image_name
from skymill.store.trouble import explained

MANIFEST_FORMAT = 1
TILE_FAILED = "tile_failed"
"""Why the sources of a failed tile are quarantined; they are not listed one by one."""
FIELDS = {"catalogue", "settings", "group", "inputs", "tiles", "quarantined"}


@dataclass(frozen=True)
class TileEntry:
    """A finished tile."""

    order: int
    pixel: int
    key: str
    sha256: str
    n_bytes: int
    n_rows: int
    accounting: Accounting

    @property
    def tile(self) -> Tile:
        """The tile on the sky."""
        return Tile(self.order, self.pixel)


@dataclass(frozen=True)
class ImageEntry:
    """A finished tile of images."""

    image: str
    key: str
    sha256: str
    n_bytes: int
    n_rows: int
    accounting: Accounting

    @property
    def tile(self) -> ImageTile:
        """The tile, by the survey's name of it."""
        return ImageTile(self.image)


@dataclass(frozen=True)
class Quarantined:
    """A tile that could not be made: why, and the sources that it would have held."""

    order: int
    pixel: int
    key: str
    reason: str
    n_in: int

    @property
    def tile(self) -> Tile:
        """The tile on the sky."""
        return Tile(self.order, self.pixel)

    @property
    def accounting(self) -> Accounting:
        """All its sources, under one reason."""
        return Accounting(n_in=self.n_in, quarantined={TILE_FAILED: self.n_in} if self.n_in else {})


@dataclass(frozen=True)
class ImageQuarantined:
    """A tile of images that could not be measured, and why; nobody knows how many sources it holds."""

    image: str
    key: str
    reason: str
    n_in: int = 0

    @property
    def tile(self) -> ImageTile:
        """The tile, by the survey's name of it."""
        return ImageTile(self.image)

    @property
    def accounting(self) -> Accounting:
        """Of no source."""
        return Accounting()


AnyEntry = TileEntry | ImageEntry
AnyQuarantined = Quarantined | ImageQuarantined


def entry_of(tile: AnyTile, key: str, sha256: str, n_bytes: int, n_rows: int, accounting: Accounting) -> AnyEntry:
    """Give the entry of a finished tile, of the sky or of images."""
    if isinstance(tile, ImageTile):
        return ImageEntry(tile.name, key, sha256, n_bytes, n_rows, accounting)
    return TileEntry(*tile, key, sha256, n_bytes, n_rows, accounting)


def quarantined_of(tile: AnyTile, key: str, reason: str, n_in: int) -> AnyQuarantined:
    """Give the entry of a tile that failed, of the sky or of images."""
    if isinstance(tile, ImageTile):
        return ImageQuarantined(tile.name, key, reason)
    return Quarantined(*tile, key, reason, n_in)


@dataclass(frozen=True)
class GroupManifest:
    """The tiles of one group.

    Attributes
    ----------
    catalogue, settings, group : str
        Name of the catalogue, digest of what its tiles share, name of the group.
    inputs : mapping
        Digests of what the group was made from.
    tiles, quarantined : tuple
        Finished and failed tiles; kept sorted by place.
    """

    catalogue: str
    settings: str
    group: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    tiles: tuple[AnyEntry, ...] = ()
    quarantined: tuple[AnyQuarantined, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "tiles", tuple(sorted(self.tiles, key=lambda entry: entry.tile)))
        object.__setattr__(self, "quarantined", tuple(sorted(self.quarantined, key=lambda entry: entry.tile)))
        counts = Counter([entry.tile for entry in self.tiles] + [entry.tile for entry in self.quarantined])
        twice = [str(tile) for tile, n in counts.items() if n > 1]
        if twice:
            raise StoreError(f"group {self.group} of {self.catalogue}: expected each tile once, found {twice} twice")
        names = [tile.name for tile in counts if isinstance(tile, ImageTile)]
        if bad := [name for name in names if not is_image_name(name)]:
            raise StoreError(
                f"group {self.group} of {self.catalogue}: expected names of image tiles like tract=9813/patch=40, of "
                f"letters, digits and _ . , + = - without '..', found {bad[0]!r:.100}"
            )

    @property
    def accounting(self) -> Accounting:
        """The sum over all tiles, failed ones included."""
        parts = [entry.accounting for entry in self.tiles] + [entry.accounting for entry in self.quarantined]
        return Accounting.total(parts)

    def write(self, path: str | Path) -> None:
        """Write sorted JSON, whole or not at all; equal content gives equal bytes."""
        values = {
            "skymill_format": MANIFEST_FORMAT,
            "catalogue": self.catalogue,
            "settings": self.settings,
            "group": self.group,
            "inputs": dict(self.inputs),
            "tiles": [{**asdict(entry), "accounting": entry.accounting.as_dict()} for entry in self.tiles],
            "quarantined": [asdict(entry) for entry in self.quarantined],
        }
        write_bytes(Path(path), to_document(values))

    @classmethod
    def read(cls, path: str | Path) -> GroupManifest:
        """Read what `write` wrote.

        Raises
        ------
        FormatError
            If a newer skymill wrote it.
        StoreError
            If it is not a group manifest, or not as it was written.
        """
        with explained(path, "reading"):
            content = Path(path).read_bytes()
        values = from_document(content, kind="group manifest", where=path, newest=MANIFEST_FORMAT, has=FIELDS)
        try:
            tiles = [{**entry, "accounting": Accounting.from_dict(entry["accounting"])} for entry in values["tiles"]]
            return cls(
                catalogue=values["catalogue"],
                settings=values["settings"],
                group=values["group"],
                inputs=values["inputs"],
                tiles=tuple(_class(entry, TileEntry, ImageEntry)(**entry) for entry in tiles),
                quarantined=tuple(
                    _class(entry, Quarantined, ImageQuarantined)(**entry) for entry in values["quarantined"]
                ),
            )
        except (KeyError, TypeError) as error:
            raise StoreError(f"{path}: expected a group manifest, found {error!r}; delete it and run again") from error


def _class(entry: Mapping[str, Any], of_sky: type[Any], of_images: type[Any]) -> type[Any]:
    return of_images if "image" in entry else of_sky
