"""The entry of rule `features_compute`: the features of all tiles of a group."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

from skymill.compute import Task, group_lock, run_tasks
from skymill.config import ComputeSettings, FeatureSettings, SurveyConfig
from skymill.features.plan import ingredients, make_recipe, settings_of
from skymill.features.tile import CATALOGUE, FeatureRun, TileJob, finished_entry, make_tile
from skymill.store import GroupManifest, Pool, Quarantined, TileEntry, file_sha256, group_file

logger = logging.getLogger(__name__)
SHOWN_FAILURES = 10


class FeatureError(RuntimeError):
    """More tiles of a group failed than the settings allow."""


def compute(
    source_manifest: str | Path,
    *,
    output: str | Path,
    survey: SurveyConfig,
    settings: FeatureSettings,
    compute: ComputeSettings,
    workers: int,
) -> Path:
    """Compute the features of a group of source tiles.

    Tiles whose key stands in the pool are not computed again; a group of which all stand is finished without a cluster.

    Parameters
    ----------
    source_manifest : Path
        The group's manifest in the source catalogue.
    output : Path
        Folder of everything the run writes.
    survey, settings, compute : SurveyConfig, FeatureSettings, ComputeSettings
    workers : int
        Processes, one thread each.

    Returns
    -------
    Path
        The group's manifest, ``catalogues/features/groups/{settings12}/{group}.json``.

    Raises
    ------
    FeatureError
        If more than `compute.max_quarantined_tiles` tiles failed. No manifest is then written; what
        succeeded stays in the pool.
    ValueError
        If the settings do not fit the survey.
    """
    sources = GroupManifest.read(source_manifest)
    source_pool = Pool(Path(source_manifest).parents[2])
    recipe = make_recipe(survey, settings)
    shared = FeatureRun(str(Path(output) / "catalogues" / CATALOGUE), recipe, ingredients(recipe))
    settings12 = settings_of(recipe)
    path = group_file(Path(shared.catalogue), settings12, sources.group)
    jobs = {
        str(entry.tile): TileJob(entry.tile, str(source_pool.path(entry.tile, entry.key)), entry.sha256)
        for entry in sources.tiles
    }
    rows = {str(entry.tile): entry.n_rows for entry in sources.tiles}
    with group_lock(path.with_suffix(".lock")):
        Pool(shared.catalogue).sweep()
        entries: dict[str, TileEntry] = {
            name: entry for name, job in jobs.items() if (entry := finished_entry(job, shared)) is not None
        }
        todo = [name for name in jobs if name not in entries]
        logger.info("features, group %s: %d of %d tiles to compute", sources.group, len(todo), len(jobs))
        outcome = run_tasks(
            partial(make_tile, run=shared),
            [Task(name, rows[name], jobs[name]) for name in todo],
            workers=workers,
            settings=compute,
            describe=f"features {sources.group}",
        )
        entries.update(outcome.results)
        _check_failures(outcome.failures, compute, path)
        failed = [
            Quarantined(*jobs[name].tile, shared.key(jobs[name]), reason, rows[name])
            for name, reason in outcome.failures.items()
        ]
        without_sources = [
            Quarantined(*entry.tile, entry.key, f"no sources: {entry.reason}", entry.n_in)
            for entry in sources.quarantined
        ]
        manifest = GroupManifest(
            catalogue=CATALOGUE,
            settings=settings12,
            group=sources.group,
            inputs={"sources": file_sha256(source_manifest)},
            tiles=tuple(entries.values()),
            quarantined=(*failed, *without_sources),
        )
        manifest.accounting.check(f"features, group {sources.group}")
        manifest.write(path)
    return path


def _check_failures(failures: dict[str, str], compute: ComputeSettings, path: Path) -> None:
    if len(failures) <= compute.max_quarantined_tiles:
        return
    shown = "\n".join(f"  {name}: {reason}" for name, reason in list(failures.items())[:SHOWN_FAILURES])
    raise FeatureError(
        f"{path}: {len(failures)} tiles failed, compute.max_quarantined_tiles allows "
        f"{compute.max_quarantined_tiles}:\n{shown}\n"
        "mend the cause and run again (what succeeded is kept), or raise the limit to quarantine them"
    )
