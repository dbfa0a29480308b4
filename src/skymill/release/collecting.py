"""Garbage collection: deleting what no release, no current version and no present setting of a run needs."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from skymill.compute import alone
from skymill.compute.progress import open_progress
from skymill.release.folder import CATALOGUES, RELEASES, ReleaseError, Releases
from skymill.release.learned import Fit, Learned, find_unused, forget
from skymill.store import StoreError
from skymill.store.durable import stale, sweep
from skymill.store.paths import STAGING
from skymill.store.pruning import Pruning, Share, find_unnamed, prune, split_by_age

DAY_S = 86_400.0
STAGING_DEPTH = 4
"""Folders between a run's and the deepest `.staging`, that beside group manifests."""


@dataclass(frozen=True)
class Asked:
    """What the present configuration asks for.

    Attributes
    ----------
    groups : mapping
        Of each catalogue its group manifests, as paths below the catalogue's folder; None where that cannot be told
        yet, and then all stay.
    fits : collection of (str, str), or None
        Models and their fits; None likewise.
    """

    groups: Mapping[str, Collection[str] | None]
    fits: Collection[Fit] | None


@dataclass(frozen=True)
class Garbage:
    """What of a run stays and what goes.

    Attributes
    ----------
    catalogues : mapping
        By name.
    learned : Learned
        Training sets, fits and ONNX files.
    leftovers : Share
        Of killed writers.
    """

    catalogues: Mapping[str, Pruning]
    learned: Learned
    leftovers: Share

    @property
    def n_bytes(self) -> int:
        """Bytes of what goes."""
        parts: list[Pruning | Learned | Share] = [*self.catalogues.values(), self.learned, self.leftovers]
        return sum(part.n_bytes for part in parts)

    @property
    def refused(self) -> list[str]:
        """Why parts of the run are left as they are."""
        parts: list[Pruning | Learned] = [*self.catalogues.values(), self.learned]
        return [part.refused for part in parts if part.refused]

    def as_dict(self) -> dict[str, Any]:
        """Give plain values for JSON."""
        return {
            "n_bytes": self.n_bytes,
            "catalogues": {name: found.as_dict() for name, found in self.catalogues.items()},
            "learned": self.learned.as_dict(),
            "leftovers": self.leftovers.as_dict(),
        }


def collect_garbage(run: str | Path, asked: Asked, *, older_than_days: float = 1.0) -> Garbage:
    """Delete what `find_garbage` finds, while no job of the run is at work and nobody publishes.

    At every moment all that is named by what still has a name is there, so that one may be killed; the next call
    finishes the work.

    Raises
    ------
    GroupLockedError
        If a job of the run is at work, or somebody publishes, goes back to a release or does the same.
    ReleaseError
        If it cannot be told what a release keeps.
    TroubleError
        If the disk refuses: with what to do about it.
    """
    run = Path(run)
    if not run.is_dir():
        raise ReleaseError(f"{run}: expected the folder of a run, found none; see `output` of the run's file")
    with alone(run), Releases(run).committing():  # jobs hold the first when they ask for the second
        found = find_garbage(run, asked, older_than_days=older_than_days)
        for staging in sorted({item.path.parent for item in found.leftovers.deleted}):
            sweep(staging)
        n_tiles = sum(len(pruning.tiles.deleted) for pruning in found.catalogues.values())
        with open_progress("deleting", n_tiles, "tiles") as progress:
            for pruning in found.catalogues.values():
                prune(pruning, on_tile=lambda: progress.advance(1))
        forget(run, found.learned)
    return found


def find_garbage(run: str | Path, asked: Asked, *, older_than_days: float = 1.0) -> Garbage:
    """Find what of a run is named by no release, no current version, not by `asked`, nor by what these name.

    What releases and manifests name is looked up in them; no tile is opened, no lock is taken, nothing is changed.

    Parameters
    ----------
    run : Path
        The run's folder.
    asked : Asked
    older_than_days : float
        What was written to since stays, with all it names: an interrupted run takes its finished tiles over.

    Returns
    -------
    Garbage

    Raises
    ------
    ReleaseError
        If it cannot be told what a release keeps.
    """
    run, before = Path(run), time.time() - older_than_days * DAY_S
    manifests = _release_manifests(run)
    released: dict[str, dict[str, list[str]]] = {}
    for name, manifest in manifests.items():
        for catalogue, told in manifest["catalogues"].items():
            released.setdefault(catalogue, {}).setdefault(told["version"], []).append(f"release {name}")
    roots = sorted(path for path in (run / CATALOGUES).glob("*") if path.is_dir())
    catalogues = {
        root.name: find_unnamed(
            root, released=released.get(root.name, {}), asked=asked.groups.get(root.name, ()), before=before
        )
        for root in roots
    }
    learned = find_unused(run, asked.fits, list(manifests), before)
    elsewhere = {found.root for found in catalogues.values() if found.refused}
    elsewhere |= {item.path for item in learned.fits.deleted}
    return Garbage(catalogues, learned, _find_leftovers(run, elsewhere))


def _release_manifests(run: Path) -> dict[str, dict[str, Any]]:
    """Read what every release says of itself."""
    releases = Releases(run)
    try:
        return {name: releases.read(name) for name in sorted({*releases.standing(), *releases.published()})}
    except (StoreError, ReleaseError) as error:
        raise ReleaseError(f"{error}; nothing is deleted while it cannot be told what a release keeps") from error


def _find_leftovers(run: Path, elsewhere: Collection[Path]) -> Share:
    """Find what killed writers left, but not below some folders, nor in that of releases: `committing` sweeps it."""
    stagings = {path for depth in range(STAGING_DEPTH + 1) for path in run.glob(f"{'*/' * depth}{STAGING}")}
    below = {run / RELEASES, *elsewhere}
    paths = (path for staging in sorted(stagings) if below.isdisjoint(staging.parents) for path in stale(staging))
    return Share(0, tuple(item for path in paths for item in split_by_age([path], inf)[1]))
