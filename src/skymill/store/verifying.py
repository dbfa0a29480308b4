"""Verification: every digest again, everything that a manifest names, everything that none names."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from skymill.store.accounting import Accounting
from skymill.store.check import check_whole, wrong_receipt
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
from skymill.store.sealing import account, as_json, digest_table
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
    for folder in sorted(path.parent for path in (root / VERSIONS).glob(f"*/{MANIFEST}")):
        _read_version(folder, claims, report)
    if (root / CURRENT).exists():
        _read_pointer(root, report)
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


def _read_pointer(root: Path, report: Report) -> None:
    """Check that the catalogue leads to a version that is there."""
    try:
        version = json.loads((root / CURRENT).read_bytes())["version"]
    except (ValueError, KeyError, TypeError) as error:
        report.add("corrupt", root / CURRENT, f"no pointer to a version ({error!r})", SEAL)
        return
    if not (root / VERSIONS / version / MANIFEST).is_file():
        report.add("missing", root / VERSIONS / version, f"{CURRENT} points at it", SEAL)


def _read_version(folder: Path, claims: Claims, report: Report) -> None:
    """Check the files of a version against its manifest, that against its name, and note the tiles."""
    report.n_versions += 1
    try:
        text = (folder / MANIFEST).read_bytes()
        manifest = json.loads(text)
        content, files = manifest["content"], manifest["files"]
        found = (short(digest(content)), folder.name, as_json(manifest))
        if found != (manifest["version"], manifest["version"], text):
            raise StoreError(f"expected version {folder.name}, found the content of {found[0]}")
    except (ValueError, KeyError, TypeError) as error:
        report.add("corrupt", folder / MANIFEST, str(error), RESEAL)
        return
    for name, sha256 in files.items():
        if not (folder / name).is_file():
            report.add("missing", folder / name, "the version has it", RESEAL)
        elif file_sha256(folder / name) != sha256:
            report.add("corrupt", folder / name, f"expected sha256 {sha256}", RESEAL)
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
        return
    for entry in entries:
        file, tile = folder / version_file(entry.tile), pool_file(entry.tile, entry.key)
        if file.is_symlink() and not file.resolve().as_posix().endswith(f"/{tile}"):
            report.add("wrong", file, f"expected a link to {tile}, found one to {file.readlink()}", RESEAL)
        else:
            claims[file.resolve()].append((entry, folder / MANIFEST))


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
