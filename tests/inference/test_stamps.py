"""Models of stamps over the image tiles of a survey."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import image_files
import numpy as np
import published_run
import pytest
import stamp_lab
from stamp_lab import StampLab, make_lab
from stamp_models import SIZE, answer, write_stamp_model

from skymill import inference, tiling
from skymill.compute import ComputeError
from skymill.config import ComputeSettings
from skymill.config.run import InferenceSettings
from skymill.features.stamps import SourceImages
from skymill.inference import InferenceError
from skymill.inference.kernel import NO_PIXELS, UNSCORABLE
from skymill.sessions.entry import ModelFileError
from skymill.store import GroupManifest
from skymill.store.durable import stale
from skymill.survey.images import cutouts, read_tile

pytestmark = pytest.mark.slow
NO_CLUSTER = "tcp://127.0.0.1:9"
"""Nobody answers there: a run that asks for a cluster fails."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, scheduler: str) -> tuple[StampLab, Path]:
    """A survey of 2 x 2 image tiles up to its features."""
    lab = make_lab(tmp_path_factory.mktemp("stamps"), scheduler=scheduler)
    return lab, lab.measure()


@pytest.fixture(scope="module")
def classified(measured: tuple[StampLab, Path]) -> tuple[StampLab, GroupManifest, GroupManifest]:
    """The same, its features and what the model says of them."""
    lab, features = measured
    return lab, GroupManifest.read(features), lab.run(features)


def direct(lab: StampLab, ids: np.ndarray, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the model says of sources, and the coverage of their stamps, without the stage."""
    images = SourceImages.open(lab.chain.survey, lab.group_files)
    said, coverage = np.full((len(ids), 2), np.nan), np.full(len(ids), np.nan)
    for number, image in images.tiles.items():
        rows = np.flatnonzero(images.numbers(ids) == number)
        tile = read_tile(image.files, Path(image.folder), image.images, image.bands)
        x, y = tile.wcs.all_world2pix(ra[rows], dec[rows], 0)
        [cut] = cutouts(tile, x, y, SIZE, batch=len(rows), what=("pixels", "inverse_variance"))
        flux = np.where(cut.inverse_variance > 0, cut.pixels, 0)
        said[rows], coverage[rows] = answer(flux), (cut.inverse_variance > 0).mean(axis=(1, 2, 3))
    return said, coverage


def test_each_row_holds_what_the_model_says_of_its_stamp(classified):
    lab, features, manifest = classified
    rows, sources = lab.rows(manifest), lab.rows(features)
    for name in ("objectId", "_healpix_29", "coord_ra", "coord_dec", "flags"):
        np.testing.assert_array_equal(rows[name], sources[name])
    said, coverage = direct(lab, rows["objectId"], rows["coord_ra"], rows["coord_dec"])
    np.testing.assert_allclose(rows["probabilities"], said, atol=1e-6)
    np.testing.assert_array_equal(rows["class"], said.argmax(axis=1))
    np.testing.assert_array_equal(rows["coverage_frac"], coverage.astype(np.float16))
    assert (rows["bands_missing"] == 0).all() and (rows["masked_frac"] == 0).all()
    assert 0.1 < rows["class"].mean() < 0.95


def test_stamps_that_leave_the_survey_are_not_whole(classified):
    lab, _, manifest = classified
    rows = lab.rows(manifest)
    x, y = image_files.field_wcs().all_world2pix(rows["coord_ra"], rows["coord_dec"], 0)
    inside = np.minimum.reduce([x, y, image_files.SIZE - 1 - x, image_files.SIZE - 1 - y])
    assert (rows["coverage_frac"][inside > SIZE / 2] == 1).all()
    leaving = rows["coverage_frac"][inside < SIZE / 2 - 2]
    assert len(leaving) > 15 and (leaving < 1).all() and (leaving > 0.2).all()


def test_every_source_is_accounted_for(classified):
    _, features, manifest = classified
    assert [(entry.tile, entry.n_rows) for entry in manifest.tiles] == [
        (entry.tile, entry.n_rows) for entry in features.tiles
    ]
    assert len(manifest.tiles) > 4
    assert manifest.accounting.check().n_in == features.accounting.n_in


def test_a_second_run_makes_nothing_and_nothing_is_left_over(classified):
    lab, _, manifest = classified
    features = next((lab.folder / "results/catalogues/features/groups").glob("*/*.json"))
    assert lab.run(features, scheduler=NO_CLUSTER) == manifest
    assert list((lab.catalogue / ".staging").iterdir()) == []


def copied(measured: tuple[StampLab, Path], folder: Path) -> tuple[StampLab, Path]:
    """A copy of the survey and its features, in which the model was not run; its files name the new folder."""
    lab, features = measured
    shutil.copytree(lab.folder, folder, symlinks=True)
    shutil.rmtree(folder / "results/catalogues/colour", ignore_errors=True)
    for name in ("config.yaml", "survey.yaml"):
        path = folder / name
        path.write_text(path.read_text().replace(str(lab.folder), str(folder)))
    moved = StampLab(folder, folder / lab.model.name, lab.scheduler)
    return moved, folder / features.relative_to(lab.folder)


def changed_image(lab: StampLab, name: str) -> None:
    """Write an image tile with other noise, and plan anew."""
    x0, y0 = image_files.windows()[name]
    noise = np.random.default_rng(9).normal(0, 0.01, (3, image_files.SIZE, image_files.SIZE)).astype(np.float32)
    image_files.write_tile(lab.folder / "images", name, x0, y0, image=image_files.mosaic() + noise)
    tiling.plan_images(lab.chain.run, lab.chain.survey, lab.chain.output, workers=1)


def numbers_by_name(images: SourceImages) -> dict[str, int]:
    return {image.files.name: number for number, image in images.tiles.items()}


def test_a_changed_image_makes_the_tiles_with_sources_on_it_again(measured, tmp_path):
    lab, features = copied(measured, tmp_path / "lab")
    before = lab.run(features)
    changed_image(lab, "01")
    images = SourceImages.open(lab.chain.survey, lab.group_files)
    after = lab.run(features, images=images)
    number, expected = numbers_by_name(images)["tile=01"], set()
    for entry in before.tiles:
        rows = lab.rows(replace(before, tiles=(entry,)))
        if (images.numbers(rows["objectId"]) == number).any():
            expected.add(entry.tile)
    again = {new.tile for old, new in zip(before.tiles, after.tiles, strict=True) if old.key != new.key}
    assert again == expected and 0 < len(expected) < len(before.tiles)


@pytest.mark.parametrize("how", ["gone", "cut off"])
def test_an_image_that_cannot_be_read_costs_its_sources_their_scores(measured, tmp_path, caplog, how):
    """The next run reads it again: what was made without it has a key of its own."""
    lab, features = copied(measured, tmp_path / "lab")
    images = SourceImages.open(lab.chain.survey, lab.group_files)
    broken = lab.folder / "images" / "r-01.fits"
    content = broken.read_bytes()
    broken.unlink() if how == "gone" else broken.write_bytes(content[:40_000])
    manifest = lab.run(features, images=images)
    rows = lab.rows(manifest)
    lost = images.numbers(rows["objectId"]) == numbers_by_name(images)["tile=01"]
    assert 20 < lost.sum() < len(lost) - 20
    np.testing.assert_array_equal(rows["flags"] & NO_PIXELS.mask != 0, lost)
    assert (rows["class"][lost] == -1).all() and np.isnan(rows["probabilities"][lost]).all()
    assert np.isnan(rows["coverage_frac"][lost]).all() and (rows["bands_missing"][lost] == 0b111).all()
    assert (rows["class"][~lost] >= 0).all()
    assert manifest.accounting.flagged["no_pixels"] == lost.sum()
    assert "image tile=01 cannot be looked at" in caplog.text and "r-01.fits" in caplog.text
    broken.write_bytes(content)
    whole = lab.run(features, images=images)
    assert "no_pixels" not in whole.accounting.flagged
    kept = [old for old, new in zip(manifest.tiles, whole.tiles, strict=True) if old == new]
    assert 0 < len(kept) < len(whole.tiles)


def spilled(lab: StampLab) -> list[Path]:
    return sorted((lab.catalogue / ".staging").glob("looks-*/*.npz"))


@contextmanager
def aged(folder: Path, *, days: float) -> Iterator[None]:
    """Make a folder seem older for a while."""
    now = folder.stat().st_mtime
    os.utime(folder, (now - days * 86_400,) * 2)
    yield
    os.utime(folder, (now, now))


def test_what_was_looked_at_before_a_run_ended_is_not_decoded_again(measured, tmp_path):
    """The tiles cannot be written; when they can be, all images are gone, and still every source is scored.

    Nobody takes what is kept for a leftover before a day is over.
    """
    lab, features = copied(measured, tmp_path / "lab")
    images = SourceImages.open(lab.chain.survey, lab.group_files)
    lab.catalogue.mkdir()
    (lab.catalogue / "tiles").touch()
    with pytest.raises(InferenceError, match="tiles failed"):
        lab.run(features, images=images)
    kept = spilled(lab)
    assert len(kept) > 10
    assert list(stale(lab.catalogue / ".staging")) == []
    with aged(kept[0].parent, days=2):
        assert list(stale(lab.catalogue / ".staging")) == [kept[0].parent]
    (lab.catalogue / "tiles").unlink()
    for file in (lab.folder / "images").glob("*.fits"):
        file.unlink()
    manifest = lab.run(features, images=images)
    assert "no_pixels" not in manifest.accounting.flagged and not spilled(lab)


def test_a_killed_run_goes_on(measured, classified, tmp_path):
    lab, features = copied(measured, tmp_path / "lab")
    command = [sys.executable, stamp_lab.__file__, str(lab.folder), str(features)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=environment, start_new_session=True) as run:
        while not (before := spilled(lab)):
            assert run.poll() is None
            time.sleep(0.005)
        os.killpg(run.pid, signal.SIGKILL)
    assert before and not list(lab.catalogue.rglob("groups/*/*.json"))
    again = lab.run(features)
    assert [entry.sha256 for entry in again.tiles] == [entry.sha256 for entry in classified[2].tiles]


def test_stamps_without_a_usable_pixel_are_not_asked_about(measured, tmp_path):
    """One tile has no light in a corner, another none in one band."""
    lab, features = copied(measured, tmp_path / "lab")
    image, windows = image_files.mosaic(), image_files.windows()
    dark, blind = image.copy(), image.copy()
    dark[:, :160, :160] = np.nan
    blind[0] = np.nan
    for name, pixels in (("00", dark), ("11", blind)):
        image_files.write_tile(lab.folder / "images", name, *windows[name], image=pixels)
    tiling.plan_images(lab.chain.run, lab.chain.survey, lab.chain.output, workers=1)
    images = SourceImages.open(lab.chain.survey, lab.group_files)
    rows = lab.rows(lab.run(features, images=images))
    x, y = image_files.field_wcs().all_world2pix(rows["coord_ra"], rows["coord_dec"], 0)
    numbers, names = images.numbers(rows["objectId"]), numbers_by_name(images)
    inside = (numbers == names["tile=00"]) & (np.maximum(x, y) < 160 - SIZE / 2 - 1)
    unscorable = rows["flags"] & UNSCORABLE.mask != 0
    assert inside.sum() > 10 and unscorable[inside].all()
    np.testing.assert_array_equal(unscorable, rows["coverage_frac"] == 0)
    np.testing.assert_array_equal(rows["class"] == -1, unscorable)
    assert (rows["bands_missing"][unscorable] == 0b111).all()
    one_band = numbers == names["tile=11"]
    assert (rows["bands_missing"][one_band] == 0b001).all() and (rows["class"][one_band] == 1).all()
    np.testing.assert_allclose(rows["coverage_frac"][one_band].max(), 2 / 3, atol=1e-3)


def test_a_model_may_tell_its_distance(measured, tmp_path):
    lab, features = copied(measured, tmp_path / "lab")
    write_stamp_model(lab.model, distance=True)
    rows = lab.rows(lab.run(features))
    weight = 1 / image_files.NOISE_nJy["g"] ** 2
    whole = rows["coverage_frac"] == 1
    np.testing.assert_array_equal(rows["training_distance"][whole], np.float16(weight))
    assert (rows["training_distance"][~whole] < weight).all()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"stamps": {"size_px": 32}}, ComputeError, r"'flux': expected .*\(n, 3, 32, 32\).*'inverse_variance': expec"),
        ({"stamps": {"bands": ["g", "r"]}}, ComputeError, r"expected .*\(n, 2, 48, 48\).*found .*'n', 3, 48, 48"),
        (
            {"bands": ["g", "z", "i"]},
            ModelFileError,
            r"looks at the bands g, z, i; survey 'pictures' has no z, only g, r",
        ),
        ({"stamps": {"pixel_scale_arcsec": 0.26}}, ComputeError, r"pixels are of 0\.2 arcsec.*of 0\.26; set stamps"),
    ],
)
def test_a_model_that_does_not_fit_the_images_is_refused(measured, tmp_path, changes, error, message):
    lab, features = copied(measured, tmp_path / "lab")
    write_stamp_model(lab.model, **changes)
    with pytest.raises(error, match=message):
        lab.run(features)
    assert not list(lab.catalogue.rglob("*.zarr.zip"))


def test_a_model_of_stamps_needs_images_and_one_of_features_takes_none(measured, tmp_path):
    lab, features = copied(measured, tmp_path / "lab")
    settings = {"settings": InferenceSettings(), "compute": ComputeSettings(scheduler=NO_CLUSTER), "workers": 1}
    with pytest.raises(ModelFileError, match="looks at stamps, there are no images"):
        inference.run(features, lab.model, output=tmp_path, model="m", **settings)
    lab.model.write_bytes(published_run.model_bytes(1.0))
    with pytest.raises(ModelFileError, match="expected a model that looks at stamps, found one of features"):
        lab.run(features)
