"""The entry of rule `features_compute`: the features of all tiles of a group."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from skymill.compute import TileGroup, TilesFailedError, TileTask, lost_before, run_group
from skymill.config import ComputeSettings, FeatureSettings, SurveyConfig
from skymill.features.plan import ingredients, make_recipe, settings_of
from skymill.features.tile import CATALOGUE, FeatureRun, TileJob, make_tile
from skymill.store import GroupManifest, Pool, file_sha256


class FeatureError(TilesFailedError):
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
    jobs = [
        (TileJob(entry.tile, str(source_pool.path(entry.tile, entry.key)), entry.sha256), entry.n_rows)
        for entry in sources.tiles
    ]
    group = TileGroup(
        catalogue=Path(shared.catalogue),
        settings=settings_of(recipe),
        name=sources.group,
        describe=f"features {sources.group}",
        inputs={"sources": file_sha256(source_manifest)},
        tasks=[TileTask(job.tile, n_rows, job, shared.key(job)) for job, n_rows in jobs],
        lost=lost_before(sources.quarantined, "sources"),
    )
    make = partial(make_tile, run=shared)
    return run_group(group, lambda todo: make, workers=workers, settings=compute, error=FeatureError)
