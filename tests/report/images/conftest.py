"""A small rendered survey, measured: two tiles that overlap, and one that could not be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from measured_tiles import jobs_of, rendered_survey

from skymill.config import RunConfig, SurveyConfig
from skymill.config.images import MeasureSettings, RenderSettings
from skymill.features.image_settings import segmentation_settings
from skymill.features.image_tile import CATALOGUE, make_tile
from skymill.store import GroupManifest, Pool
from skymill.store.manifest import ImageQuarantined
from skymill.tiling.files import TilingFiles

RENDER = RenderSettings(seed=8, tiles=(2, 1), tile_px=224, overlap_px=64, pairs=20)
MEASURE = MeasureSettings(background_px=64, psf_from_stars=False)
REASON = "patch.fits: expected <a> header"


@dataclass(frozen=True)
class MeasuredRun:
    """A run whose image tiles are measured."""

    output: Path
    run: RunConfig
    survey: SurveyConfig
    tiles: dict[str, Path]


def measure_run(survey: SurveyConfig, output: Path) -> MeasuredRun:
    """Measure a survey's tiles and write the manifests of their groups."""
    run = RunConfig(name="small", survey="x.yaml", output=str(output), features={"measure": MEASURE.model_dump()})
    shared, jobs = jobs_of(survey, MEASURE, output)
    entries = tuple(make_tile(job, run=shared) for job in jobs)
    failed = (ImageQuarantined("tile=lost", "0" * 64, REASON),)
    folder = Path(shared.catalogue) / "groups" / segmentation_settings(run, survey)
    folder.mkdir(parents=True)
    files = TilingFiles(output)
    [group] = sorted((files.root / "images").glob("*.json"))
    name = group.name.rpartition("-")[0]
    GroupManifest(CATALOGUE, folder.name, name, {}, entries, failed).write(folder / f"{name}.json")
    pool = Pool(shared.catalogue)
    return MeasuredRun(output, run, survey, {entry.image: pool.path(entry.tile, entry.key) for entry in entries})


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> MeasuredRun:
    return measure_run(rendered_survey(RENDER), tmp_path_factory.mktemp("rendered"))


@pytest.fixture
def measured_run() -> Callable[[SurveyConfig, Path], MeasuredRun]:
    return measure_run
