"""The entry of rule `inference_run`: a model over all feature tiles of a group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from skymill.compute import TileGroup, TilesFailedError, TileTask, lost_before, run_group
from skymill.config import ComputeSettings
from skymill.config.run import InferenceSettings
from skymill.export.metadata import ModelSchema
from skymill.export.runtime import check_available
from skymill.inference.settings import algorithm, settings_digest
from skymill.inference.tiles import ModelRun, TileJob, classify_tile, feature_columns
from skymill.store import GroupManifest, Pool, StoreError, TileEntry, file_sha256, open_tile


class InferenceError(TilesFailedError):
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
    jobs = _jobs(features, Pool(Path(feature_manifest).parents[2]), model_run)
    group = TileGroup(
        catalogue=Path(model_run.catalogue),
        settings=settings_digest(model_run.onnx_sha256, settings),
        name=features.group,
        describe=f"inference {model} {features.group}",
        inputs={"features": file_sha256(feature_manifest), "onnx": model_run.onnx_sha256},
        tasks=[TileTask(job.tile, job.n_rows, job, job.key) for job in jobs],
        lost=lost_before(features.quarantined, "features"),
    )

    def prepare(todo: Sequence[TileTask]) -> Callable[[TileJob], TileEntry]:
        if todo and compute.scheduler == "local":
            check_available(settings.provider)
        _check_features([task.payload for task in todo], model_run)
        return partial(classify_tile, run=model_run)

    return run_group(group, prepare, workers=workers, settings=compute, error=InferenceError)


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


def _check_features(jobs: Sequence[TileJob], model_run: ModelRun) -> None:
    """Hold the model's inputs against the first tile that opens, before a cluster is started."""
    for job in jobs:
        try:
            source = open_tile(job.path)
        except (StoreError, OSError):
            continue  # its own task says what is wrong with it
        feature_columns(source, [column.name for column in ModelSchema.read(model_run.onnx).inputs])
        return
