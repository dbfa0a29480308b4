"""Tiles, keys, manifests, sealed versions, and reading them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from skymill.store.accounting import Accounting, AccountingError
from skymill.store.algorithm import algorithm_digest, module_digests
from skymill.store.errors import CorruptTile, FormatError, StoreError
from skymill.store.keys import canonical_json, digest, file_sha256, short
from skymill.store.manifest import GroupManifest, Quarantined, TileEntry
from skymill.store.paths import group_file
from skymill.store.report import Problem, Report
from skymill.store.variable import CHUNK_ROWS, Variable

if TYPE_CHECKING:
    from skymill.store.catalogue import Catalogue, open_catalogue
    from skymill.store.pool import Pool
    from skymill.store.provenance import made_with, receipt
    from skymill.store.reader import TileReader, open_tile, read_tile
    from skymill.store.sealing import seal
    from skymill.store.verifying import verify
    from skymill.store.writer import TileFile, TileWriter, write_tile

__all__ = [
    "Accounting",
    "AccountingError",
    "CHUNK_ROWS",
    "Catalogue",
    "CorruptTile",
    "FormatError",
    "GroupManifest",
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
    "write_tile",
]


_LATE = {
    "catalogue": ("Catalogue", "open_catalogue"),
    "pool": ("Pool",),
    "provenance": ("made_with", "receipt"),
    "reader": ("TileReader", "open_tile", "read_tile"),
    "sealing": ("seal",),
    "verifying": ("verify",),
    "writer": ("TileFile", "TileWriter", "write_tile"),
}


def __getattr__(name: str) -> Any:
    """Load what needs zarr, xarray or mocpy when it is first used: the Snakefile needs digests and paths only."""
    for module, names in _LATE.items():
        if name in names:
            return getattr(import_module(f"skymill.store.{module}"), name)
    raise AttributeError(f"module 'skymill.store' has no attribute '{name}'")
