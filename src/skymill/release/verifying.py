"""Verification of a whole run: its catalogues, and the training sets, fits and models they come from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from skymill import store
from skymill.release.folder import CATALOGUES, MANIFEST, ReleaseError, Releases, own_files, version_link
from skymill.store import Report, StoreError, file_sha256, short
from skymill.store.document import to_document

MANIFESTS = ("training/set.json", "training/*/*/manifest.json", "models/*/manifest.json")
NAMED_BY_CONTENT = ("training/sets/*.parquet", "models/*/*.onnx")
AGAIN = "then run `snakemake --cores all`: the same comes back"


def verify(path: str | Path) -> Report:
    """Recompute every digest below a folder and report what is missing, changed or too much.

    Parameters
    ----------
    path : Path
        A run's folder, a catalogue, or a sealed version.

    Returns
    -------
    Report

    Raises
    ------
    FileNotFoundError
        If there is nothing to verify.
    """
    path = Path(path)
    report = store.verify(path)
    read = set(_found(path, NAMED_BY_CONTENT))
    for file in sorted(read):
        digest = short(file_sha256(file))
        if digest != file.stem:
            report.add("corrupt", file, f"its content has the digest {digest}", f"delete it, {AGAIN}")
    for manifest in sorted(_found(path, MANIFESTS)):
        read |= {manifest, *_check_manifest(manifest, report)}
    report.n_files = len(read)
    for name in Releases(path).expected():
        check_release(Releases(path), name, report)
    return report


def verify_release(run: str | Path, name: str) -> Report:
    """Recompute every digest of one release: its own files, and the tiles of its versions.

    Raises
    ------
    ReleaseError
        If there is no such release.
    """
    releases = Releases(Path(run))
    folder, report = releases.folder(name), Report()
    if not folder.is_dir():
        releases.read(name)  # says what there is
    manifest = check_release(releases, name, report)
    for each in manifest["catalogues"] if manifest else ():
        version = folder / CATALOGUES / each
        if (version / MANIFEST).is_file():
            found = store.verify(version.resolve())
            report.problems += found.problems
            report.n_versions, report.n_tiles = report.n_versions + found.n_versions, report.n_tiles + found.n_tiles
            report.n_bytes += found.n_bytes
    return report


def check_release(releases: Releases, name: str, report: Report) -> dict[str, Any] | None:
    """Hold a release against its manifest, but do not follow it into its versions; give the manifest if it is whole."""
    folder = releases.folder(name)
    mend = f"restore it from a copy of the release, or publish the same versions under another name than {name}"
    try:
        manifest = releases.read(name)
    except (StoreError, ReleaseError) as error:
        report.add("corrupt", folder / MANIFEST, str(error), mend)
        return None
    there = {str(path.relative_to(folder)): path for path in own_files(folder)}
    for file, sha256 in manifest["files"].items():
        path = there.pop(file, None)
        if path is None:
            report.add("missing", folder / file, f"release {name} has it", mend)
        elif file_sha256(path) != sha256:
            report.add("corrupt", path, f"expected sha256 {sha256}", mend)
    report.n_files += len(manifest["files"])
    report.extra.extend(path for file, path in there.items() if file != MANIFEST)
    links = {path.name: path for path in (folder / CATALOGUES).glob("*")}
    for each, told in manifest["catalogues"].items():
        _check_link(folder / CATALOGUES / each, each, told["version"], report)
        links.pop(each, None)
    report.extra.extend(links.values())
    return manifest


def _check_link(link: Path, catalogue: str, version: str, report: Report) -> None:
    """Check that a release has a version: as a link to its place in the run, or as a copy."""
    target = version_link(catalogue, version)
    if link.is_symlink() and link.readlink() != target:
        found = f"expected a link to {target}, found one to {link.readlink()}"
        report.add("wrong", link, found, f"make it a link to {target} again")
    elif not (link / MANIFEST).is_file():
        mend = f"make it a link to {target} again" if not link.is_symlink() else "restore the version from a copy"
        report.add("missing", link, f"the release has version {version} of {catalogue}", mend)
    else:
        found = json.loads((link / MANIFEST).read_text()).get("version")
        if found != version:
            report.add("wrong", link, f"expected version {version}, found {found}", "restore the version from a copy")


def _found(path: Path, patterns: Iterable[str]) -> Iterator[Path]:
    return (file for pattern in patterns for file in path.glob(pattern))


def _check_manifest(manifest: Path, report: Report) -> list[Path]:
    """Hold a manifest against its own checksum and the files it names against their digests; give these files."""
    content = manifest.read_bytes()
    try:
        told = json.loads(content)
        files = {manifest.parent / name: sha256 for name, sha256 in told["files"].items()}
        whole = to_document(told) == content
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        report.add("corrupt", manifest, "it is not as it was written", f"delete it, {AGAIN}")
        return []
    for file, sha256 in files.items():
        mend = f"delete it and {manifest}, {AGAIN}"
        if not file.is_file():
            report.add("missing", file, f"{manifest} names it", mend)
        elif file_sha256(file) != sha256:
            report.add("corrupt", file, f"expected sha256 {sha256} as {manifest} says", mend)
    return list(files)
