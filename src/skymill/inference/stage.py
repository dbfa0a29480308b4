"""The entry of rule `inference_run`: a model over all feature tiles of a group."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

from skymill.compute import Outcome, Task, group_lock, run_tasks
from skymill.config import ComputeSettings
from skymill.config.run import InferenceSettings
from skymill.export.metadata import ModelSchema
from skymill.export.runtime import check_available
from skymill.inference.settings import algorithm, settings_digest
from skymill.inference.tiles import ModelRun, TileJob, classify_tile, feature_columns, finished_entry
from skymill.store import (
    GroupManifest,
    Pool,
    Quarantined,
    StoreError,
    TileEntry,
    file_sha256,
    group_file,
    open_tile,
)

logger = logging.getLogger(__name__)
SHOWN_FAILURES = 10


class InferenceError(RuntimeError):
    """More tiles of a group failed than the settings allow."""


def run(
    feature_manifest: str | Path,
    onnx: str | Path,
    *,
    output: str | Path,
    model: str,
    settings: InferenceSettings,
    compute: ComputeSettings,
    workers: int,
) -> Path:
    """Run a model over a group of the feature catalogue.

    Tiles whose key stands in the pool are not computed again; a group of which all stand needs no cluster.

    Parameters
    ----------
    feature_manifest : Path
        The group's manifest in the feature catalogue.
    onnx : Path
        ``models/{model}/{onnx12}.onnx``.
    output : Path
        Folder of everything the run writes.
    model : str
        Name of the model, and of its catalogue.
    settings, compute : InferenceSettings, ComputeSettings
    workers : int
        Processes, one thread each.

    Returns
    -------
    Path
        The group's manifest, ``catalogues/{model}/groups/{settings12}/{group}.json``.

    Raises
    ------
    MissingFeaturesError
        If the feature catalogue lacks features of the model; names them all.
    ProviderError
        If the execution provider is not there.
    InferenceError
        If more than `compute.max_quarantined_tiles` tiles failed. No manifest is then written; what succeeded stays in
        the pool, and the next run makes only the rest.
    """
    model_run = ModelRun(
        catalogue=str(Path(output) / "catalogues" / model),
        name=model,
        onnx=str(onnx),
        onnx_sha256=file_sha256(onnx),
        provider=settings.provider,
        block_rows=settings.block_rows,
        algorithm=algorithm(),
    )
    features = GroupManifest.read(feature_manifest)
    settings12 = settings_digest(model_run.onnx_sha256, settings)
    path = group_file(Path(model_run.catalogue), settings12, features.group)
    with group_lock(path.with_suffix(".lock")):
        jobs = _jobs(features, Pool(Path(feature_manifest).parents[2]), model_run)
        done = _finished(jobs, Pool(model_run.catalogue))
        todo = [job for job in jobs if job.tile not in done]
        logger.info("%s, group %s: %d of %d tiles to classify", model, features.group, len(todo), len(jobs))
        if todo and compute.scheduler == "local":
            check_available(settings.provider)
        _check_features(todo, model_run)
        outcome = run_tasks(
            partial(classify_tile, run=model_run),
            [Task(str(job.tile), job.n_rows, job) for job in todo],
            workers=workers,
            settings=compute,
            describe=f"inference {model} {features.group}",
        )
        _check_failures(outcome, compute, group=features.group, model=model)
        manifest = GroupManifest(
            catalogue=model,
            settings=settings12,
            group=features.group,
            inputs={"features": file_sha256(feature_manifest), "onnx": model_run.onnx_sha256},
            tiles=(*done.values(), *outcome.results.values()),
            quarantined=(*_failed(todo, outcome), *_without_features(features)),
        )
        manifest.accounting.check(f"inference {model}, group {features.group}")
        manifest.write(path)
    return path


def _jobs(features: GroupManifest, pool: Pool, model_run: ModelRun) -> list[TileJob]:
    return [
        TileJob(
            tile=entry.tile,
            path=str(pool.path(entry.tile, entry.key)),
            sha256=entry.sha256,
            n_rows=entry.n_rows,
            key=model_run.key(entry.sha256),
        )
        for entry in features.tiles
    ]


def _finished(jobs: list[TileJob], pool: Pool) -> dict[tuple[int, int], TileEntry]:
    """Find the tiles that stand in the pool."""
    pool.sweep()
    found = [(job, pool.find(job.tile, job.key)) for job in jobs]
    return {job.tile: finished_entry(job.tile, job.key, path) for job, path in found if path is not None}


def _check_features(jobs: list[TileJob], model_run: ModelRun) -> None:
    """Hold the model's inputs against the first tile that opens, before a cluster is started."""
    for job in jobs:
        try:
            source = open_tile(job.path)
        except (StoreError, OSError):
            continue  # its own task says what is wrong with it
        feature_columns(source, [column.name for column in ModelSchema.read(model_run.onnx).inputs])
        return


def _check_failures(outcome: Outcome, compute: ComputeSettings, *, group: str, model: str) -> None:
    if len(outcome.failures) > compute.max_quarantined_tiles:
        shown = [f"  {name}: {reason}" for name, reason in list(outcome.failures.items())[:SHOWN_FAILURES]]
        more = len(outcome.failures) - len(shown)
        raise InferenceError(
            f"model '{model}', group {group}: {len(outcome.failures)} tiles failed, "
            f"compute.max_quarantined_tiles allows {compute.max_quarantined_tiles}:\n"
            + "\n".join(shown)
            + (f"\n  and {more} more" if more else "")
            + f"\nNo manifest was written; {len(outcome.results)} finished tiles are kept. "
            "Mend the tiles or raise the limit, and run again"
        )


def _failed(jobs: list[TileJob], outcome: Outcome) -> list[Quarantined]:
    return [
        Quarantined(*job.tile, job.key, outcome.failures[str(job.tile)], job.n_rows)
        for job in jobs
        if str(job.tile) in outcome.failures
    ]


def _without_features(features: GroupManifest) -> list[Quarantined]:
    """Carry on tiles that have no features, so that their sources stay accounted for."""
    return [
        Quarantined(*entry.tile, entry.key, f"no features: {entry.reason}", entry.n_in)
        for entry in features.quarantined
    ]
