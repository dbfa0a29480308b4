"""Sealing: from the manifests of all groups to one immutable version of a catalogue."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from skymill.sky import Tile, tile_range
from skymill.store.accounting import Accounting, AccountingError
from skymill.store.document import to_document
from skymill.store.durable import staged, staged_folder, sweep
from skymill.store.errors import StoreError
from skymill.store.keys import digest, file_sha256, short
from skymill.store.manifest import TILE_FAILED, GroupManifest, Quarantined, TileEntry
from skymill.store.paths import (
    CURRENT,
    MANIFEST,
    MOC_FILE,
    PARTITION_INFO,
    QUARANTINE_TABLE,
    ROW_TABLE,
    STAGING,
    TILE_TABLE,
    group_file,
    pool_file,
    version_file,
    version_folder,
)
from skymill.store.provenance import made_with
from skymill.store.tables import LongTable, count_reasons, quarantine_table, table_digest, tile_table, write_rows

if TYPE_CHECKING:
    from mocpy import MOC

VERSION_FORMAT = 1
POINTER_HAS = {"catalogue", "version", "groups"}
MANIFEST_HAS = {"version", "content", "files", "made_with"}


def seal(
    catalogue: str | Path,
    manifests: Iterable[GroupManifest],
    *,
    settings: str | None = None,
    unplaced: Accounting | None = None,
    n_in: int | None = None,
    about: Mapping[str, Any] | None = None,
    quarantined_rows: LongTable | None = None,
) -> str:
    """Write a version of a catalogue and make it the current one.

    Parameters
    ----------
    catalogue : Path
        The catalogue's folder.
    manifests : iterable of GroupManifest
        Of all its groups, of one settings digest.
    settings : str, optional
        That digest; needed where the catalogue has no groups.
    unplaced : Accounting, optional
        Sources that belong to no tile, e.g. those without a position.
    n_in : int, optional
        Number of sources that have to be accounted for.
    about : mapping, optional
        What else identifies the version, as plain JSON: model, survey, citation.
    quarantined_rows : Table, or anything that gives a schema and batches, optional
        Each source that was put aside, with where it came from and its `reason`; read twice, batch by batch.

    Returns
    -------
    str
        The version: a digest of its tables and of `about`. Equal content is the same version, sealed once.

    Raises
    ------
    AccountingError
        If sources are missing, or the quarantined rows are not those of the account.
    StoreError
        If tiles are missing in the pool, overlap on the sky, or belong to different catalogues.
    """
    root = Path(catalogue)
    groups = list(manifests)
    tiles = [entry for group in groups for entry in group.tiles]
    failures = [entry for group in groups for entry in group.quarantined]
    name, settings = _kind(root, groups, settings)
    _check_sky(root, [entry.tile for entry in tiles] + [entry.tile for entry in failures])
    _check_pool(root, tiles)
    accounting = account(root, tiles, failures, unplaced or Accounting(), n_in)
    tables: dict[str, LongTable] = {TILE_TABLE: tile_table(tiles), QUARANTINE_TABLE: quarantine_table(failures)}
    if quarantined_rows is not None:
        tables[ROW_TABLE] = quarantined_rows
    digests = {
        name: digest_table(root, name, rows.to_batches(), rows.schema, accounting) for name, rows in tables.items()
    }
    content = {
        "catalogue": name,
        "settings": settings,
        "n_tiles": len(tiles),
        "n_rows": sum(entry.n_rows for entry in tiles),
        "accounting": accounting.as_dict(),
        "unplaced": (unplaced or Accounting()).as_dict(),
        "about": dict(about or {}),
        "tables": digests,
    }
    version = short(digest(content))
    sweep(root / STAGING)
    # The pointer is staged first: it tells a seal that was ended between the two renames from a pointer that got lost.
    with staged(root / CURRENT) as pointer:
        pointer.write(_pointer(root, name, groups, version))
        pointer.flush()
        _write_version(version_folder(root, version), tiles, tables, {"version": version, "content": content})
    return version


def _pointer(root: Path, name: str, groups: Sequence[GroupManifest], version: str) -> bytes:
    """Say which version is the current one, and which group manifests it was made of."""
    files = [group_file(root, group.settings, group.group) for group in groups]
    return to_document(
        {
            "skymill_format": VERSION_FORMAT,
            "catalogue": name,
            "version": version,
            "groups": sorted(str(path.relative_to(root)) for path in files if path.is_file()),
        }
    )


def _write_version(
    folder: Path, tiles: Sequence[TileEntry], tables: Mapping[str, LongTable], identity: Mapping[str, Any]
) -> None:
    """Write a version, unless it stands there: what is named by its content is the same."""
    if not folder.is_dir():
        with staged_folder(folder, staging=folder.parents[1] / STAGING) as staging:
            _fill(staging, tiles, tables, identity)


def _fill(
    folder: Path, tiles: Sequence[TileEntry], tables: Mapping[str, LongTable], identity: Mapping[str, Any]
) -> None:
    """Write everything of a version: tables, coverage, the tree of symlinks, and the manifest that names them."""
    for name, table in tables.items():
        write_rows(folder / name, table)
    _describe(folder, [entry.tile for entry in tiles])
    manifest = {
        "skymill_format": VERSION_FORMAT,
        **identity,
        "files": {path.name: file_sha256(path) for path in folder.iterdir()},
        "made_with": made_with(),  # recorded only: equal content is the same version, whoever seals it
    }
    _link(folder, tiles)
    (folder / MANIFEST).write_bytes(to_document(manifest))


def _kind(root: Path, groups: Sequence[GroupManifest], settings: str | None) -> tuple[str, str]:
    """Give the name and the settings digest that all manifests share."""
    kinds = {(group.catalogue, group.settings) for group in groups} | ({(root.name, settings)} if settings else set())
    if len(kinds) != 1:
        raise StoreError(f"{root}: expected manifests of one catalogue and one settings digest, found {sorted(kinds)}")
    return kinds.pop()


def _check_sky(root: Path, tiles: Sequence[Tile]) -> None:
    ranges = [
        (*tile_range(tile), str(tile)) for tile in sorted(tiles, key=lambda tile: (tile_range(tile)[0], tile.order))
    ]
    clashes = [f"{a[2]} and {b[2]}" for a, b in pairwise(ranges) if b[0] < a[1]]
    if clashes:
        raise StoreError(f"{root}: expected tiles that do not overlap on the sky, found {'; '.join(clashes[:10])}")


def _check_pool(root: Path, tiles: Sequence[TileEntry]) -> None:
    wrong = []
    for entry in tiles:
        path = root / pool_file(entry.tile, entry.key)
        size = path.stat().st_size if path.is_file() else None
        if size != entry.n_bytes:
            wrong.append(f"{path} ({'missing' if size is None else f'{size} bytes, not {entry.n_bytes}'})")
    if wrong:
        raise StoreError(
            f"{root}: expected every tile of the manifests in the pool, found {len(wrong)} missing or truncated: "
            f"{', '.join(wrong[:10])}; delete the truncated ones and their group manifests and run again"
        )


def account(
    root: Path, tiles: Sequence[TileEntry], failures: Sequence[Quarantined], unplaced: Accounting, n_in: int | None
) -> Accounting:
    """Add up what became of every source.

    Raises
    ------
    AccountingError
        If a sum does not close.
    """
    unplaced.check(f"{root}: sources without a tile")
    for entry in tiles:
        entry.accounting.check(f"{root}: tile {entry.tile}")
        if entry.accounting.n_rows != entry.n_rows:
            raise AccountingError(
                f"{root}: tile {entry.tile}: expected as many rows as sources without and with flags "
                f"({entry.accounting.n_rows}), found {entry.n_rows}"
            )
    total = Accounting.total([unplaced] + [e.accounting for e in tiles] + [e.accounting for e in failures])
    if n_in is not None and total.n_in != n_in:
        raise AccountingError(
            f"{root}: expected {n_in} sources, found {total.n_in} accounted for; a group manifest is missing or old, "
            "so run the stage again"
        )
    return total.check(str(root))


def digest_table(
    where: Path, name: str, batches: Iterable[pa.RecordBatch], schema: pa.Schema, accounting: Accounting
) -> str:
    """Give the digest of a version's table; that of quarantined rows must list exactly those of the account.

    Raises
    ------
    AccountingError
        If it does not.
    """
    if name != ROW_TABLE:
        return table_digest(batches, schema.names)
    listed = Counter[str]()
    found = table_digest(count_reasons(batches, listed), schema.names)
    expected = {reason: n for reason, n in accounting.quarantined.items() if reason != TILE_FAILED and n}
    if listed != expected:
        raise AccountingError(
            f"{where}: expected the quarantined rows of the account in {name}, {expected}, found {dict(listed)}; "
            "a table of refused rows is cut off or old: delete the group manifests of the sources and tiling/plan.json "
            "and run again"
        )
    return found


def _describe(folder: Path, tiles: Sequence[Tile]) -> None:
    """Write the coverage in the forms that others read: HATS partition table, MOC."""
    ordered = sorted(tiles, key=tile_range)
    lines = ["Norder,Npix", *(f"{tile.order},{tile.pixel}" for tile in ordered)]
    (folder / PARTITION_INFO).write_text("\n".join(lines) + "\n")
    content = io.BytesIO()  # astropy writes to a file itself, but its errors then lack their number
    coverage(ordered).serialize("fits").writeto(content)
    (folder / MOC_FILE).write_bytes(content.getvalue())


def coverage(tiles: Sequence[Tile]) -> MOC:
    """Give the part of the sky that tiles cover."""
    from mocpy import MOC

    if not tiles:
        return MOC.new_empty(max_depth=0)
    orders = np.array([tile.order for tile in tiles], dtype=np.uint8)
    pixels = np.array([tile.pixel for tile in tiles], dtype=np.uint64)
    return MOC.from_healpix_cells(pixels, orders, max_depth=int(orders.max()))


def _link(folder: Path, tiles: Sequence[TileEntry]) -> None:
    """Make the tree of relative symlinks into the pool."""
    for entry in tiles:
        link = folder / version_file(entry.tile)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(link_target(entry))


def link_target(entry: TileEntry) -> Path:
    """Give where the link of a tile leads: from versions/<v>/Norder=/Dir=/ up to the catalogue, down into the pool."""
    return Path("../../../..", pool_file(entry.tile, entry.key))
