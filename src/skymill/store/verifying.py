"""Verification: every digest again, everything that a manifest names, everything that none names."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa

from skymill.store.accounting import Accounting
from skymill.store.check import check_receipt, check_whole, wrong_receipt
from skymill.store.errors import CorruptTile, StoreError
from skymill.store.forms import PointerForm, VersionForm, read_document
from skymill.store.inventory import inventory
from skymill.store.keys import digest, file_sha256, short
from skymill.store.kinds import kind_of
from skymill.store.manifest import AnyEntry, GroupManifest
from skymill.store.paths import (
    CURRENT,
    GROUPS,
    MANIFEST,
    PARTITION_INFO,
    QUARANTINE_TABLE,
    STAGING,
    TILE_TABLE,
    TILES,
    VERSIONS,
    link_target,
    pool_file,
    version_file,
)
from skymill.store.report import Report
from skymill.store.sealing import MANIFEST_HAS, POINTER_FORMAT, POINTER_HAS, VERSION_FORMAT, account, digest_table
from skymill.store.tables import open_table, read_quarantine, read_tiles, tile_entries

Claims = defaultdict[Path, list[tuple[AnyEntry, Path]]]
"""By tile file: what is said about it, and the manifest that says so."""
RESTORE = "restore it from a copy, or delete it with the group manifest that names it and run again"
SEAL = "delete the catalogue's current.json and run `snakemake --cores all`"
RESEAL = f"restore it from a copy of a release, or, if this version is the current one, delete its folder; {SEAL}"
COPY = "copy the release again from where it was published (`skymill release copy`)"
"""What mends a version that stands by itself, without the pool that it was sealed in."""
NOT_PLAIN = "expected plain files and folders, found a link or a device"


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
    if (path / TILE_TABLE).is_file() or (path / PARTITION_INFO).is_file():
        verify_version(path, report)
        return report
    roots = [path] if _is_catalogue(path) else sorted(filter(_is_catalogue, [*path.glob("*"), *path.glob("*/*")]))
    if not roots:
        raise FileNotFoundError(f"{path}: expected a results folder, a catalogue or a version, found none")
    for root in roots:
        _verify_catalogue(root, report)
    return report


def read_pointer(root: Path) -> dict[str, Any]:
    """Read which version of a catalogue is the current one, and the group manifests that it was made of.

    Raises
    ------
    FileNotFoundError
        If nothing was sealed.
    StoreError
        If the file is not as it was written.
    """
    return read_document(
        root / CURRENT, PointerForm, kind="pointer to a version", newest=POINTER_FORMAT, has=POINTER_HAS
    )


def read_version(folder: Path) -> dict[str, Any]:
    """Read what a version says of itself.

    Raises
    ------
    FileNotFoundError
        If it has no manifest.
    StoreError
        If that is not as it was written, or is another version's.
    """
    path = folder / MANIFEST
    manifest = read_document(path, VersionForm, kind="version's manifest", newest=VERSION_FORMAT, has=MANIFEST_HAS)
    version = short(digest(manifest["content"]))
    expected = folder.name if _is_pooled(folder) else manifest["version"]
    if not version == manifest["version"] == expected:
        raise StoreError(f"{path}: expected version {expected}, found the content of {version}")
    if not {TILE_TABLE, QUARANTINE_TABLE} <= manifest["content"]["tables"].keys() <= manifest["files"].keys():
        raise StoreError(f"{path}: expected each table among its files, found {sorted(manifest['files'])}")
    return manifest


def verify_version(folder: Path, report: Report) -> dict[str, Any] | None:
    """Verify one version, to the last byte of its tiles; give its manifest if that is whole.

    A version stands in the pool that it was sealed in and leads to tiles there, or by itself with tiles as files.
    """
    folder = folder.resolve()
    claims: Claims = defaultdict(list)
    manifest = _read_version(folder, claims, report)
    _check_tiles(claims, report, RESTORE if _is_pooled(folder) else COPY)
    return manifest


def _is_pooled(version: Path) -> bool:
    """Tell a version in the catalogue that it was sealed in from one that was copied elsewhere."""
    return version.parent.name == VERSIONS


def _is_catalogue(folder: Path) -> bool:
    return (folder / CURRENT).is_file() or (folder / TILES).is_dir()


def _verify_catalogue(root: Path, report: Report) -> None:
    report.n_catalogues += 1
    claims: Claims = defaultdict(list)
    n_before = len(report.problems)
    for path in sorted((root / GROUPS).glob("*/*.json")):
        _read_group(path, root, claims, report)
    versions = sorted(path for path in (root / VERSIONS).glob("*") if path.is_dir())
    for folder in versions:
        _read_version(folder, claims, report)
    all_read = len(report.problems) == n_before  # else a tile that seems unnamed may be what a lost table names
    _read_pointer(root, versions, report)
    _check_tiles(claims, report, RESTORE)
    if all_read:
        report.extra.extend(_unnamed(root, claims))
    report.extra.extend((root / STAGING).glob("*"))


def _unnamed(root: Path, claims: Claims) -> Iterator[Path]:
    """Give what stands in the pool under a name that no manifest knows."""
    named = {root / pool_file(entry.tile, entry.key) for claimed in claims.values() for entry, _ in claimed}
    for folder, folders, names in os.walk(root / TILES):
        links = (name for name in folders if os.path.islink(os.path.join(folder, name)))  # noqa: PTH114, PTH118 (1e5)
        yield from (path for path in (Path(folder, name) for name in (*names, *links)) if path not in named)


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
        pointer = read_pointer(root)
    except StoreError as error:
        report.add("corrupt", path, str(error), SEAL)
        return
    if root / VERSIONS / pointer["version"] not in versions:
        report.add("missing", root / VERSIONS / pointer["version"], f"{CURRENT} points at it", SEAL)
    for group in pointer["groups"]:
        if not (root / group).is_file():
            report.add("missing", root / group, "the current version was made of it", "run again")


def _read_version(folder: Path, claims: Claims, report: Report) -> dict[str, Any] | None:
    """Check the files of a version against its manifest, that against its name, and note the tiles."""
    report.n_versions += 1
    pooled = _is_pooled(folder)
    mend = RESEAL if pooled else COPY
    files, others = inventory(folder)
    if not pooled:
        for path in others:
            report.add("wrong", path, NOT_PLAIN, f"delete it; {mend}")
    if MANIFEST not in files:
        report.add("missing", folder / MANIFEST, "every version has one", mend)
        return None
    manifest = _version_manifest(folder, report, mend)
    if manifest is None:
        return None
    spoilt = _spoilt_files(folder, manifest["files"], files, report, mend)
    if not spoilt.isdisjoint(manifest["content"]["tables"]):
        return manifest  # what is no longer Parquet may do anything to its reader
    entries, elsewhere = _sealed_tiles(folder, manifest["content"], report, mend), set(others)
    for entry in entries:
        path = folder / version_file(entry.tile)
        if version_file(entry.tile) in files or (pooled and _leads_to(path, entry, report)):
            claims[path.resolve()].append((entry, folder / MANIFEST))
        elif path not in elsewhere:
            report.add("missing", path, "the version has the tile", _relink(entry) if pooled else mend)
    named = {MANIFEST, *manifest["files"], *(version_file(entry.tile) for entry in entries)}
    found = [*files.values(), *(others if pooled else ())]
    report.extra.extend(path for path in found if str(path.relative_to(folder)) not in named)
    return manifest


def _version_manifest(folder: Path, report: Report, mend: str) -> dict[str, Any] | None:
    """Read what a version says of itself, and hold it against its name."""
    try:
        return read_version(folder)
    except StoreError as error:
        report.add("corrupt", folder / MANIFEST, str(error), mend)
    return None


def _spoilt_files(
    folder: Path, named: Mapping[str, str], files: Mapping[str, Path], report: Report, mend: str
) -> set[str]:
    """Name the files of a version that are missing or not as they were sealed."""
    spoilt = set()
    for name, sha256 in named.items():
        if name not in files:
            report.add("missing", folder / name, "the version has it", mend)
            spoilt.add(name)
        elif file_sha256(folder / name) != sha256:
            report.add("corrupt", folder / name, f"expected sha256 {sha256}", mend)
            spoilt.add(name)
    return spoilt


def _sealed_tiles(folder: Path, content: Mapping[str, Any], report: Report, mend: str) -> list[AnyEntry]:
    """Read the tables of a version and add up its sources."""
    try:
        table, kind = folder / TILE_TABLE, kind_of(content)
        entries = tile_entries(read_tiles(table, content["n_tiles"], where=table, kind=kind), kind)
        failures = read_quarantine(folder / QUARANTINE_TABLE, kind)
        unplaced = Accounting.from_dict(content["unplaced"])
        total = account(folder, entries, failures, unplaced, content["accounting"]["n_in"])
        files = {name: open_table(folder / name, where=folder / name) for name in content["tables"]}
        digests = {
            name: digest_table(folder, name, file.iter_batches(), file.schema_arrow, total)
            for name, file in files.items()
        }
        if digests != content["tables"]:
            raise StoreError(f"expected tables of digest {content['tables']}, found {digests}")
    except (ValueError, TypeError, KeyError, OSError, pa.ArrowException) as error:
        report.add("corrupt", folder, f"its tables are not those sealed ({error})", mend)
        return []
    return entries


def _relink(entry: AnyEntry) -> str:
    return f"make it a link to {link_target(entry.tile, entry.key)} again"


def _leads_to(link: Path, entry: AnyEntry, report: Report) -> bool:
    """Check that a version leads to a tile in its place in the pool."""
    target = link_target(entry.tile, entry.key)
    if not link.is_symlink():
        return False
    if link.readlink() != target:
        report.add("wrong", link, f"expected a link to {target}, found one to {link.readlink()}", _relink(entry))
    return link.readlink() == target


def _check_tiles(claims: Claims, report: Report, mend: str) -> None:
    """Read every tile that is named anywhere, once; `mend` is for those that no group manifest names."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as readers:
        for path, found in zip(claims, readers.map(_tile_problem, claims, claims.values())):
            if path.is_file():
                report.n_tiles += 1
                report.n_bytes += path.stat().st_size
            if found:
                names = " and ".join(sorted({str(by) for _, by in claims[path] if by.name != MANIFEST}))
                again = f"delete it and {names}, then run again: the same tile comes back"
                report.add(found[0], path, found[1], again if names else mend)


def _tile_problem(path: Path, claims: list[tuple[AnyEntry, Path]]) -> tuple[str, str] | None:
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
        check_receipt(attributes.get("receipt"), path)
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
