"""Verification: every digest again, everything that a manifest names, everything that none names."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from skymill.store.accounting import Accounting
from skymill.store.check import check_whole, wrong_receipt
from skymill.store.document import from_document
from skymill.store.errors import CorruptTile, StoreError
from skymill.store.keys import digest, file_sha256, short
from skymill.store.manifest import GroupManifest, Quarantined, TileEntry
from skymill.store.paths import (
    CURRENT,
    GROUPS,
    MANIFEST,
    QUARANTINE_TABLE,
    STAGING,
    TILE_TABLE,
    TILES,
    VERSIONS,
    pool_file,
    version_file,
)
from skymill.store.report import Report
from skymill.store.sealing import MANIFEST_HAS, POINTER_HAS, VERSION_FORMAT, account, digest_table, link_target
from skymill.store.tables import read_rows, tile_entries

Claims = defaultdict[Path, list[tuple[TileEntry, Path]]]
"""By tile file: what is said about it, and the manifest that says so."""
RESTORE = "restore it from a copy, or delete it with the group manifest that names it and run again"
SEAL = "delete the catalogue's current.json and run `snakemake --cores all`"
RESEAL = f"delete this version's folder; {SEAL}"


def verify(path: str | Path) -> Report:
    """Recompute every digest and report what is missing, changed or too much.

    Parameters
    ----------
    path : Path
        A results folder (or any folder of catalogues), a catalogue, or a sealed version.

    Returns
    -------
    Report
        `ok`, `problems`, `extra`, and `lines()` for people.

    Raises
    ------
    FileNotFoundError
        If there is nothing to verify.
    """
    path = Path(path)
    report = Report()
    if (path / MANIFEST).is_file() and (path / TILE_TABLE).is_file():
        claims: Claims = defaultdict(list)
        _read_version(path, claims, report)
        _check_tiles(claims, report)
        return report
    roots = [path] if _is_catalogue(path) else sorted(filter(_is_catalogue, [*path.glob("*"), *path.glob("*/*")]))
    if not roots:
        raise FileNotFoundError(f"{path}: expected a results folder, a catalogue or a version, found none")
    for root in roots:
        _verify_catalogue(root, report)
    return report


def _is_catalogue(folder: Path) -> bool:
    return (folder / CURRENT).is_file() or (folder / TILES).is_dir()


def _verify_catalogue(root: Path, report: Report) -> None:
    report.n_catalogues += 1
    claims: Claims = defaultdict(list)
    for path in sorted((root / GROUPS).glob("*/*.json")):
        _read_group(path, root, claims, report)
    versions = sorted(path for path in (root / VERSIONS).glob("*") if path.is_dir())
    for folder in versions:
        _read_version(folder, claims, report)
    _read_pointer(root, versions, report)
    _check_tiles(claims, report)
    tiles = set((root / TILES).rglob("*")) if (root / TILES).is_dir() else set()
    report.extra.extend(path for path in tiles if path.is_file() and path.resolve() not in claims)
    report.extra.extend((root / STAGING).glob("*"))


def _read_group(path: Path, root: Path, claims: Claims, report: Report) -> None:
    """Note the tiles that a group manifest names."""
    try:
        group = GroupManifest.read(path)
        for entry in group.tiles:
            entry.accounting.check(str(entry.tile))
    except StoreError as error:
        report.add("corrupt", path, str(error), "delete it and run again")
        return
    if (short(group.settings), group.group) != (path.parent.name, path.stem):
        found = f"it is the manifest of group {group.group}, settings {short(group.settings)}"
        report.add("wrong", path, found, "delete it and run again")
    for entry in group.tiles:
        claims[(root / pool_file(entry.tile, entry.key)).resolve()].append((entry, path))


def _read_pointer(root: Path, versions: Sequence[Path], report: Report) -> None:
    """Check that the catalogue leads to a version that is there, with the group manifests that it was made of."""
    path = root / CURRENT
    if not path.exists():
        interrupted = any((root / STAGING).glob(f"*-{CURRENT}"))  # a seal, just before its end; or it goes on
        if versions and not interrupted:
            report.add("missing", path, f"nothing points at one of the {len(versions)} versions", SEAL)
        return
    try:
        pointer = from_document(
            path.read_bytes(), kind="pointer to a version", where=path, newest=VERSION_FORMAT, has=POINTER_HAS
        )
    except StoreError as error:
        report.add("corrupt", path, str(error), SEAL)
        return
    if root / VERSIONS / pointer["version"] not in versions:
        report.add("missing", root / VERSIONS / pointer["version"], f"{CURRENT} points at it", SEAL)
    for group in pointer["groups"]:
        if not (root / group).is_file():
            report.add("missing", root / group, "the current version was made of it", "run again")


def _read_version(folder: Path, claims: Claims, report: Report) -> None:
    """Check the files of a version against its manifest, that against its name, and note the tiles."""
    report.n_versions += 1
    manifest = _version_manifest(folder, report)
    if manifest is None:
        return
    spoilt = _spoilt_files(folder, manifest["files"], report)
    if not spoilt.isdisjoint(manifest["content"]["tables"]):
        return  # what is no longer Parquet may do anything to its reader
    for entry in _sealed_tiles(folder, manifest["content"], report):
        link = folder / version_file(entry.tile)
        if _leads_to(link, entry, report):
            claims[link.resolve()].append((entry, folder / MANIFEST))


def _version_manifest(folder: Path, report: Report) -> dict[str, Any] | None:
    """Read what a version says of itself, and hold it against its name."""
    path = folder / MANIFEST
    try:
        manifest = from_document(
            path.read_bytes(), kind="version's manifest", where=path, newest=VERSION_FORMAT, has=MANIFEST_HAS
        )
        version = short(digest(manifest["content"]))
        if not version == manifest["version"] == folder.name:
            raise StoreError(f"expected version {folder.name}, found the content of {version}")
    except FileNotFoundError:
        report.add("missing", path, "every version has one", RESEAL)
        return None
    except StoreError as error:
        report.add("corrupt", path, str(error), RESEAL)
        return None
    return manifest


def _spoilt_files(folder: Path, files: Mapping[str, str], report: Report) -> set[str]:
    """Name the files of a version that are missing or not as they were sealed."""
    spoilt = set()
    for name, sha256 in files.items():
        if not (folder / name).is_file():
            report.add("missing", folder / name, "the version has it", RESEAL)
            spoilt.add(name)
        elif file_sha256(folder / name) != sha256:
            report.add("corrupt", folder / name, f"expected sha256 {sha256}", RESEAL)
            spoilt.add(name)
    return spoilt


def _sealed_tiles(folder: Path, content: Mapping[str, Any], report: Report) -> list[TileEntry]:
    """Read the tables of a version and add up its sources."""
    try:
        entries = tile_entries(read_rows(folder / TILE_TABLE).read())
        failures = [Quarantined(**row) for row in read_rows(folder / QUARANTINE_TABLE).read().to_pylist()]
        unplaced = Accounting.from_dict(content["unplaced"])
        total = account(folder, entries, failures, unplaced, content["accounting"]["n_in"])
        files = {name: read_rows(folder / name) for name in content["tables"]}
        digests = {
            name: digest_table(folder, name, file.iter_batches(), file.schema_arrow, total)
            for name, file in files.items()
        }
        if digests != content["tables"]:
            raise StoreError(f"expected tables of digest {content['tables']}, found {digests}")
    except (ValueError, OSError) as error:
        report.add("corrupt", folder, f"its tables are not those sealed ({error})", RESEAL)
        return []
    return entries


def _leads_to(link: Path, entry: TileEntry, report: Report) -> bool:
    """Check that a version has a tile: as a link to its place in the pool, or as a copy."""
    target = link_target(entry)
    if not link.is_symlink():
        if not link.is_file():
            report.add("missing", link, "the version has the tile", RESEAL)
        return link.is_file()
    if link.readlink() != target:
        report.add("wrong", link, f"expected a link to {target}, found one to {link.readlink()}", RESEAL)
    return link.readlink() == target


def _check_tiles(claims: Claims, report: Report) -> None:
    """Read every tile that is named anywhere, once."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as readers:
        for path, found in zip(claims, readers.map(_tile_problem, claims, claims.values())):
            if path.is_file():
                report.n_tiles += 1
                report.n_bytes += path.stat().st_size
            if found:
                names = " and ".join(sorted({str(by) for _, by in claims[path] if by.name != MANIFEST}))
                mend = f"delete it and {names}, then run again: the same tile comes back" if names else RESTORE
                report.add(found[0], path, found[1], mend)


def _tile_problem(path: Path, claims: list[tuple[TileEntry, Path]]) -> tuple[str, str] | None:
    """Hold a tile against all that is claimed about it."""
    if not path.is_file():
        return "missing", f"{claims[0][1]} names it"
    sha256, size = file_sha256(path), path.stat().st_size
    for entry, by in claims:
        if (sha256, size) != (entry.sha256, entry.n_bytes):
            expected = f"expected sha256 {entry.sha256} and {entry.n_bytes} bytes as {by} says"
            return "corrupt", f"{expected}, found {sha256} and {size}"
    try:
        attributes = check_whole(path)
    except CorruptTile as error:
        return "corrupt", str(error)
    counts = Accounting.from_dict(attributes["receipt"]["accounting"])
    for entry, by in claims:
        wrong = wrong_receipt(attributes["receipt"], entry.key)
        if wrong is None and (counts, attributes["n_rows"]) != (entry.accounting, entry.n_rows):
            wrong = f"expected {entry.n_rows} rows, {entry.accounting}; found {attributes['n_rows']}, {counts}"
        if wrong:
            return "wrong", f"{wrong} ({by})"
    return None
