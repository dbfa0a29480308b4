"""Have quarantined tiles, and sources whose images could not be read, tried again: the manifests of their groups are
dropped, finished tiles stay in the pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from skymill.cli.operating.jobs import Workflow
from skymill.cli.operating.status import QuarantinedTile, read_counts
from skymill.compute import group_lock


def retries(workflow: Workflow) -> dict[Path, list[QuarantinedTile]]:
    """Find the manifests with tiles that failed in their own stage, or with sources that a model could not look at.

    What was lost through them follows by itself.

    Returns
    -------
    dict
        By manifest: the tiles.
    """
    found = {}
    for catalogue in workflow.chain.catalogues:
        for manifest in map(Path, workflow.manifests(catalogue)):
            if manifest.is_file():
                counts = read_counts(manifest)
                tiles = [*(tile for tile in counts.quarantined if tile.is_cause), *counts.unseen]
                if tiles:
                    found[manifest] = tiles
    return found


def drop(manifests: Mapping[Path, Sequence[QuarantinedTile]]) -> None:
    """Delete manifests, so that the next run of Snakemake has their groups' jobs do what is missing.

    Raises
    ------
    GroupLockedError
        If a job works on one of the groups.
    """
    for manifest in manifests:
        with group_lock(manifest.with_suffix(".lock")):
            manifest.unlink()
