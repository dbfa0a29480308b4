"""One survey of odd image tiles beside a sound one, from its plan to the seal: none of them stops it."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bad_image_cases import IMAGE_CASES, LIKE_MISSING
from bad_images import APART_DEG, BANDS, PLACES, SCALE_ARCSEC, SIZE, FLUX_nJy, ImageCase, tile_wcs, write_sound_tile
from measured_tiles import measured_tiles

from skymill import features, tiling
from skymill.config import ComputeSettings, RunConfig, SurveyConfig
from skymill.config.images import MeasureSettings
from skymill.release import seal, verify
from skymill.store import Accounting, GroupManifest, open_catalogue
from skymill.survey import open_survey
from skymill.survey.flags import MEASURE_FLAGS
from skymill.survey.images.ownership import PRIMARY

SETTINGS = MeasureSettings(background_px=32, psf_from_stars=False)
SOUND = "sound"
FIRST = (45.0, 30.0)
HALF_DEG = SIZE / 2 * SCALE_ARCSEC / 3600
N = len(PLACES)
BITS = {flag.name: flag.mask for flag in MEASURE_FLAGS}
REFUSED = [case for case in IMAGE_CASES if case.refused is not None]


@dataclass(frozen=True)
class Finished:
    """What became of the survey."""

    output: Path
    reasons: dict[str, str]
    """Why tiles are quarantined, by name."""
    rows: dict[str, dict[str, np.ndarray]]
    """The sources of the others."""


def survey_of(folder: Path) -> SurveyConfig:
    """A survey of all tiles in a folder."""
    parts = {"image": "IMAGE", "variance": "VARIANCE", "mask": "MASK", "psf": "PSF"}
    files = {role: {"file": "{tile}/{band}.fits", "hdu": name} for role, name in parts.items()}
    return SurveyConfig.model_validate(
        {"name": "odd", "format": "images", "path": str(folder), "bands": BANDS, "images": {"layout": "fits", **files}}
    )


def write_survey(folder: Path) -> None:
    """Write the sound tile, one for each case, and two pairs that overlap by a half, one of each spoilt."""
    cases = {case.name: case for case in IMAGE_CASES}
    ra, dec = FIRST
    for number, name in enumerate([SOUND, *cases]):
        write_sound_tile(folder / name, ra + number % 10 * APART_DEG, dec + number // 10 * APART_DEG)
    for number, spoilt_by in enumerate(("empty", "datasum")):
        place = ra + number * APART_DEG, dec - APART_DEG
        write_sound_tile(folder / f"whole-{spoilt_by}", *place)
        write_sound_tile(folder / f"beside-{spoilt_by}", place[0] + HALF_DEG / np.cos(np.radians(dec)), place[1])
        cases[spoilt_by].spoil(folder / f"beside-{spoilt_by}")
    for case in IMAGE_CASES:
        case.spoil(folder / case.name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, compute: ComputeSettings) -> Finished:
    """Plan, measure and seal."""
    folder = tmp_path_factory.mktemp("odd")
    write_survey(folder / "images")
    output = folder / "results"
    limits = compute.model_copy(update={"retries": 0, "max_quarantined_tiles": len(REFUSED) + 2})
    run = RunConfig(
        name="odd",
        survey="survey.yaml",
        output=str(output),
        features={"measure": SETTINGS.model_dump()},
        tiling={"group_order": 0},
        compute=limits,
    )
    config = features.with_measured_columns(survey_of(folder / "images"), SETTINGS)
    survey = open_survey(config, cache=folder / "cache")
    tiling.plan_images(run, survey, output, workers=2)
    groups = sorted((output / "tiling" / "images").glob("*.json"))
    manifests = [features.measure_group(each, output=output, survey=survey, run=run, workers=2) for each in groups]
    tiling.plan(run, tiling.measured(survey, [str(each) for each in manifests]), output, workers=2)
    seal("segmentation", manifests, sources=[], output=output)
    catalogue = open_catalogue(output / "catalogues" / "segmentation")
    failed = [each for path in manifests for each in GroupManifest.read(path).quarantined]
    names = [str(name).removeprefix("tile=") for name in catalogue.tiles["image"]]
    return Finished(
        output,
        {each.tile.name.removeprefix("tile="): each.reason for each in failed},
        {name: catalogue.reader(f"tile={name}").rows() for name in names},
    )


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_the_tile_is_quarantined_with_a_reason_that_names_file_fault_and_mend(finished: Finished, case: ImageCase):
    reason = finished.reasons[case.name]
    assert re.search(case.refused, reason), reason
    assert case.said in reason
    assert re.search(rf"{case.name}/g\.fits|tile={case.name}: ", reason), reason


def test_no_other_tile_is_quarantined_and_the_survey_goes_on(finished: Finished):
    names = {case.name for case in IMAGE_CASES} | {SOUND, "whole-empty", "whole-datasum"}
    assert set(finished.reasons) == {case.name for case in REFUSED} | {"beside-empty", "beside-datasum"}
    assert set(finished.rows) == names - {case.name for case in REFUSED}


def test_the_sources_of_the_sound_tile_are_all_there(finished: Finished):
    rows = finished.rows[SOUND]
    x, y = tile_wcs(*FIRST).all_world2pix(rows["coord_ra"], rows["coord_dec"], 0)
    assert sorted((round(a), round(b)) for a, b in zip(x, y, strict=True)) == sorted(PLACES)
    assert rows[PRIMARY].all() and not rows["flags"].any()
    assert np.abs(rows["psfFlux"] - FLUX_nJy).max() < 5 * rows["psfFluxErr"].max()


def test_the_accounting_closes_and_the_sealed_catalogue_verifies(finished: Finished):
    report = verify(finished.output)
    assert report.ok, report.lines()
    catalogue = open_catalogue(finished.output / "catalogues" / "segmentation")
    detected = sum(len(rows[PRIMARY]) for rows in finished.rows.values())
    accounting = Accounting.from_dict(catalogue.manifest["accounting"]).check()
    assert accounting.n_in == detected == len(catalogue) and accounting.n_flagged > 0
    gate = json.loads((finished.output / "tiling" / "plan.json").read_text())["gate"]
    assert gate["n_in"] == detected == gate["n_rows"] + sum(gate["excluded"].values())
    foreign = sum(int((~rows[PRIMARY]).sum()) for rows in finished.rows.values())
    assert gate["excluded"] == {"not_primary": foreign} and gate["quarantined"] == {}


@pytest.mark.parametrize(
    "case", [case for case in IMAGE_CASES if case.said == LIKE_MISSING], ids=lambda case: case.name
)
def test_a_band_that_shows_nothing_is_nan_and_the_other_is_measured(finished: Finished, case: ImageCase):
    rows = finished.rows[case.name]
    assert len(rows[PRIMARY]) == N
    for name in ("psfFlux", "psfFluxErr", "kronFlux", "ap1p0Flux"):
        assert np.isnan(rows[name][:, 0]).all() and np.isfinite(rows[name][:, 1]).all()
    assert np.abs(rows["psfFlux"][:, 1] - FLUX_nJy).max() < 5 * rows["psfFluxErr"][:, 1].max()


def test_a_smaller_band_is_nan_where_it_does_not_reach(finished: Finished):
    """Its WCS lays it over the other; the sources at the border of what it has are flagged."""
    rows = finished.rows["small-band"]
    inside = (rows["centre_x"] < 60) & (rows["centre_y"] < 60)
    assert np.array_equal(np.isfinite(rows["psfFlux"][:, 0]), inside) and inside.sum() == 4
    assert np.isfinite(rows["psfFlux"][:, 1]).all()
    assert (rows["flags"][~inside] & BITS["bad_pixel"]).all()


LIKE_SOUND = {"tiny": 1e-12, "one-plane": 1.0, "integers": 1.0, "pole": 1.0, "meridian": 1.0}


@pytest.mark.parametrize(("name", "factor"), LIKE_SOUND.items())
def test_what_only_looks_odd_is_measured_as_the_sound_tile_is(finished: Finished, name: str, factor: float):
    rows, sound = finished.rows[name], finished.rows[SOUND]
    order, of_sound = (np.lexsort((np.rint(each["centre_x"]), np.rint(each["centre_y"]))) for each in (rows, sound))
    assert len(order) == N and not rows["flags"].any()
    np.testing.assert_allclose(rows["psfFlux"][order], sound["psfFlux"][of_sound] * factor, rtol=0.01)
    assert np.all((rows["coord_ra"] >= 0) & (rows["coord_ra"] < 360) & (np.abs(rows["coord_dec"]) <= 90))
    assert rows[PRIMARY].all() and len(np.unique(rows["_healpix_29"])) == N


def test_sources_lie_on_both_sides_of_right_ascension_zero(finished: Finished):
    ra = finished.rows["meridian"]["coord_ra"]
    assert (ra > 359).sum() >= 3 and (ra < 1).sum() >= 3


def test_sources_of_a_mask_that_is_set_everywhere_are_flagged(finished: Finished):
    flags = finished.rows["masked"]["flags"]
    assert len(flags) == N and (flags & BITS["bad_pixel"]).all()


def test_sources_on_the_edge_are_flagged_and_no_others(finished: Finished):
    rows = finished.rows["edge"]
    x = np.rint(rows["centre_x"])
    assert (x == 0).sum() == 3 and len(x) >= N
    assert np.array_equal((rows["flags"] & BITS["edge"]) != 0, (x == 0) | (x > SIZE - 4))


def test_beside_a_tile_that_cannot_be_placed_the_other_owns_all(finished: Finished):
    """Beside one whose place is known and whose pixels are spoilt, the overlap waits for it."""
    assert finished.rows["whole-empty"][PRIMARY].all()
    owned = finished.rows["whole-datasum"][PRIMARY]
    assert 0 < owned.sum() < N


def test_a_position_beyond_the_edge_is_on_no_tile_and_one_on_it_is_flagged(tmp_path: Path):
    write_sound_tile(tmp_path / "images" / SOUND, *FIRST)
    x, y = np.array([PLACES[0][0], 95.4, 96.0, 150.0]), np.array([PLACES[0][1], 40.0, 40.0, 40.0])
    ra, dec = tile_wcs(*FIRST).all_pix2world(x, y, 0)
    pq.write_table(pa.table({"objectId": np.arange(4), "coord_ra": ra, "coord_dec": dec}), tmp_path / "at.parquet")
    forced = SETTINGS.model_copy(update={"positions": str(tmp_path / "at.parquet")})
    [tile] = measured_tiles(survey_of(tmp_path / "images"), forced, tmp_path / "out").values()
    rows = tile.rows()
    flagged = dict(zip(rows["objectId"].tolist(), (rows["flags"] & BITS["edge"]) != 0, strict=True))
    assert flagged == {0: False, 1: True}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_must_not_be_read_is_a_problem_of_its_tile(tmp_path: Path):
    write_sound_tile(tmp_path / "images" / SOUND, *FIRST)
    shutil.copytree(tmp_path / "images" / SOUND, tmp_path / "images" / "closed")
    (tmp_path / "images" / "closed" / "r.fits").chmod(0)
    survey = open_survey(survey_of(tmp_path / "images"))
    tiling.plan_images(RunConfig(name="odd", survey="survey.yaml"), survey, tmp_path / "out", workers=1)
    planned = [tile for path in (tmp_path / "out" / "tiling" / "images").glob("*.json") for tile in tiles_of(path)]
    problems = {tile["name"]: tile["problem"] for tile in planned}
    assert problems["tile=sound"] == ""
    assert "closed/r.fits: expected a file of tile=closed that can be read" in problems["tile=closed"]
    assert "allow reading it" in problems["tile=closed"]


def tiles_of(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text())["tiles"]
