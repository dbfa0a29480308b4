"""Verification of a whole run: its catalogues, and the training sets, fits and models they come from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from skymill import store
from skymill.store import Report, file_sha256, short
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
    return report


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
