"""Every path of a catalogue; nothing else in skymill spells one.

::

    <catalogue>/tiles/Norder=5/Dir=0/Npix=8123/<key12>.zarr.zip     the pool
    <catalogue>/groups/<settings12>/<group>.json                    group manifests
    <catalogue>/versions/<v>/                                       sealed versions
    <catalogue>/versions/<v>/Norder=5/Dir=0/Npix=8123.zarr.zip      relative symlink into the pool
    <catalogue>/current.json                                        the version to open
"""

from __future__ import annotations

from pathlib import Path

from skymill.sky import Tile
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


def tile_folder(tile: Tile) -> str:
    """Give `Norder=5/Dir=0/Npix=8123`."""
    return f"Norder={tile.order}/Dir={tile.pixel // DIRECTORY_SIZE * DIRECTORY_SIZE}/Npix={tile.pixel}"


def pool_file(tile: Tile, key: str) -> str:
    """Give a tile's place below the catalogue's folder."""
    return f"{TILES}/{tile_folder(tile)}/{short(key)}{SUFFIX}"


def version_file(tile: Tile) -> str:
    """Give a tile's place below a version's folder."""
    return f"{tile_folder(tile)}{SUFFIX}"


def group_file(catalogue: Path, settings: str, group: str) -> Path:
    """Give the manifest of a group of tiles."""
    return Path(catalogue) / GROUPS / short(settings) / f"{group}.json"


def version_folder(catalogue: Path, version: str) -> Path:
    """Give the folder of a sealed version."""
    return Path(catalogue) / VERSIONS / version
