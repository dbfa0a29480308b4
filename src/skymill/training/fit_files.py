"""The files of a fit: written whole, the manifest last, and read with their digests checked."""

from __future__ import annotations

import csv
import io
import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from skymill.store.document import to_document
from skymill.store.durable import write_bytes
from skymill.store.keys import file_sha256, short
from skymill.training.arrays import TrainingSetError

FORMAT = 1
RESUME = ".resume"
PACKAGES = ("skymill", "numpy", "scikit-learn", "catboost", "torch", "lightning")


class Saves(Protocol):
    """A fitted model."""

    def save(self, folder: Path) -> list[str]:
        """Write the model below `folder` and give the names of the files."""


def write_fit(folder: Path, model: Saves, files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> None:
    """Write the model and what is told of it; the manifest, which names every file's digest, comes last."""
    names = model.save(folder)
    for name, content in files.items():
        write_bytes(folder / name, content)
    digests = {name: file_sha256(folder / name) for name in sorted([*names, *files])}
    write_bytes(folder / "manifest.json", to_document({**manifest, "files": digests}))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a finished fit, and hold its files against it.

    Raises
    ------
    FileNotFoundError
        If the folder holds no manifest.
    TrainingSetError
        If a file is missing or its digest is not the manifest's.
    """
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    for name, expected in manifest["files"].items():
        found = file_sha256(folder / name) if (folder / name).exists() else "no file"
        if found != expected:
            raise TrainingSetError(
                f"{folder / name}: expected SHA-256 {short(expected)}, found {short(found)}; fit the model again"
            )
    return manifest


def versions() -> dict[str, str]:
    """Give the versions of what makes a fit."""
    return {"python": platform.python_version()} | {package: version(package) for package in PACKAGES}


def as_csv(history: list[dict[str, float]]) -> bytes:
    """Give the content of `history.csv`."""
    text = io.StringIO()
    columns = list(history[0]) if history else ["epoch", "train_loss", "validation_log_loss"]
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue().encode()


def as_json(content: Mapping[str, Any]) -> bytes:
    """Give the content of a JSON file that people read too."""
    return (json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
