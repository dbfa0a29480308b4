"""Tiles, keys, manifests, sealed versions, and reading them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lazy_loader import attach

from skymill.store.accounting import Accounting, AccountingError
from skymill.store.algorithm import algorithm_digest, module_digests
from skymill.store.errors import CorruptTile, FormatError, StoreError
from skymill.store.keys import canonical_json, digest, file_sha256, short
from skymill.store.manifest import GroupManifest, Quarantined, TileEntry
from skymill.store.paths import group_file
from skymill.store.report import Problem, Report
from skymill.store.variable import CHUNK_ROWS, Variable

if TYPE_CHECKING:
    from skymill.store.catalogue import Catalogue
    from skymill.store.images import ImageCatalogue
    from skymill.store.opening import open_catalogue
    from skymill.store.pool import Pool
    from skymill.store.provenance import made_with, receipt
    from skymill.store.reader import TileReader, open_tile, read_tile
    from skymill.store.sealing import seal
    from skymill.store.verifying import verify, verify_version
    from skymill.store.writer import TileFile, TileWriter, write_tile

__all__ = [
    "Accounting",
    "AccountingError",
    "CHUNK_ROWS",
    "Catalogue",
    "CorruptTile",
    "FormatError",
    "GroupManifest",
    "ImageCatalogue",
    "Pool",
    "Problem",
    "Quarantined",
    "Report",
    "StoreError",
    "TileEntry",
    "TileFile",
    "TileReader",
    "TileWriter",
    "Variable",
    "algorithm_digest",
    "canonical_json",
    "digest",
    "file_sha256",
    "group_file",
    "made_with",
    "module_digests",
    "open_catalogue",
    "open_tile",
    "read_tile",
    "receipt",
    "seal",
    "short",
    "verify",
    "verify_version",
    "write_tile",
]

# What needs zarr, xarray or mocpy is imported when it is used: the Snakefile needs digests and paths only.
__getattr__ = attach(
    __name__,
    submod_attrs={
        "catalogue": ["Catalogue"],
        "images": ["ImageCatalogue"],
        "opening": ["open_catalogue"],
        "pool": ["Pool"],
        "provenance": ["made_with", "receipt"],
        "reader": ["TileReader", "open_tile", "read_tile"],
        "sealing": ["seal"],
        "verifying": ["verify", "verify_version"],
        "writer": ["TileFile", "TileWriter", "write_tile"],
    },
)[0]
