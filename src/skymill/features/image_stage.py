"""The entry of rule `features_measure`: sources found and measured on all image tiles of a group."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from skymill.compute import TileGroup, TilesFailedError, TileTask, run_group
from skymill.config import RunConfig
from skymill.features.image_settings import ingredients, segmentation_settings
from skymill.features.image_tile import CATALOGUE, ImageJob, MeasureRun, make_tile
from skymill.survey import Survey
from skymill.tiling.image_group import ImageGroup
from skymill.tiling.imaging import image_tiles


class MeasureGroupError(TilesFailedError):
    """More image tiles of a group failed than the settings allow."""


def measure_group(
    group_file: str | Path,
    *,
    output: str | Path,
    survey: Survey,
    run: RunConfig,
    workers: int,
    catalogue: str = CATALOGUE,
) -> Path:
    """Find and measure the sources of a group of image tiles.

    Tiles whose key stands in the pool are not measured again.

    Parameters
    ----------
    group_file : Path
        Written by `tiling.plan_images`.
    output : Path
        Folder of the run.
    survey : Survey
    run : RunConfig
    workers : int
        Processes; each holds one image tile.
    catalogue : str
        Its name; another than `segmentation` where a segmenter finds sources beside those of the run.

    Returns
    -------
    Path
        The group's manifest, ``catalogues/{catalogue}/groups/{settings12}/{group}.json``.

    Raises
    ------
    MeasureGroupError
        If more than `compute.max_quarantined_tiles` tiles failed.
    """
    planned = ImageGroup.read(group_file)
    config = survey.config
    assert config.images is not None
    shared = MeasureRun(
        catalogue=str(Path(output) / "catalogues" / catalogue),
        survey=config.name,
        folder=str(survey.folder),
        bands=tuple(config.bands),
        band_names=dict(config.band_names),
        images=config.images,
        settings=run.features.measure,
        ingredients=ingredients(run, config),
    )
    files = {tile.name: tile for tile in image_tiles(survey)}
    gone = [tile.name for tile in planned.tiles if tile.name not in files]
    if gone:
        raise MeasureGroupError(f"{planned.name}: the images of {', '.join(gone[:10])} are gone; plan again")
    jobs = [ImageJob(tile, files[tile.name]) for tile in planned.tiles]
    group = TileGroup(
        catalogue=Path(shared.catalogue),
        settings=segmentation_settings(run, config),
        name=planned.name,
        describe=f"measuring {planned.name}",
        inputs={"group": planned.digest},
        tasks=[TileTask(job.tile, 1, job, shared.key(job)) for job in jobs],
    )
    make = partial(make_tile, run=shared)
    return run_group(group, lambda todo: make, workers=workers, settings=run.compute, error=MeasureGroupError)
