"""One group of a catalogue, from what stands in the pool to the manifest: the course that all stages share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skymill.compute.lock import group_lock
from skymill.compute.runner import run_tasks
from skymill.compute.tasks import Task
from skymill.sky import AnyTile
from skymill.store import GroupManifest, Pool, group_file
from skymill.store.manifest import AnyEntry, AnyQuarantined, quarantined_of

if TYPE_CHECKING:
    from skymill.config import ComputeSettings

logger = logging.getLogger(__name__)

SHOWN_FAILURES = 10


class TilesFailedError(RuntimeError):
    """More tiles of a group failed than the settings allow."""


@dataclass(frozen=True)
class TileTask:
    """A tile to make.

    Attributes
    ----------
    tile : Tile or ImageTile
    n_rows : int
        Sources that it is to hold.
    payload : object
        What the stage's function is called with; picklable and small.
    key : str
        Its key; empty where that is known only when its rows have been read, so that the function has to look itself
        whether the tile stands in the pool.
    """

    tile: AnyTile
    n_rows: int
    payload: Any
    key: str = ""


@dataclass(frozen=True)
class TileGroup:
    """A group of tiles to make.

    Attributes
    ----------
    catalogue : Path
        Folder of the catalogue, named like it.
    settings, name : str
        Digest of what the catalogue's tiles share, name of the group.
    describe : str
        Words for the progress display and the messages.
    inputs : mapping
        Digests of what the group is made from.
    tasks : sequence of TileTask
    lost : sequence of quarantined tiles
        Tiles that cannot be made because they failed in an earlier stage; their sources stay accounted for.
    """

    catalogue: Path
    settings: str
    name: str
    describe: str
    inputs: Mapping[str, str]
    tasks: Sequence[TileTask]
    lost: Sequence[AnyQuarantined] = field(default=())

    @property
    def manifest(self) -> Path:
        """The group's manifest."""
        return group_file(self.catalogue, self.settings, self.name)


def run_group(
    group: TileGroup,
    prepare: Callable[[Sequence[TileTask]], Callable[[Any], Any]],
    *,
    workers: int,
    settings: ComputeSettings,
    error: type[TilesFailedError] = TilesFailedError,
    settle: Callable[[dict[str, Any]], Mapping[str, AnyEntry]] = dict,
) -> Path:
    """Make the tiles of a group that do not stand in the pool, and write its manifest.

    Parameters
    ----------
    group : TileGroup
    prepare : callable
        Called with the tasks to do, while the group is locked and before a cluster is started; raises where none can
        succeed, else gives the function that makes a tile of a payload.
    workers : int
        Processes, one thread each.
    settings : ComputeSettings
    error : type
        Raised if too many tiles fail.
    settle : callable, optional
        Called with what the function returned, by name of the tile, to keep what else there is and give the entries;
        default: the function returns entries.

    Returns
    -------
    Path
        The manifest.

    Raises
    ------
    TilesFailedError
        As `error`: more than `settings.max_quarantined_tiles` tiles failed. No manifest is then written; what succeeded
        stays in the pool.
    GroupLockedError
        If another run works on the group.
    """
    path = group.manifest
    with group_lock(path.with_suffix(".lock")):
        pool = Pool(group.catalogue)
        pool.sweep()
        done = _finished(group.tasks, pool, workers)
        todo = [task for task in group.tasks if task.tile not in done]
        logger.info("%s: %d of %d tiles to make", group.describe, len(todo), len(group.tasks))
        outcome = run_tasks(
            prepare(todo),
            [Task(str(task.tile), task.n_rows, task.payload) for task in todo],
            workers=workers,
            settings=settings,
            describe=group.describe,
        )
        if len(outcome.failures) > settings.max_quarantined_tiles:
            kept = len(done) + len(outcome.results)
            raise error(_too_many(outcome.failures, settings.max_quarantined_tiles, group.describe, kept))
        failed = [
            quarantined_of(task.tile, task.key, outcome.failures[str(task.tile)], task.n_rows)
            for task in todo
            if str(task.tile) in outcome.failures
        ]
        manifest = GroupManifest(
            catalogue=group.catalogue.name,
            settings=group.settings,
            group=group.name,
            inputs=group.inputs,
            tiles=(*done.values(), *settle(outcome.results).values()),
            quarantined=(*failed, *group.lost),
        )
        manifest.accounting.check(group.describe)
        manifest.write(path)
    return path


def lost_before(entries: Iterable[AnyQuarantined], word: str) -> list[AnyQuarantined]:
    """Carry on tiles that an earlier stage could not make; `word` says what they lack."""
    return [quarantined_of(entry.tile, entry.key, f"no {word}: {entry.reason}", entry.n_in) for entry in entries]


def _finished(tasks: Iterable[TileTask], pool: Pool, readers: int) -> dict[AnyTile, AnyEntry]:
    """Find the tiles that stand whole in the pool."""
    known = [task for task in tasks if task.key]
    with ThreadPoolExecutor(readers) as threads:
        entries = threads.map(lambda task: pool.entry(task.tile, task.key), known)
        return {task.tile: entry for task, entry in zip(known, entries, strict=True) if entry is not None}


def _too_many(failures: Mapping[str, str], allowed: int, describe: str, kept: int) -> str:
    shown = [f"  {name}: {reason}" for name, reason in list(failures.items())[:SHOWN_FAILURES]]
    more = len(failures) - len(shown)
    return (
        f"{describe}: {len(failures)} tiles failed, compute.max_quarantined_tiles allows {allowed}:\n"
        + "\n".join(shown)
        + (f"\n  and {more} more" if more else "")
        + f"\nNo manifest was written; {kept} finished tiles are kept. Mend the cause and run again, or raise the "
        "limit to quarantine them"
    )
