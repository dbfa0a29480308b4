"""Pruning: what of a catalogue nothing keeps, and deleting it in an order that leaves whole whatever has a name."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from skymill.store.durable import discard, remove_empty_folders, sync_folder
from skymill.store.errors import StoreError
from skymill.store.keys import file_sha256
from skymill.store.kinds import kind_of
from skymill.store.manifest import GroupManifest
from skymill.store.paths import CURRENT, GROUPS, STAGING, SUFFIX, TILE_TABLE, TILES, VERSIONS, pool_file
from skymill.store.tables import read_tiles
from skymill.store.trouble import explained
from skymill.store.verifying import read_pointer, read_version

YOUNG = "younger than the limit"
"""Why something stays that nothing names."""
MANIFEST_SUFFIX = ".json"


@dataclass(frozen=True)
class Item:
    """A file or a folder that goes, and the bytes in it."""

    path: Path
    n_bytes: int


@dataclass(frozen=True)
class Share:
    """Things of one kind: how many stay, and those that go."""

    kept: int = 0
    deleted: tuple[Item, ...] = ()

    @property
    def n_bytes(self) -> int:
        """Bytes of what goes."""
        return sum(item.n_bytes for item in self.deleted)

    def as_dict(self) -> dict[str, Any]:
        """Give plain values for JSON."""
        deleted = [{"path": str(item.path), "n_bytes": item.n_bytes} for item in self.deleted]
        return {"kept": self.kept, "deleted": deleted, "n_bytes": self.n_bytes}


NOTHING = Share()


class Shares:
    """What stays and what goes, of several kinds; `KINDS` names the attributes that hold them."""

    KINDS: ClassVar[tuple[str, ...]] = ()
    why: Mapping[str, tuple[str, ...]]
    refused: str

    @property
    def n_bytes(self) -> int:
        """Bytes of what goes."""
        return sum(getattr(self, kind).n_bytes for kind in self.KINDS)

    def as_dict(self) -> dict[str, Any]:
        """Give plain values for JSON."""
        shares = {kind: getattr(self, kind).as_dict() for kind in self.KINDS}
        return {"refused": self.refused, "why": {name: list(why) for name, why in self.why.items()}, **shares}


@dataclass(frozen=True)
class Pruning(Shares):
    """What of a catalogue stays and what goes.

    Attributes
    ----------
    root : Path
        The catalogue's folder.
    why : mapping
        Of each version that stays: who keeps it.
    versions, groups, tiles : Share
        `groups` are manifests and the files beside them.
    refused : str
        Why nothing of it is deleted: something that keeps tiles cannot be read. Else empty.
    """

    KINDS = ("versions", "groups", "tiles")
    root: Path
    why: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    versions: Share = NOTHING
    groups: Share = NOTHING
    tiles: Share = NOTHING
    refused: str = ""


def find_unnamed(
    root: Path, *, released: Mapping[str, Collection[str]], asked: Collection[str] | None, before: float
) -> Pruning:
    """Find what of a catalogue is named neither from outside, nor by `current.json`, nor by what these name.

    Parameters
    ----------
    root : Path
        The catalogue's folder.
    released : mapping
        Versions that stay, and who keeps each.
    asked : collection of str or None
        Group manifests that stay, as paths below `root`; None: all.
    before : float
        Unix time; what was written to later stays, with all it names.

    Returns
    -------
    Pruning
    """
    try:
        why, versions = _sort_versions(root, released, before)
        manifests, groups = _sort_groups(root, asked, before)
        named = {tile for version in why for tile in _version_tiles(root / VERSIONS / version)}
        named |= {tile for manifest in manifests for tile in _group_tiles(root / manifest)}
    except (StoreError, FileNotFoundError) as error:
        return Pruning(root, refused=f"{error}; nothing of this catalogue is deleted, see `skymill verify {root}`")
    return Pruning(root, why, versions, groups, _sort_tiles(root, named, before))


def prune(found: Pruning, *, on_tile: Callable[[], None] = lambda: None) -> None:
    """Delete what was found to be unnamed: versions, then group manifests, then tiles, then empty folders.

    At every moment all that versions and group manifests name is there; of one who is killed, the next call finishes
    the work. Nobody may write to the catalogue meanwhile.

    Raises
    ------
    TroubleError
        If the disk refuses: with what to do about it.
    """
    if found.refused:
        return
    for version in found.versions.deleted:
        discard(version.path, staging=found.root / STAGING)
    files = [item.path for item in found.groups.deleted]
    with explained(found.root, "deleting"):
        _unlink(path for path in files if path.suffix == MANIFEST_SUFFIX)
        _unlink(path for path in files if path.suffix != MANIFEST_SUFFIX)
        for item in found.tiles.deleted:
            item.path.unlink()
            on_tile()
        for name in (GROUPS, TILES):
            remove_empty_folders(found.root / name)


def _unlink(paths: Iterable[Path]) -> None:
    """Delete files; when this returns, they are gone from the disk too."""
    folders = set()
    for path in paths:
        path.unlink()
        folders.add(path.parent)
    for folder in folders:
        sync_folder(folder)


def split_by_age(paths: Iterable[Path], before: float) -> tuple[list[Path], tuple[Item, ...]]:
    """Tell files and folders that were written to after a time from those that were not.

    A folder is as young as the youngest file in it. Bytes are those of files, as `ls -l` gives them.
    """
    young, old = [], []
    for path in paths:
        states = [path.lstat()]
        if stat.S_ISDIR(states[0].st_mode):
            states += [
                os.lstat(os.path.join(folder, name))  # noqa: PTH118 (1e5 of them)
                for folder, _, names in os.walk(path)
                for name in names
            ]
        if max(state.st_mtime for state in states) > before:
            young.append(path)
        else:
            old.append(Item(path, sum(state.st_size for state in states if not stat.S_ISDIR(state.st_mode))))
    return young, tuple(old)


def _sort_versions(
    root: Path, released: Mapping[str, Collection[str]], before: float
) -> tuple[dict[str, tuple[str, ...]], Share]:
    """Tell versions that stay, and why, from those that go."""
    why = {version: list(reasons) for version, reasons in released.items()}
    standing = sorted(path for path in (root / VERSIONS).glob("*") if path.is_dir())
    if (root / CURRENT).exists():
        why.setdefault(read_pointer(root)["version"], []).append("current")
    elif standing:
        raise StoreError(
            f"{root / CURRENT}: expected it, for {len(standing)} versions stand here, found none; run "
            "`snakemake --cores all` to have the catalogue sealed"
        )
    young, garbage = split_by_age((folder for folder in standing if folder.name not in why), before)
    why |= {folder.name: [YOUNG] for folder in young}
    return {version: tuple(reasons) for version, reasons in why.items()}, Share(len(why), garbage)


def _sort_groups(root: Path, asked: Collection[str] | None, before: float) -> tuple[list[str], Share]:
    """Tell group manifests that stay, as paths below `root`, from the files of those that go."""
    files = sorted(path for path in (root / GROUPS).glob("*/*") if path.is_file())
    keep = {_manifest_of(path, root) for path in files} if asked is None else set(asked)
    if (root / CURRENT).exists():
        keep |= set(read_pointer(root)["groups"])
    young, old = split_by_age((path for path in files if _manifest_of(path, root) not in keep), before)
    keep |= {_manifest_of(path, root) for path in young}
    garbage = tuple(item for item in old if _manifest_of(item.path, root) not in keep)
    kept = sorted(manifest for manifest in keep if (root / manifest).is_file())
    return kept, Share(len(files) - len(garbage), garbage)


def _manifest_of(path: Path, root: Path) -> str:
    """Give the manifest that a file belongs to: beside it stand its lock and, of the sources, the rows put aside."""
    return str(path.with_name(path.name.partition(".")[0] + MANIFEST_SUFFIX).relative_to(root))


def _sort_tiles(root: Path, named: Collection[str], before: float) -> Share:
    """Tell tiles that are named, or young, from those that go."""
    tiles = list(_pool(root))
    _, garbage = split_by_age((root / tile for tile in tiles if tile not in named), before)
    return Share(len(tiles) - len(garbage), garbage)


def _pool(root: Path) -> Iterator[str]:
    """Give every tile of the pool, as a path below the catalogue's folder."""
    top = str(root / TILES)
    for folder, _, names in os.walk(top):
        yield from (f"{TILES}{folder[len(top) :]}/{name}" for name in sorted(names) if name.endswith(SUFFIX))


def _version_tiles(folder: Path) -> Iterator[str]:
    """Give the tiles of a sealed version, as paths below the catalogue's folder."""
    path = folder / TILE_TABLE
    manifest = read_version(folder)
    if file_sha256(path) != manifest["files"][TILE_TABLE]:
        raise StoreError(f"{path}: expected the table that was sealed, found another")
    kind = kind_of(manifest["content"])
    table = read_tiles(path, manifest["content"]["n_tiles"], where=path, kind=kind)
    names = (*(name for name, _ in kind.place), "key")
    for *place, key in zip(*(table[name].to_pylist() for name in names), strict=True):
        yield pool_file(kind.tile(*place), key)


def _group_tiles(manifest: Path) -> Iterator[str]:
    """Give the tiles of a group, as paths below the catalogue's folder."""
    return (pool_file(entry.tile, entry.key) for entry in GroupManifest.read(manifest).tiles)
