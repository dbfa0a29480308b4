"""The folder of releases: what stands there, which one is current, and who did what when.

::

    <run>/releases/<id>/manifest.json             what the release is, with a digest of each of its files
    <run>/releases/<id>/catalogues/<name>         relative symlink to a sealed version
    <run>/releases/<id>/{models,report,diff}/     copies of what is small
    <run>/releases/current                        symlink to the release to use, replaced by one rename
    <run>/releases/history.jsonl                  a line for everything that was done; only ever appended to
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from skymill.compute.lock import group_lock
from skymill.store import StoreError
from skymill.store.document import from_document
from skymill.store.durable import make_folder, sweep, sync_folder
from skymill.store.paths import VERSIONS

RELEASES, CURRENT, HISTORY, MANIFEST, CATALOGUES, STAGING = (
    "releases",
    "current",
    "history.jsonl",
    "manifest.json",
    "catalogues",
    ".staging",
)
FORMAT = 1
HAS = {"release", "previous", "catalogues", "files", "gate"}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class ReleaseError(ValueError):
    """A release cannot be made, or is not what it is taken for."""


def own_files(folder: Path) -> list[Path]:
    """Give the files of a release, sorted, but not what its links lead to."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def version_link(catalogue: str, version: str) -> Path:
    """Give where the link of a catalogue leads: from releases/<id>/catalogues/ up to the run, down to the version."""
    return Path("../../..", CATALOGUES, catalogue, VERSIONS, version)


@dataclass(frozen=True)
class Releases:
    """The releases of a run.

    Attributes
    ----------
    run : Path
        The run's folder.
    """

    run: Path

    @property
    def root(self) -> Path:
        """The folder of releases."""
        return self.run / RELEASES

    def folder(self, name: str) -> Path:
        """Where a release stands.

        Raises
        ------
        ReleaseError
            If the name could be anything else than the name of a folder.
        """
        if not NAME.fullmatch(name) or name in (CURRENT, HISTORY):
            raise ReleaseError(
                f"release '{name}': expected a name of up to 64 letters, digits, '.', '_' and '-' that begins with a "
                "letter or digit, like DR1"
            )
        return self.root / name

    def names(self) -> list[str]:
        """Name what was released, in the order of the names."""
        return sorted(path.parent.name for path in self.root.glob(f"*/{MANIFEST}") if not path.parent.is_symlink())

    def expected(self) -> list[str]:
        """Name what has a folder here or was ever published: each should be whole."""
        folders = {path.name for path in self.root.glob("[!.]*") if path.is_dir() and not path.is_symlink()}
        return sorted(folders | {line["current"] for line in self.history() if line["action"] == "published"})

    @property
    def current(self) -> str | None:
        """Name the release in use; None before the first."""
        link = self.root / CURRENT
        return str(link.readlink()) if link.is_symlink() else None

    def read(self, name: str) -> dict[str, Any]:
        """Read what a release says of itself.

        Raises
        ------
        ReleaseError
            If there is no such release.
        StoreError, FormatError
            If its manifest is not as it was written.
        """
        path = self.folder(name) / MANIFEST
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            known = ", ".join(self.names()) or "none yet"
            raise ReleaseError(f"release '{name}': not found in {self.root}; there are: {known}") from None
        manifest = from_document(content, kind="release", where=path, newest=FORMAT, has=HAS)
        if manifest["release"] != name:
            raise StoreError(f"{path}: expected the release {name}, found {manifest['release']}; restore its folder")
        return manifest

    def history(self) -> list[dict[str, Any]]:
        """Read what was done, oldest first; a line that a power cut left unfinished is left out."""
        path = self.root / HISTORY
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Be the only one who changes anything here; sweep what a killed one left, and note what it did not.

        Raises
        ------
        GroupLockedError
            If somebody else is at it.
        """
        make_folder(self.root)
        with group_lock(self.root / ".lock"):
            sweep(self.root / STAGING)
            self._settle()
            yield

    def _settle(self) -> None:
        """Note a change of `current` that its author did not live to note."""
        noted = next((line["current"] for line in reversed(self.history())), None)
        if noted != self.current:
            self.note("settled", was=noted)

    def point(self, name: str) -> None:
        """Make a release the current one: one rename, on the disk when this returns."""
        staging = self.root / STAGING
        make_folder(staging)
        link = staging / CURRENT
        link.unlink(missing_ok=True)  # of one that was killed: there is only one committer
        link.symlink_to(name)
        link.replace(self.root / CURRENT)
        sync_folder(self.root)

    def note(self, action: str, **more: Any) -> None:
        """Append a line to the history."""
        line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "action": action, "current": self.current}
        path = self.root / HISTORY
        torn = path.is_file() and path.read_bytes()[-1:] not in (b"", b"\n")
        with path.open("ab") as file:
            file.write((b"\n" if torn else b"") + json.dumps({**line, **more}, sort_keys=True).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.root)
