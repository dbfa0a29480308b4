"""The entry of rule `inference_run`: a model over all feature tiles of a group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skymill.compute import TileGroup, TilesFailedError, TileTask, lost_before, run_group
from skymill.config import ComputeSettings, SurveyConfig
from skymill.config.run import InferenceSettings
from skymill.export.metadata import ModelSchema
from skymill.features.pixels import reading
from skymill.inference.settings import algorithm, settings_digest
from skymill.inference.tiles import ModelRun, TileJob, classify_tile, feature_columns
from skymill.sessions.entry import ModelFileError
from skymill.sessions.runtime import check_available
from skymill.store import GroupManifest, Pool, StoreError, file_sha256, open_tile
from skymill.store.manifest import AnyEntry

if TYPE_CHECKING:
    from skymill.features.stamps import SourceImages


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
    images: SourceImages | None = None,
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
    images : SourceImages, optional
        What a model of stamps looks at; None for a model of features.

    Returns
    -------
    Path
        The group's manifest, ``catalogues/{model}/groups/{settings12}/{group}.json``.

    Raises
    ------
    MissingFeaturesError
        If the feature catalogue lacks features of the model; names them all.
    ModelFileError
        If it looks at stamps and there are no `images`, or others than it was made for; or the reverse.
    ImageError
        If sources were measured on no image of the survey.
    ProviderError
        If the execution provider is not there.
    InferenceError
        If more than `compute.max_quarantined_tiles` tiles failed. No manifest is then written; what succeeded stays in
        the pool, and the next run makes only the rest.
    """
    survey = images.survey if images else None
    model_run = _model_run(Path(output) / "catalogues" / model, onnx, settings, survey)
    features = GroupManifest.read(feature_manifest)
    jobs = _jobs(features, Pool(Path(feature_manifest).parents[2]), model_run)
    group = TileGroup(
        catalogue=Path(model_run.catalogue),
        settings=settings_digest(model_run.onnx_sha256, settings, survey),
        name=features.group,
        describe=f"inference {model} {features.group}",
        inputs={"features": file_sha256(feature_manifest), "onnx": model_run.onnx_sha256},
        tasks=[TileTask(job.tile, job.n_rows, job, job.key) for job in jobs],
        lost=lost_before(features.quarantined, "features"),
    )
    how: dict[str, Any] = {"workers": workers, "settings": compute, "error": InferenceError}
    if images is not None:
        from skymill.inference.stamp_stage import run_stamps  # with what reads images, which takes a second to import

        return run_stamps(group, images, model_run, **how)

    def prepare(todo: Sequence[TileTask]) -> Callable[[TileJob], AnyEntry]:
        if todo and compute.scheduler == "local":
            check_available(settings.provider)
        _check_features([task.payload for task in todo], model_run)
        return partial(classify_tile, run=model_run)

    return run_group(group, prepare, **how)


def _model_run(catalogue: Path, onnx: str | Path, settings: InferenceSettings, survey: SurveyConfig | None) -> ModelRun:
    return ModelRun(
        catalogue=str(catalogue),
        name=catalogue.name,
        onnx=str(onnx),
        onnx_sha256=file_sha256(onnx),
        provider=settings.provider,
        block_rows=settings.block_rows,
        algorithm=algorithm(survey),
        reading=reading(survey) if survey else {},
    )


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
        schema = ModelSchema.read(model_run.onnx)
        if schema.stamps is not None:
            raise ModelFileError(f"{model_run.onnx}: looks at stamps, there are no images; give those of the survey")
        feature_columns(source, [column.name for column in schema.inputs])
        return
