"""Measure the image tiles of a survey in this process: plan, make every tile, open it."""

from __future__ import annotations

from pathlib import Path

from skymill.config import RunConfig, SurveyConfig
from skymill.config.images import ImageSettings, MeasureSettings, RenderSettings
from skymill.features.image_settings import ingredients
from skymill.features.image_tile import CATALOGUE, ImageJob, MeasureRun, make_tile
from skymill.store import Pool, open_tile
from skymill.store.reader import TileReader
from skymill.survey import open_survey
from skymill.tiling import plan_images
from skymill.tiling.image_group import ImageGroup
from skymill.tiling.imaging import image_tiles


def rendered_survey(render: RenderSettings, *, bands: str = "ugrizy") -> SurveyConfig:
    """The simulated survey in pixels."""
    images = ImageSettings(layout="rendered", render=render)
    return SurveyConfig(name="rendered", format="images", bands=list(bands), images=images)


def jobs_of(config: SurveyConfig, settings: MeasureSettings, output: Path) -> tuple[MeasureRun, list[ImageJob]]:
    """Plan a survey and give what its tasks get."""
    run = RunConfig(name="test", survey="survey.yaml", output=str(output), features={"measure": settings.model_dump()})
    survey = open_survey(config)
    plan_images(run, survey, output, workers=2)
    files = {tile.name: tile for tile in image_tiles(survey)}
    groups = [ImageGroup.read(path) for path in sorted((output / "tiling" / "images").glob("*.json"))]
    assert config.images is not None
    shared = MeasureRun(
        catalogue=str(output / "catalogues" / CATALOGUE),
        survey=config.name,
        folder=str(survey.folder),
        bands=tuple(config.bands),
        band_names=config.band_names,
        images=config.images,
        settings=settings,
        ingredients=ingredients(run, config),
    )
    return shared, [ImageJob(tile, files[tile.name]) for group in groups for tile in group.tiles]


def measured_tiles(config: SurveyConfig, settings: MeasureSettings, output: Path) -> dict[str, TileReader]:
    """Measure every tile of a survey."""
    run, jobs = jobs_of(config, settings, output)
    pool = Pool(run.catalogue)
    return {job.planned.name: open_tile(pool.path(job.tile, make_tile(job, run=run).key)) for job in jobs}
