"""The course of a model that looks at pixels: first image by image, then feature tile by feature tile."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from skymill.compute import Task, TileGroup, TilesFailedError, TileTask, run_group, run_tasks
from skymill.config import ComputeSettings, SurveyConfig
from skymill.export.metadata import ModelSchema
from skymill.features.stamps import SourceImages
from skymill.inference.stamp_images import ImageJob, Part, look_at_image
from skymill.inference.stamp_tiles import Place, StampJob, gather_tile
from skymill.inference.tiles import ModelRun, TileJob
from skymill.sessions.entry import ModelFileError
from skymill.sessions.runtime import check_available
from skymill.store import StoreError, digest, open_tile, short
from skymill.store.manifest import AnyEntry
from skymill.store.paths import STAGING

logger = logging.getLogger(__name__)


def run_stamps(
    group: TileGroup,
    images: SourceImages,
    run: ModelRun,
    *,
    workers: int,
    settings: ComputeSettings,
    error: type[TilesFailedError],
) -> Path:
    """Run a model over the images that the sources of a group were measured on, and make the group's tiles.

    What is known of an image's sources is kept until all tiles are made, so that a killed run goes on. It stands among
    unfinished files, where it is deleted like all leftovers once nobody has written to it for a day.

    Parameters
    ----------
    group : TileGroup
        Its tasks hold a `TileJob` each.
    images : SourceImages
    run : ModelRun
    workers, settings, error
        As of `run_group`.

    Returns
    -------
    Path
        The group's manifest.

    Raises
    ------
    ImageError
        If sources were measured on no image of the survey.
    ModelFileError
        If the model takes no stamps, or looks at bands that the survey lacks.
    ComputeError
        If the model cannot be run, or not on pixels of this size.
    """
    spill = group.catalogue / STAGING / f"looks-{group.settings}-{group.name}"
    with ThreadPoolExecutor(workers) as threads:
        found = threads.map(partial(_with_images, images=images, run=run, spill=spill), group.tasks)
        tasks = [TileTask(job.tile, job.n_rows, job, job.key) for job in found]

    def prepare(todo: Sequence[TileTask]) -> Callable[[StampJob], AnyEntry]:
        jobs = [task.payload for task in todo]
        if jobs:
            _check_model(run, images.survey)
            if settings.scheduler == "local":
                check_available(run.provider)
        return _look_at_images(jobs, images, run, group.describe, settings, workers)

    def settle(results: dict[str, AnyEntry]) -> dict[str, AnyEntry]:
        if spill.is_dir():
            shutil.rmtree(spill)
        return results

    whole = replace(group, tasks=tasks)
    return run_group(whole, prepare, workers=workers, settings=settings, error=error, settle=settle)


def _with_images(task: TileTask, *, images: SourceImages, run: ModelRun, spill: Path) -> StampJob:
    """Find the images of a feature tile; of one that cannot be read none, for its own task says what is wrong."""
    job: TileJob = task.payload
    try:
        found = _chunks_by_image(job.path, images)
    except (StoreError, OSError) as error:
        logger.warning("%s: the images of its sources cannot be told: %s", job.path, error)
        found = {}
    places = {}
    for number, chunks in found.items():
        files, sha256 = images.tiles[number].files, images.tiles[number].sha256
        name = digest({"tile": job.sha256, "image": files.name, "pixels": sha256, **run.ingredients})
        places[number] = Place(files.name, tuple(chunks), sum(chunks.values()), str(spill / f"{short(name)}.npz"))
    whole = StampJob(job.tile, job.path, job.sha256, job.n_rows, "", images.digest(list(found)), places)
    return replace(whole, key=run.key(job.sha256, whole.pixels()))


def _chunks_by_image(path: str, images: SourceImages) -> dict[int, dict[int, int]]:
    """Count the sources of a feature tile by number of their image and first row of their chunk."""
    source = open_tile(path)
    found: dict[int, dict[int, int]] = {}
    for start in range(0, source.n_rows, source.chunk_rows):
        ids = source.rows(start, start + source.chunk_rows, ["objectId"])["objectId"]
        numbers, counts = np.unique(images.numbers(ids), return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            found.setdefault(number, {})[start] = count
    return found


def _check_model(run: ModelRun, survey: SurveyConfig) -> None:
    """Hold the bands that the model looks at against the survey's, before a cluster is started."""
    stamps = ModelSchema.read(run.onnx).stamps
    if stamps is None:
        raise ModelFileError(f"{run.onnx}: expected a model that looks at stamps, found one of features")
    unknown = [band for band in stamps.bands if band not in survey.bands]
    if unknown:
        raise ModelFileError(
            f"{run.onnx}: looks at the bands {', '.join(stamps.bands)}; survey '{survey.name}' has no "
            f"{', '.join(unknown)}, only {', '.join(survey.bands)}. Correct stamps.bands in the model's file and "
            "fit it again"
        )


def _look_at_images(
    jobs: Sequence[StampJob],
    images: SourceImages,
    run: ModelRun,
    describe: str,
    settings: ComputeSettings,
    workers: int,
) -> Callable[[StampJob], AnyEntry]:
    """Look at all sources of feature tiles, image by image; give the function that puts a tile together."""
    tasks = _image_tasks(jobs, images)
    outcome = run_tasks(
        partial(look_at_image, run=run),
        tasks,
        workers=workers,
        settings=settings,
        describe=f"{describe}, {len(tasks)} images",
    )
    for name, reason in outcome.failures.items():
        logger.warning("image %s cannot be looked at, so its sources are not scored: %s", name, reason)
    unread = frozenset(task.payload.number for task in tasks if task.name in outcome.failures)
    return partial(gather_tile, run=run, unread=unread)


def _image_tasks(jobs: Sequence[StampJob], images: SourceImages) -> list[Task]:
    """Give a task for each image; none for what a killed run has kept."""
    parts: dict[int, list[Part]] = {}
    for job in jobs:
        for number, place in job.places.items():
            if not Path(place.spill).is_file():
                parts.setdefault(number, []).append(Part(job.path, place.chunks, place.n_rows, place.spill))
    return [
        Task(
            images.tiles[number].files.name,
            sum(part.n_rows for part in of_image),
            ImageJob(number, images.tiles[number], tuple(of_image)),
        )
        for number, of_image in sorted(parts.items())
    ]
