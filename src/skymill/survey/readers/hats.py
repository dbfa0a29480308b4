"""HATS catalogues and collections: which files they are made of. The files themselves are Parquet."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from skymill.sky import Tile
from skymill.survey.errors import TableError
from skymill.survey.readers.base import TableFile
from skymill.survey.readers.listing import found, walk
from skymill.survey.readers.parquet import SUFFIXES

TYPES = ("object", "source")
"""What holds one row per source; margins repeat rows, associations and indexes hold none."""

LEAF = re.compile(r"Norder=(\d+)/Dir=\d+/Npix=(\d+)[./]")
"""A file of a partition, or one in the folder of a partition."""

logger = logging.getLogger(__name__)


def table_files(path: Path) -> list[TableFile]:
    """List the files of a HATS catalogue, or of the primary catalogue of a collection, with their tiles.

    Raises
    ------
    TableError
        If the folder is not HATS, is of a type without sources, or lacks files that it lists.
    """
    catalogue, suffix = _catalogue(path)
    tiles = _tiles(catalogue)
    prefix = f"{catalogue.relative_to(path) / 'dataset'}/"
    listed = walk(catalogue / "dataset", (*SUFFIXES, suffix)) if (catalogue / "dataset").is_dir() else ()
    leaves = [(name, entry, _tile_of(name)) for name, entry in listed]
    absent = sorted(tiles - {tile for _, _, tile in leaves})
    if absent:
        raise TableError(
            f"{catalogue}: {len(absent)} partitions of partition_info.csv have no file, the first of them {absent[0]}; "
            "fetch the catalogue again"
        )
    return [found(prefix + name, entry, tile) for name, entry, tile in leaves if tile in tiles]


def _catalogue(path: Path) -> tuple[Path, str]:
    """The folder of the catalogue and the suffix of its files."""
    from hats.catalog.dataset.collection_properties import CollectionProperties

    if (path / "collection.properties").is_file():
        primary = path / str(CollectionProperties.read_from_dir(path).hats_primary_table_url)
        logger.info("%s is a HATS collection; reading its primary catalogue %s", path, primary.name)
        if not (primary.is_dir() and primary.is_relative_to(path)):
            raise TableError(f"{path}: its primary catalogue '{primary.name}' is not there; fetch the data")
        path = primary
    if not ((path / "hats.properties").is_file() or (path / "properties").is_file()):
        raise TableError(
            f"{path}: expected a HATS catalogue or collection, found neither hats.properties nor "
            "collection.properties; correct `path`, or use format 'parquet'"
        )
    kind, suffix = _properties(path)
    if kind not in TYPES:
        raise TableError(
            f"{path}: expected a HATS catalogue of type {' or '.join(TYPES)}, found type '{kind}', "
            "which does not hold one row per source; name the catalogue it belongs to"
        )
    return path, suffix


def _properties(path: Path) -> tuple[str, str]:
    from hats.catalog.dataset.table_properties import TableProperties
    from pydantic import ValidationError

    try:
        properties = TableProperties.read_from_dir(path)
    except ValidationError as error:
        raise TableError(f"{path}: the HATS properties are not valid: {error.errors()[0]['msg']}") from error
    return str(properties.catalog_type), str(properties.npix_suffix)


def _tiles(catalogue: Path) -> set[Tile]:
    from hats.catalog.partition_info import PartitionInfo

    if not (catalogue / "partition_info.csv").is_file():
        raise TableError(
            f"{catalogue}: expected partition_info.csv beside the properties, found none: "
            "only the description of the catalogue is there; fetch its data"
        )
    pixels = PartitionInfo.read_from_dir(catalogue).get_healpix_pixels()
    return {Tile(int(pixel.order), int(pixel.pixel)) for pixel in pixels}


def _tile_of(name: str) -> Tile | None:
    match = LEAF.match(name)
    return Tile(int(match[1]), int(match[2])) if match else None
