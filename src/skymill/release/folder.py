"""The folder of releases: what stands there, which one is current, and who did what when.

::

    <run>/releases/<id>/manifest.json             what the release is, with a digest of each of its files
    <run>/releases/<id>/catalogues/<name>         symlink to a sealed version
    <run>/releases/<id>/{models,report,diff}/     copies of what is small
    <run>/releases/current                        symlink to the release to use, replaced by one rename
    <run>/releases/history.jsonl                  a line for everything that was done, chained by digests
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from skymill.compute.lock import group_lock
from skymill.config.run import NO_RELEASE, RELEASE_NAME
from skymill.release.history import read_history, write_history
from skymill.store import StoreError
from skymill.store.durable import make_folder, sweep, sync_folder
from skymill.store.forms import Count, Digest, FileBelow, FileName, Form, Version, read_document
from skymill.store.paths import STAGING, version_folder
from skymill.store.trouble import explained

RELEASES, CURRENT, HISTORY, MANIFEST, GATE, CATALOGUES = (
    "releases",
    "current",
    "history.jsonl",
    "manifest.json",
    "gate.json",
    "catalogues",
)
LOCK = ".lock"
FORMAT = 1
HAS = {"release", "previous", "catalogues", "files", "gate"}
NAME = re.compile(RELEASE_NAME)


class ReleaseError(ValueError):
    """A release cannot be made, or is not what it is taken for."""


class Kept(Form):
    """Whether a rule of the gate was kept."""

    rule: str
    catalogue: str
    limit: float
    found: float
    kept: bool


class Overridden(Form):
    """Who published although the gate refused, and why."""

    reason: str
    author: str


class Passed(Form):
    """How a release passed the gate."""

    kept: bool
    rules: list[Kept]
    override: Overridden | None


class Released(Form):
    """A catalogue of a release."""

    version: Version
    n_rows: Count
    n_tiles: Count
    kind: Literal["images"] | None = None


class ReleaseForm(Form):
    """The manifest of a release."""

    release: FileName
    previous: str | None
    catalogues: dict[FileName, Released]
    files: dict[FileBelow, Digest]
    gate: Passed


def read_release(folder: str | Path) -> dict[str, Any]:
    """Read what a release says of itself, wherever it stands, on a web server as well.

    Raises
    ------
    FileNotFoundError
        If it has no manifest.
    StoreError, FormatError
        If its manifest is not as it was written, or names what could lead out of its folder.
    """
    return read_document(f"{folder}/{MANIFEST}", ReleaseForm, kind="release", newest=FORMAT, has=HAS)


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
        if not NAME.fullmatch(name) or name in NO_RELEASE:
            raise ReleaseError(
                f"release '{name}': expected a name of up to 64 letters, digits, '.', '_' and '-' that begins with a "
                "letter or digit, like DR1"
            )
        return self.root / name

    def names(self) -> list[str]:
        """Name what was released, in the order of the names."""
        return sorted(path.parent.name for path in self.root.glob(f"*/{MANIFEST}") if not path.parent.is_symlink())

    def standing(self) -> list[str]:
        """Name what has a folder here, whole or not, in the order of the names."""
        return sorted(path.name for path in self.root.glob("[!.]*") if path.is_dir() and not path.is_symlink())

    def published(self) -> dict[str, str]:
        """Say when each release became the current one for the first time, in that order."""
        times: dict[str, str] = {}
        for line in self.history():
            if line["current"] is not None:
                times.setdefault(line["current"], line["time"])
        return times

    def link(self, name: str, catalogue: str, version: str) -> Path:
        """Give what the link of a catalogue in a release says: relative within the run's folder, else absolute.

        The folders of releases and of catalogues may be links to other disks.
        """
        run = self.run.resolve()
        target = version_folder(self.run / CATALOGUES / catalogue, version).resolve()
        place = self.root.resolve() / name / CATALOGUES
        if run in place.parents and run in target.parents:
            return Path(os.path.relpath(target, place))
        return target

    @property
    def current(self) -> str | None:
        """Name the release in use; None before the first."""
        link = self.root / CURRENT
        return str(link.readlink()) if link.is_symlink() else None

    @property
    def used(self) -> str | None:
        """Name the release in use; None before the first.

        Raises
        ------
        ReleaseError
            If `current` is lost, or leads to no release.
        """
        name = self.current
        if name not in self.names() and (name is not None or self.published()):
            raise ReleaseError(
                f"{self.root / CURRENT}: expected a link to a release, found {name or 'none'}; run `skymill release "
                f"rollback NAME`, NAME one of: {', '.join(self.names())}"
            )
        return name

    def read(self, name: str) -> dict[str, Any]:
        """Read what a release says of itself.

        Raises
        ------
        ReleaseError
            If there is no such release.
        StoreError, FormatError
            If its manifest is not as it was written.
        """
        folder = self.folder(name)
        try:
            manifest = read_release(folder)
        except FileNotFoundError:
            known = ", ".join(self.names()) or "none yet"
            raise ReleaseError(f"release '{name}': not found in {self.root}; there are: {known}") from None
        if manifest["release"] != name:
            raise StoreError(f"{folder}: expected the release {name}, found {manifest['release']}; restore its folder")
        return manifest

    def history(self) -> list[dict[str, Any]]:
        """Read what was done, oldest first.

        Raises
        ------
        StoreError
            If the history is not as it was written.
        """
        return read_history(self.root / HISTORY)

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Be the only one who changes anything here; sweep what a killed one left, and note what it did not.

        Raises
        ------
        GroupLockedError
            If somebody else is at it.
        StoreError
            If the history is not as it was written.
        TroubleError
            If the disk refuses: with what to do about it.
        """
        with explained(self.root, "writing"):
            make_folder(self.root)
        with group_lock(self.root / LOCK):
            with explained(self.root, "writing"):
                sweep(self.root / STAGING)
                (self.root / STAGING / CURRENT).unlink(missing_ok=True)  # a link cannot be locked
                self._settle()
            yield

    def _settle(self) -> None:
        """Note a change of `current` that its author did not live to note; a link that leads nowhere is none."""
        noted = next((line["current"] for line in reversed(self.history())), None)
        if noted != self.current and self.current in self.names():
            self.note("settled", was=noted)

    def point(self, name: str) -> None:
        """Make a release the current one: one rename, on the disk when this returns."""
        staging = self.root / STAGING
        make_folder(staging)
        link = staging / CURRENT
        link.symlink_to(name)
        link.replace(self.root / CURRENT)
        sync_folder(self.root)

    def note(self, action: str, **more: Any) -> None:
        """Add a line to the history."""
        line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "action": action, "current": self.current}
        write_history(self.root / HISTORY, [*self.history(), {**line, **more}])
