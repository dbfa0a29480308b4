"""What makes Parquet leaves a HATS catalogue: properties, list of partitions, schema."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hats.catalog import PartitionInfo
from hats.catalog.dataset.table_properties import TableProperties
from hats.io import paths
from hats.pixel_math import HealpixPixel

from skymill.sky import Tile


def leaf_path(catalogue: Path, tile: Tile) -> Path:
    """Where the rows of a tile lie."""
    return Path(str(paths.pixel_catalog_file(catalogue, HealpixPixel(tile.order, tile.pixel))))


def write_description(catalogue: Path, tiles: Sequence[Tile], schema: pa.Schema, *, rows: int) -> None:
    """Write everything but the leaves."""
    (catalogue / "dataset").mkdir(parents=True, exist_ok=True)
    pq.write_metadata(schema, catalogue / "dataset" / "_common_metadata")
    partitions = PartitionInfo.from_healpix([HealpixPixel(tile.order, tile.pixel) for tile in tiles])
    partitions.write_to_file(catalogue / "partition_info.csv")
    TableProperties(
        catalog_name=catalogue.name,
        catalog_type="object",
        total_rows=rows,
        ra_column="coord_ra",
        dec_column="coord_dec",
        hats_order=max(tile.order for tile in tiles),
        hats_npix_suffix=".parquet",
        hats_col_healpix="_healpix_29",
        hats_col_healpix_order=29,
    ).to_properties_file(catalogue)
