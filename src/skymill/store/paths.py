"""Every path of a catalogue; nothing else in skymill spells one.

::

    <catalogue>/tiles/Norder=5/Dir=0/Npix=8123/<key12>.zarr.zip     the pool
    <catalogue>/tiles/tract=9813/patch=40/<key12>.zarr.zip          the same of a tile of images
    <catalogue>/groups/<settings12>/<group>.json                    group manifests
    <catalogue>/versions/<v>/                                       sealed versions
    <catalogue>/versions/<v>/Norder=5/Dir=0/Npix=8123.zarr.zip      relative symlink into the pool
    <catalogue>/versions/<v>/tract=9813/patch=40.zarr.zip           the same of a tile of images
    <catalogue>/current.json                                        the version to open
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from skymill.sky import AnyTile, ImageTile
from skymill.store.keys import short

SUFFIX = ".zarr.zip"
STAGING = ".staging"
TILES = "tiles"
GROUPS = "groups"
VERSIONS = "versions"
CURRENT = "current.json"
MANIFEST = "manifest.json"
TILE_TABLE = "tiles.parquet"
QUARANTINE_TABLE = "quarantine.parquet"
ROW_TABLE = "quarantined_rows.parquet"
PARTITION_INFO = "partition_info.csv"
MOC_FILE = "moc.fits"
DIRECTORY_SIZE = 10_000
"""Pixels per `Dir=` folder, as in HATS."""
IMAGE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=[A-Za-z0-9_.,+=-]*(/[A-Za-z_][A-Za-z0-9_]*=[A-Za-z0-9_.,+=-]*)*")
LONGEST_NAME, LONGEST_PART = 1000, 240
"""Letters of a name of an image tile, and of a part of it; a file system takes 255 of one folder or file."""


def tile_folder(tile: AnyTile) -> str:
    """Give `Norder=5/Dir=0/Npix=8123`, or the name of a tile of images."""
    if isinstance(tile, ImageTile):
        return tile.name
    return f"Norder={tile.order}/Dir={tile.pixel // DIRECTORY_SIZE * DIRECTORY_SIZE}/Npix={tile.pixel}"


def is_image_name(name: str) -> bool:
    """Tell whether something may name a tile of images: words and values, `tract=9813/patch=40`, no way out."""
    if len(name) > LONGEST_NAME or ".." in name or IMAGE_NAME.fullmatch(name) is None:
        return False
    return max(map(len, name.split("/"))) <= LONGEST_PART


def pool_file(tile: AnyTile, key: str) -> str:
    """Give a tile's place below the catalogue's folder."""
    return f"{TILES}/{tile_folder(tile)}/{short(key)}{SUFFIX}"


def version_file(tile: AnyTile) -> str:
    """Give a tile's place below a version's folder."""
    return f"{tile_folder(tile)}{SUFFIX}"


def link_target(tile: AnyTile, key: str) -> Path:
    """Give where a version's link to a tile leads: from the link's folder up to the catalogue, down into the pool."""
    depth = len(PurePosixPath(version_file(tile)).parents) + 1  # folders below the version's, `versions` and `<v>`
    return Path("/".join([".."] * depth), pool_file(tile, key))


def group_file(catalogue: Path, settings: str, group: str) -> Path:
    """Give the manifest of a group of tiles."""
    return Path(catalogue) / GROUPS / short(settings) / f"{group}.json"


def version_folder(catalogue: Path, version: str) -> Path:
    """Give the folder of a sealed version."""
    return Path(catalogue) / VERSIONS / version
