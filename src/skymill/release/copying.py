"""A self-contained copy of a release to hand over: a folder, or one tar file, without a link in it."""

from __future__ import annotations

import calendar
import contextlib
import hashlib
import os
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from skymill.compute import at_work
from skymill.compute.progress import ProgressBar, ProgressLog, open_progress
from skymill.release.folder import CATALOGUES, MANIFEST, ReleaseError, Releases
from skymill.store import StoreError, file_sha256, open_catalogue
from skymill.store.durable import staged, staged_folder, sweep
from skymill.store.paths import version_file
from skymill.store.trouble import explained
from skymill.store.writer import EPOCH

TAR = ".tar"
BLOCK = 1 << 20
READ_ONLY = 0o444


@dataclass(frozen=True)
class Member:
    """A file of a copy.

    Attributes
    ----------
    name : str
        Its place in the copy.
    path : Path
        Where it is read.
    sha256 : str
        What the release's manifests say of it.
    n_bytes : int
    mend : str
        What to do if it is not as it was written.
    """

    name: str
    path: Path
    sha256: str
    n_bytes: int
    mend: str


def copy_release(run: str | Path, name: str, target: str | Path, *, tar: bool = False) -> Sequence[Member]:
    """Copy a release with all its tiles as files, each held against its digest on the way.

    The copy has its name when it is whole and on the disk; an error leaves nothing half-made behind.

    Parameters
    ----------
    run : Path
    name : str
        Of the release.
    target : Path
        A new folder, or a new file.
    tar : bool
        Write one uncompressed tar file, in which the release is a folder of its name; equal releases give equal bytes.
        Also where `target` ends in ``.tar``.

    Returns
    -------
    sequence of Member
        What was copied, in the order of the names.

    Raises
    ------
    ReleaseError
        If there is no such release, or something has the name of the copy.
    StoreError
        If a file of the release is missing or not as it was written.
    TroubleError
        If the disk is full or cannot be written.
    """
    releases, target = Releases(Path(run)), Path(target).absolute()
    releases.read(name)  # says what there is, where it is not there
    # `gc` needs the run for itself; where nobody here may write, nobody here deletes.
    with at_work(run) if os.access(run, os.W_OK) else contextlib.nullcontext():
        if target.exists() or releases.root.resolve() in target.resolve().parents:
            raise ReleaseError(f"{target}: expected a new name outside of {releases.root}; choose another")
        members = sorted(_members(releases, name), key=lambda member: member.name)
        staging = target.with_name(f".{target.name}.staging")
        sweep(staging)
        total = sum(member.n_bytes for member in members)
        try:
            with open_progress(f"copy of {name}", total, "bytes") as progress:
                if tar or target.suffix == TAR:
                    _write_tar(members, name, target, staging, progress)
                else:
                    _write_folder(members, target, staging, progress)
        finally:
            with contextlib.suppress(OSError):  # it was never made, or another copy of this name is being written
                staging.rmdir()
    return members


def _members(releases: Releases, name: str) -> Iterator[Member]:
    """List the files of a release, those of its versions in the place of the links to them."""
    folder, manifest = releases.folder(name), releases.read(name)
    yield _member(MANIFEST, folder / MANIFEST, name)
    for file, sha256 in manifest["files"].items():
        yield _member(file, folder / file, name, sha256)
    for each, told in manifest["catalogues"].items():
        catalogue = open_catalogue(folder / CATALOGUES / each)
        if catalogue.version != told["version"]:
            raise ReleaseError(
                f"release '{name}': {each} is of version {catalogue.version}, was {told['version']}; "
                f"run `skymill release verify {name}`"
            )
        place, below = Path(catalogue.location), f"{CATALOGUES}/{each}"
        yield _member(f"{below}/{MANIFEST}", place / MANIFEST, name)
        for file, sha256 in catalogue.files.items():
            yield _member(f"{below}/{file}", place / file, name, sha256)
        for tile, sha256 in zip(catalogue.places, catalogue.tiles["sha256"].tolist(), strict=True):
            file = version_file(tile)
            yield _member(f"{below}/{file}", place / file, name, sha256)


def _member(file: str, path: Path, release: str, sha256: str | None = None) -> Member:
    """Describe a file; a manifest, which holds its own checksum and was read a moment ago, has no digest elsewhere."""
    mend = f"run `skymill release verify {release}`, mend it as that says, and copy again"
    if not path.is_file():
        raise StoreError(f"{path.resolve()}: expected a file, found none; {mend}")
    return Member(file, path, sha256 or file_sha256(path), path.stat().st_size, mend)


def _write_folder(members: Sequence[Member], target: Path, staging: Path, progress: ProgressBar | ProgressLog) -> None:
    with staged_folder(target, staging=staging, exclusive=True) as folder:
        for member in members:
            path = folder / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            with _checked(member, progress) as source, path.open("xb") as file:
                shutil.copyfileobj(source, file, BLOCK)
            path.chmod(READ_ONLY)


def _write_tar(
    members: Sequence[Member], name: str, target: Path, staging: Path, progress: ProgressBar | ProgressLog
) -> None:
    with (
        staged(target, staging=staging) as file,
        tarfile.TarFile(fileobj=file, mode="w", format=tarfile.PAX_FORMAT, copybufsize=BLOCK) as archive,
    ):
        for member in members:
            entry = tarfile.TarInfo(f"{name}/{member.name}")
            entry.size, entry.mode, entry.mtime = member.n_bytes, READ_ONLY, calendar.timegm(EPOCH)
            with _checked(member, progress) as source:
                archive.addfile(entry, source)


class _Hashed:
    """A file that is hashed while it is read."""

    def __init__(self, file: BinaryIO, progress: ProgressBar | ProgressLog) -> None:
        self._file, self._progress = file, progress
        self._hasher = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Give the next bytes."""
        with explained(self._file.name, "reading"):
            content = self._file.read(size)
        self._hasher.update(content)
        self._progress.advance(len(content))
        return content

    @property
    def sha256(self) -> str:
        """The digest of what was read."""
        return self._hasher.hexdigest()


@contextlib.contextmanager
def _checked(member: Member, progress: ProgressBar | ProgressLog) -> Iterator[_Hashed]:
    """Give a file to be read to its end, and hold that against its digest."""
    with explained(member.path, "reading"):
        opened = member.path.open("rb")
    with opened as file:
        source = _Hashed(file, progress)
        yield source
    if source.sha256 != member.sha256:
        raise StoreError(
            f"{member.path.resolve()}: expected sha256 {member.sha256}, found {source.sha256}; nothing was copied: "
            f"{member.mend}"
        )
