"""A survey of images whose sources a learned segmenter finds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import image_files
import numpy as np
import pytest
from measured_tiles import jobs_of, measured_tiles
from scipy.spatial import cKDTree
from segmenters import write_segmenter

from skymill.config import RunConfig, SurveyConfig
from skymill.config.images import MeasureSettings
from skymill.features.image_settings import ingredients, kernel, segmentation_settings
from skymill.features.image_tile import make_tile
from skymill.features.measuring import MeasureError
from skymill.sky import unit_vectors
from skymill.store import module_digests
from skymill.store.reader import TileReader
from skymill.survey.images.ownership import PRIMARY

SETTINGS = MeasureSettings(background_px=64, psf_from_stars=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four tiles of one field, in files."""
    folder = tmp_path_factory.mktemp("pictures")
    image_files.write_images(folder)
    return folder


def survey(folder: Path, **changes: Any) -> SurveyConfig:
    content = {**image_files.configuration()["survey"], "path": str(folder / "images"), **changes}
    return SurveyConfig.model_validate(content)


def settings_with(segmenter: str, **changes: Any) -> MeasureSettings:
    return SETTINGS.model_copy(update={"segmenter": segmenter, **changes})


@pytest.fixture(scope="module")
def found(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TileReader]:
    """The four tiles, segmented in windows of 96 px."""
    output = tmp_path_factory.mktemp("segmented")
    return measured_tiles(survey(folder), settings_with(write_segmenter(output / "learned.onnx")), output)


def primaries(tiles: dict[str, TileReader]) -> dict[str, np.ndarray]:
    """The sources that tiles own, together."""
    rows = [tile.rows() for tile in tiles.values()]
    return {name: np.concatenate([each[name][each[PRIMARY]] for each in rows]) for name in rows[0]}


def test_the_true_sources_are_found_once_each(found):
    """In the right place and with the right flux, whichever tile owns them; hardly anything else is found."""
    truth, rows = image_files.sources(), primaries(found)
    assert len(np.unique(rows["objectId"])) == len(rows["objectId"])
    tree = cKDTree(unit_vectors(rows["coord_ra"], rows["coord_dec"]))
    distance, mate = tree.query(unit_vectors(truth["ra"], truth["dec"]))
    arcsec = np.degrees(distance) * 3600
    assert (arcsec < 0.5).mean() > 0.99
    assert len(np.unique(mate)) == len(mate)
    assert np.median(arcsec) < 0.1 * image_files.SCALE_ARCSEC
    assert len(rows["objectId"]) < 1.03 * len(truth["ra"])
    star = truth["star"] & (arcsec < 0.5)
    assert np.median(rows["psfFlux"][mate[star]] / truth["flux"][star]) == pytest.approx(1.0, abs=0.03)


def test_each_source_has_a_label_of_its_own_and_its_centre_in_it(found):
    for tile in found.values():
        rows, labels, parents = tile.rows(), *(np.asarray(tile.arrays[name]) for name in ("labels", "parents"))
        assert np.array_equal(np.unique(labels), np.arange(len(rows["label"]) + 1))
        assert np.array_equal(np.sort(rows["label"]), np.arange(1, len(rows["label"]) + 1))
        assert np.array_equal(labels > 0, parents > 0)
        assert np.bincount(labels.ravel())[1:].min() >= SETTINGS.min_area_px
        x, y = np.rint(rows["centre_x"]).astype(int), np.rint(rows["centre_y"]).astype(int)
        inside = (rows["n_blended"] == 1) & (rows["flags"] == 0)
        assert np.array_equal(labels[y, x][inside], rows["label"][inside])
        assert np.array_equal(parents[y, x][inside], rows["parent"][inside])


def test_classes_of_pixels_are_the_segmenters(found):
    """It says galaxy of every source, with 0.7, whatever the sources' measured sizes are."""
    for tile in found.values():
        labels, classes = (np.asarray(tile.arrays[name]) for name in ("labels", "classes"))
        assert np.array_equal(classes, np.where(labels > 0, 2, 0))


def test_a_tile_tells_which_segmenter_made_it(found):
    [tile, *_] = found.values()
    known = tile.attrs["segmenter"]
    assert known["name"] == "significance"
    assert tile.receipt["digests"]["model"] == tile.receipt["ingredients"]["segmenter"] == known["sha256"]
    assert "onnxruntime" in tile.receipt["versions"]


def test_the_same_sources_whatever_the_windows(folder, found, tmp_path):
    """Small windows, with more halo than needed, and one for the whole tile."""
    for number, options in enumerate(({"window_px": 40, "halo_px": 11}, {"window_px": 320})):
        path = write_segmenter(tmp_path / f"{number}.onnx", **options)
        for place, tile in measured_tiles(survey(folder), settings_with(path), tmp_path / str(number)).items():
            rows, wanted = tile.rows(), found[place]
            for name in ("labels", "parents", "classes"):
                assert np.array_equal(np.asarray(tile.arrays[name]), np.asarray(wanted.arrays[name]))
            assert all(np.array_equal(rows[name], each, equal_nan=True) for name, each in wanted.rows().items())


def test_the_file_s_bytes_decide_and_neither_its_name_nor_its_time(folder, tmp_path):
    def settings_of(path: str | None) -> str:
        run = RunConfig(name="r", survey="s", output=str(tmp_path), features={"measure": {"segmenter": path}})
        return segmentation_settings(run, survey(folder))

    first = write_segmenter(tmp_path / "first.onnx")
    digest = settings_of(first)
    os.utime(first, (1, 1))
    assert settings_of(first) == digest
    assert settings_of(write_segmenter(tmp_path / "second.onnx")) == digest
    assert settings_of(write_segmenter(tmp_path / "third.onnx", threshold=6.0)) != digest
    assert settings_of(write_segmenter(tmp_path / "first.onnx", min_centre=0.2)) != digest
    assert settings_of(None) != digest


def test_its_code_decides_the_tiles_of_runs_with_a_segmenter_alone(folder, tmp_path):
    def run(**measure: str) -> RunConfig:
        return RunConfig(name="r", survey="s", output=str(tmp_path), features={"measure": measure})

    without = module_digests(kernel(run(), survey(folder)))
    used = module_digests(kernel(run(segmenter="learned.onnx"), survey(folder)))
    only = sorted(set(used) - set(without))
    assert set(without) < set(used)
    assert {f"skymill.features.segmenting.{name}" for name in ("contract", "instances", "segmenter", "windows")} < {
        *only
    }
    assert all(name.startswith(("skymill.features.segmenting", "skymill.sessions", "skymill.config")) for name in only)
    assert "segmenter" not in ingredients(run(), survey(folder))


def test_positions_and_a_segmenter_exclude_each_other():
    with pytest.raises(ValueError, match=r"not both; found p\.parquet and s\.onnx"):
        MeasureSettings(positions="p.parquet", segmenter="s.onnx")


def test_a_tile_that_the_segmenter_is_not_made_for_is_refused(folder, tmp_path):
    path = write_segmenter(tmp_path / "coarse.onnx", pixel_scale_arcsec=0.4)
    run, [job, *_] = jobs_of(survey(folder), settings_with(path), tmp_path / "out")
    with pytest.raises(MeasureError, match=r"tile=00: .*coarse\.onnx: made for pixels of 0\.4 arcsec"):
        make_tile(job, run=run)
