"""Verification of a whole run: its catalogues, and the training sets, fits and models they come from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from skymill import store
from skymill.release.folder import (
    CATALOGUES,
    CURRENT,
    GATE,
    HISTORY,
    LOCK,
    MANIFEST,
    RELEASES,
    ReleaseError,
    Releases,
    read_release,
)
from skymill.release.history import MEND
from skymill.sessions.containment import check_self_contained
from skymill.sessions.entry import ModelFileError
from skymill.store import Report, StoreError, file_sha256, short
from skymill.store.document import read_checked
from skymill.store.inventory import inventory
from skymill.store.paths import STAGING, version_folder
from skymill.store.source import read_whole
from skymill.store.verifying import COPY, NOT_PLAIN

MANIFESTS = ("training/set.json", "training/[!.]*/*/manifest.json", "models/[!.]*/manifest.json")
NAMED_BY_CONTENT = ("training/sets/*.parquet", "models/*/*.onnx")
ONNX = ".onnx"
LARGEST_MODEL = 1 << 31
"""Bytes of an ONNX file, as Protocol Buffers allow."""
LOST = "restore it from a backup, or run `skymill release rollback {name}`, which begins a new one"
BACK = "run `skymill release rollback {name}`: it makes the link again"
AGAIN = "then run `snakemake --cores all`: the same comes back"


def verify(path: str | Path) -> Report:
    """Recompute every digest below a folder and report what is missing, changed or too much.

    Parameters
    ----------
    path : Path
        A run's folder, a catalogue, a sealed version, or a release: one of a run, or a copy.

    Returns
    -------
    Report

    Raises
    ------
    FileNotFoundError
        If there is nothing to verify.
    """
    path = Path(path)
    if _is_release(path):
        current = path.name == CURRENT and path.is_symlink()
        return _verify_whole((path.parent / path.readlink() if current else path).absolute(), Report())
    report = store.verify(path)
    read = set(_found(path, NAMED_BY_CONTENT))
    for file in sorted(read):
        digest = short(file_sha256(file))
        if digest != file.stem:
            report.add("corrupt", file, f"its content has the digest {digest}", f"delete it, {AGAIN}")
    for manifest in sorted(_found(path, MANIFESTS)):
        read |= {manifest, *_check_manifest(manifest, report)}
    report.n_files = len(read)
    for folder in _check_releases(Releases(path), report):
        check_release(folder, report)
    return report


def verify_release(run: str | Path, name: str) -> Report:
    """Recompute every digest of one release: its own files, and the tiles of its versions.

    Raises
    ------
    ReleaseError
        If there is no such release.
    """
    releases = Releases(Path(run))
    folder = releases.folder(name)
    if not folder.is_dir():
        releases.read(name)  # says what there is
    return _verify_whole(folder, Report())


def _check_releases(releases: Releases, report: Report) -> list[Path]:
    """Hold the folder of releases and `current` against the history; give the releases that should be whole."""
    if not releases.root.is_dir():
        return []
    expected, noted = set(releases.standing()), None
    try:
        lines = releases.history()
        expected |= releases.published().keys()
        noted = lines[-1]["current"] if lines else None
        if releases.current is not None and not lines:
            report.add("missing", releases.root / HISTORY, f"{CURRENT} was made", LOST.format(name=releases.current))
    except StoreError as error:
        report.add("corrupt", releases.root / HISTORY, str(error), MEND)
    _check_current(releases, noted, report)
    known = {*expected, CURRENT, HISTORY, LOCK, STAGING}
    report.extra += (path for path in releases.root.iterdir() if path.name not in known)
    report.extra += (releases.root / STAGING).glob("*")
    return [releases.root / name for name in sorted(expected)]


def _check_current(releases: Releases, noted: str | None, report: Report) -> None:
    """Check that `current` leads to the release that the history names last, or, if that is lost, to any."""
    path, found = releases.root / CURRENT, releases.current
    if found == noted if noted else found is None or found in releases.standing():
        return
    expected = f"a link to {noted}, as the history says" if noted else "a link to a release"
    what = "none" if found is None else f"one to {found}"
    name = noted or "NAME"
    report.add("wrong" if found else "missing", path, f"expected {expected}, found {what}", BACK.format(name=name))


def _is_release(folder: Path) -> bool:
    """Tell a release from a run, even if one of its files is lost."""
    return (folder / GATE).is_file() or ((folder / MANIFEST).is_file() and (folder / CATALOGUES).is_dir())


def _run_of(folder: Path) -> Path | None:
    """Give the run that a release stands in; None of a copy."""
    releases = folder.absolute().parent
    beside = any(os.path.lexists(releases / name) for name in (HISTORY, CURRENT, LOCK))
    return releases.parent if releases.name == RELEASES and beside else None


def _verify_whole(folder: Path, report: Report) -> Report:
    """Verify a release and the versions that it has, as links or as copies."""
    for path, version in check_release(folder, report).items():
        found = store.verify_version(path, report)
        if found is not None and found["version"] != version:
            report.add("wrong", path, f"expected version {version}, found {found['version']}", _mend(folder))
    return report


def _mend(folder: Path) -> str:
    """Say how a release is mended."""
    if _run_of(folder) is None:
        return COPY
    return f"restore it from a copy of the release, or publish the same versions under another name than {folder.name}"


def check_release(folder: Path, report: Report) -> dict[Path, str]:
    """Hold a release against its manifest, but do not follow it into its versions; give those that are in place."""
    mend, run = _mend(folder), _run_of(folder)
    files, others = inventory(folder) if folder.is_dir() else ({}, [])
    if files.pop(MANIFEST, None) is None:
        report.add("missing", folder / MANIFEST, "every release has one", mend)
        return {}
    try:
        manifest = read_release(folder) if run is None else Releases(run).read(folder.name)
    except (StoreError, ReleaseError) as error:
        report.add("corrupt", folder / MANIFEST, str(error), mend)
        return {}
    for name, sha256 in manifest["files"].items():
        path = files.pop(name, None)
        if path is None:
            report.add("missing", folder / name, f"release {manifest['release']} has it", mend)
        elif file_sha256(path) != sha256:
            report.add("corrupt", path, f"expected sha256 {sha256}", mend)
        elif path.suffix == ONNX:
            _check_model(path, report)
    report.n_files += len(manifest["files"])
    versions = {folder / CATALOGUES / each: told["version"] for each, told in manifest["catalogues"].items()}
    in_place = {path: version for path, version in versions.items() if _has_version(path, version, run, report)}
    for path in others:
        if versions.keys().isdisjoint((path, *path.parents)):
            report.add("wrong", path, NOT_PLAIN, f"delete it; {mend}")
    report.extra += (path for path in files.values() if versions.keys().isdisjoint(path.parents))
    return in_place


def _check_model(path: Path, report: Report) -> None:
    """Check that a model does not lead its reader to another file."""
    try:
        check_self_contained(read_whole(path, most=LARGEST_MODEL), source=str(path))
    except (ModelFileError, StoreError) as error:
        report.add("wrong", path, str(error), "do not run it, and ask whoever gave it to you for another")


def _has_version(path: Path, version: str, run: Path | None, report: Report) -> bool:
    """Check that a release has a version: as a link to its place in the run, or as a folder."""
    if run is None:
        lost, place = COPY, None
    else:
        lost = f"make it a link to {Releases(run).link(path.parents[1].name, path.name, version)} again"
        place = version_folder(run / CATALOGUES / path.name, version).resolve()
    if path.is_symlink() and place is None:
        found = f"expected a folder, found a link to {path.readlink()}"
        report.add("wrong", path, found, f"delete it; {COPY}; a release of a run is verified where it was published")
    elif path.is_symlink() and path.resolve() != place:
        report.add("wrong", path, f"expected a link to version {version}, found one to {path.readlink()}", lost)
    elif not path.is_dir():
        mend = "restore the version from a copy" if path.is_symlink() else lost
        report.add("missing", path, f"the release has version {version} of {path.name}", mend)
    else:
        return path.is_symlink() or path.resolve() == path.parents[1].resolve() / CATALOGUES / path.name
    return False


def _found(path: Path, patterns: Iterable[str]) -> Iterator[Path]:
    return (file for pattern in patterns for file in path.glob(pattern))


def _check_manifest(manifest: Path, report: Report) -> list[Path]:
    """Hold a manifest against its own checksum and the files it names against their digests; give these files."""
    try:
        files = {manifest.parent / name: sha256 for name, sha256 in read_checked(manifest)["files"].items()}
    except (StoreError, KeyError, AttributeError):
        report.add("corrupt", manifest, "it is not as it was written", f"delete it, {AGAIN}")
        return []
    for file, sha256 in files.items():
        mend = f"delete it and {manifest}, {AGAIN}"
        if not file.is_file():
            report.add("missing", file, f"{manifest} names it", mend)
        elif file_sha256(file) != sha256:
            report.add("corrupt", file, f"expected sha256 {sha256} as {manifest} says", mend)
    return list(files)
