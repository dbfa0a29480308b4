"""Sealing: from the manifests of all groups to one immutable version of a catalogue."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa

from skymill.sky import AnyTile, ImageTile, Tile, tile_range
from skymill.store.accounting import Accounting, AccountingError
from skymill.store.coverage import coverage
from skymill.store.document import to_document
from skymill.store.durable import staged, staged_folder, sweep
from skymill.store.errors import StoreError
from skymill.store.keys import digest, file_sha256, short
from skymill.store.kinds import IMAGES, SKY, Kind, in_order, kind_of, kind_of_tiles
from skymill.store.manifest import TILE_FAILED, AnyEntry, AnyQuarantined, GroupManifest, TileEntry
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
    link_target,
    pool_file,
    version_file,
    version_folder,
)
from skymill.store.provenance import made_with
from skymill.store.tables import (
    LongTable,
    check_images,
    count_reasons,
    quarantine_table,
    table_digest,
    tile_table,
    write_rows,
)

VERSION_FORMAT = 2
"""The newest that is read; a version says the oldest that its readers have to know."""
POINTER_FORMAT = 1
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
        If tiles are missing in the pool, overlap on the sky, or belong to different catalogues; tiles of images may
        overlap, but have names of their own.
    """
    root = Path(catalogue)
    groups = list(manifests)
    tiles = [entry for group in groups for entry in group.tiles]
    failures = [entry for group in groups for entry in group.quarantined]
    name, settings = _shared(root, groups, settings)
    kind = kind_of_tiles([*tiles, *failures], root)
    _check_places(root, [entry.tile for entry in tiles] + [entry.tile for entry in failures], kind)
    _check_pool(root, tiles)
    accounting = account(root, tiles, failures, unplaced or Accounting(), n_in)
    tables: dict[str, LongTable] = {
        TILE_TABLE: tile_table(tiles, kind),
        QUARANTINE_TABLE: quarantine_table(failures, kind),
    }
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
        **kind.content(),
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
            "skymill_format": POINTER_FORMAT,
            "catalogue": name,
            "version": version,
            "groups": sorted(str(path.relative_to(root)) for path in files if path.is_file()),
        }
    )


def _write_version(
    folder: Path, tiles: Sequence[AnyEntry], tables: Mapping[str, LongTable], identity: Mapping[str, Any]
) -> None:
    """Write a version, unless it stands there: what is named by its content is the same."""
    if not folder.is_dir():
        root = folder.parents[1]
        with staged_folder(folder, staging=root / STAGING) as staging:
            _fill(staging, root, tiles, tables, identity)


def _fill(
    folder: Path,
    root: Path,
    tiles: Sequence[AnyEntry],
    tables: Mapping[str, LongTable],
    identity: Mapping[str, Any],
) -> None:
    """Write everything of a version: tables, coverage, the tree of symlinks, and the manifest that names them."""
    for name, table in tables.items():
        write_rows(folder / name, table)
    kind = kind_of(identity["content"])
    _describe(folder, root, tiles, kind)
    manifest = {
        "skymill_format": kind.version_format,
        **identity,
        "files": {path.name: file_sha256(path) for path in folder.iterdir()},
        "made_with": made_with(),  # recorded only: equal content is the same version, whoever seals it
    }
    _link(folder, tiles)
    (folder / MANIFEST).write_bytes(to_document(manifest))


def _shared(root: Path, groups: Sequence[GroupManifest], settings: str | None) -> tuple[str, str]:
    """Give the name and the settings digest that all manifests share."""
    kinds = {(group.catalogue, group.settings) for group in groups} | ({(root.name, settings)} if settings else set())
    if len(kinds) != 1:
        raise StoreError(f"{root}: expected manifests of one catalogue and one settings digest, found {sorted(kinds)}")
    return kinds.pop()


def _check_places(root: Path, tiles: Sequence[AnyTile], kind: Kind) -> None:
    """Make sure that each tile has a place of its own: on the sky, or among the names of image tiles."""
    if kind is IMAGES:
        names = [tile.name for tile in tiles if isinstance(tile, ImageTile)]
        check_images(names, root)
        if twice := sorted(name for name, n in Counter(names).items() if n > 1):
            raise StoreError(f"{root}: expected each image tile once, found {', '.join(twice[:10])} in two groups")
        return
    ordered = sorted((tile for tile in tiles if isinstance(tile, Tile)), key=lambda t: (tile_range(t)[0], t.order))
    ranges = [(*tile_range(tile), str(tile)) for tile in ordered]
    clashes = [f"{a[2]} and {b[2]}" for a, b in pairwise(ranges) if b[0] < a[1]]
    if clashes:
        raise StoreError(f"{root}: expected tiles that do not overlap on the sky, found {'; '.join(clashes[:10])}")


def _check_pool(root: Path, tiles: Sequence[AnyEntry]) -> None:
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
    root: Path, tiles: Sequence[AnyEntry], failures: Sequence[AnyQuarantined], unplaced: Accounting, n_in: int | None
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


def _describe(folder: Path, root: Path, entries: Sequence[AnyEntry], kind: Kind) -> None:
    """Write the coverage in the forms that others read: MOC and, of tiles of the sky, the HATS partition table."""
    ordered = sorted(entries, key=lambda entry: in_order(entry.tile))
    if kind is SKY:
        lines = ["Norder,Npix", *(f"{entry.order},{entry.pixel}" for entry in ordered if isinstance(entry, TileEntry))]
        (folder / PARTITION_INFO).write_text("\n".join(lines) + "\n")
    content = io.BytesIO()  # astropy writes to a file itself, but its errors then lack their number
    coverage(ordered, root).serialize("fits").writeto(content)
    (folder / MOC_FILE).write_bytes(content.getvalue())


def _link(folder: Path, tiles: Sequence[AnyEntry]) -> None:
    """Make the tree of relative symlinks into the pool."""
    for entry in tiles:
        link = folder / version_file(entry.tile)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(link_target(entry.tile, entry.key))
