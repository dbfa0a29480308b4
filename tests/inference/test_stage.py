"""A group of feature tiles to a group of classified tiles."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from skymill.compute import GroupLockedError, group_lock
from skymill.config.run import InferenceSettings
from skymill.inference import InferenceError, MissingFeaturesError, settings_digest
from skymill.inference.kernel import OUTSIDE_TRAINING
from skymill.inference.settings import algorithm
from skymill.models.conformal import ConformalSets
from skymill.sessions.entry import ModelFileError
from skymill.store import GroupManifest, Pool, Quarantined, file_sha256, read_tile

ROWS = 2_500
NO_CLUSTER = "tcp://127.0.0.1:9"
"""Nobody answers there: a run that asks for a cluster fails."""
IDENTITY = ("objectId", "_healpix_29", "coord_ra", "coord_dec", "flags")


@pytest.mark.parametrize("columns", [[0, 1, 2, 3], [2, 3, 0]], ids=["all features", "some in another order"])
def test_tiles_hold_what_the_model_says(lab, columns):
    names = tuple(lab.names[column] for column in columns)
    lab.onnx.write_bytes(lab.model_bytes(names))
    manifest = GroupManifest.read(lab.run())
    assert manifest.settings == settings_digest(file_sha256(lab.onnx), InferenceSettings(block_rows=512))
    assert [entry.n_rows for entry in manifest.tiles] == [ROWS] * 3
    measures = [column for column in columns if column != 3]
    for entry, source in zip(manifest.tiles, GroupManifest.read(lab.features).tiles, strict=True):
        tile = read_tile(Pool(lab.output / "catalogues" / "m").path(entry.tile, entry.key))
        features = read_tile(Pool(lab.output / "catalogues" / "features").path(source.tile, source.key))
        values = features["features"].values
        measured = np.isfinite(values[:, measures]).any(axis=1)
        expected = np.where(measured[:, None], lab.softmax(values, names), np.nan)
        np.testing.assert_allclose(tile["probabilities"].values, expected, atol=2e-6)
        best = np.where(measured, lab.softmax(values, names).argmax(axis=1), -1)
        np.testing.assert_array_equal(tile["class"].values, best)
        np.testing.assert_array_equal(tile["flags"].values & 3, features["flags"].values)


def test_ids_positions_and_descriptions_are_carried_on(lab):
    manifest = GroupManifest.read(lab.run())
    for entry, source in zip(manifest.tiles, GroupManifest.read(lab.features).tiles, strict=True):
        tile = read_tile(Pool(lab.output / "catalogues" / "m").path(entry.tile, entry.key))
        features = read_tile(Pool(lab.output / "catalogues" / "features").path(source.tile, source.key))
        assert list(tile.data_vars) == [*IDENTITY, "probabilities", "class", "entropy"]
        for name in set(IDENTITY) - {"flags"}:
            np.testing.assert_array_equal(tile[name], features[name])
            assert tile[name].attrs == features[name].attrs
        assert tile["class"].attrs["flag_meanings"].split() == ["not_scored", *lab.classes]
        assert tile.attrs["receipt"]["ingredients"]["algorithm"] == algorithm()


def test_tiles_hold_the_conformal_sets_of_a_model_that_has_thresholds(lab):
    middle = np.median(lab.softmax(lab.matrix(ROWS, 1)), axis=0)
    sets = ConformalSets(0.9, tuple(float(np.float32(value)) for value in middle))
    lab.onnx.write_bytes(lab.model_bytes(conformal=sets))
    for entry in GroupManifest.read(lab.run()).tiles:
        tile = read_tile(Pool(lab.output / "catalogues" / "m").path(entry.tile, entry.key))
        inside = sets.contain(tile["probabilities"].values)
        np.testing.assert_array_equal(tile["conformal_set"].values, inside @ [1, 2, 4])
        assert len(np.unique(tile["conformal_set"])) >= 4
        assert (tile["conformal_set"].values[tile["class"].values == -1] == 0).all()
        assert tile["conformal_set"].attrs["flag_masks"] == [1, 2, 4]
        assert tile["conformal_set"].attrs["flag_meanings"].split() == list(lab.classes)
        assert "0.9" in tile["conformal_set"].attrs["long_name"]


def test_a_model_that_tells_its_distance_adds_a_column_and_a_flag(lab):
    lab.onnx.write_bytes(lab.model_bytes(distance=True))
    manifest = GroupManifest.read(lab.run())
    n_outside = 0
    for entry, source in zip(manifest.tiles, GroupManifest.read(lab.features).tiles, strict=True):
        tile = read_tile(Pool(lab.output / "catalogues" / "m").path(entry.tile, entry.key))
        features = read_tile(Pool(lab.output / "catalogues" / "features").path(source.tile, source.key))
        first = features["features"].values[:, 0]
        expected = np.where(np.isfinite(first), np.abs(first - np.float32(20)) / 2, 0)
        scored = tile["class"].values >= 0
        assert tile["training_distance"].dtype == np.float16
        np.testing.assert_array_equal(
            tile["training_distance"].values, np.where(scored, expected, np.nan).astype(np.float16)
        )
        outside = tile["flags"].values & OUTSIDE_TRAINING.mask != 0
        np.testing.assert_array_equal(outside, scored & (expected > 1))
        assert "outside_training" in tile["flags"].attrs["flag_meanings"].split()
        n_outside += int(outside.sum())
    assert manifest.accounting.flagged["outside_training"] == n_outside > 1_000


def test_every_source_is_accounted_for(lab):
    manifest = GroupManifest.read(lab.run())
    accounting = manifest.accounting.check()
    assert accounting.n_in == 3 * ROWS and accounting.n_ok + accounting.n_flagged == 3 * ROWS
    assert accounting.flagged["unscorable"] >= 3 * 2 * ROWS // 50
    assert accounting.flagged["flux_missing"] == 3 * 358
    assert "model_failed" not in accounting.flagged


def test_a_model_that_cannot_do_without_a_feature_is_flagged_not_ranked(lab):
    lab.onnx.write_bytes(lab.model_bytes(impute=False))
    manifest = GroupManifest.read(lab.run())
    assert manifest.accounting.flagged["model_failed"] > 100
    entry = manifest.tiles[0]
    tile = read_tile(Pool(lab.output / "catalogues" / "m").path(entry.tile, entry.key))
    failed = np.isnan(tile["probabilities"].values).any(axis=1)
    assert (tile["class"].values[failed] == -1).all() and (tile["class"].values[~failed] >= 0).all()


def test_one_and_two_workers_write_the_same_bytes(lab):
    first_manifest = lab.run(workers=1, scheduler="local").read_bytes()
    first = lab.tiles()
    for path in (lab.output / "catalogues" / "m").rglob("*.zarr.zip"):
        path.unlink()
    assert lab.run(workers=2, scheduler="local").read_bytes() == first_manifest
    assert lab.tiles() == first and len(first) == 3


def test_only_a_missing_tile_is_made_again_and_a_whole_group_needs_no_cluster(lab):
    manifest = lab.run()
    first, content = lab.tiles(), manifest.read_bytes()
    root = lab.output / "catalogues" / "m" / "tiles"
    times = {name: (root / name).stat().st_mtime_ns for name in first}
    gone = sorted(first)[1]
    (root / gone).unlink()
    manifest.unlink()
    lab.run()
    assert lab.tiles() == first and manifest.read_bytes() == content
    changed = [name for name in first if (root / name).stat().st_mtime_ns != times[name]]
    assert changed == [gone]
    assert lab.run(scheduler=NO_CLUSTER).read_bytes() == content


def test_a_group_that_another_run_makes_is_refused_and_a_dead_one_is_swept_up(lab, leave):
    manifest = lab.run()
    left = leave(lab.output / "catalogues" / "m" / ".staging")
    lock = manifest.with_suffix(".lock")
    with group_lock(lock), pytest.raises(GroupLockedError, match=f"by process {os.getpid()} on"):
        lab.run()
    assert left.exists()
    lab.run()
    assert not left.exists()


def test_another_model_makes_other_tiles_and_keeps_the_old(lab):
    before = lab.run()
    first = lab.tiles()
    lab.onnx.write_bytes(lab.model_bytes(("size", "g_mag", "g_missing")))
    assert lab.run() != before
    assert len(lab.tiles()) == 6 and first.items() <= lab.tiles().items()


def test_a_bad_tile_is_quarantined_within_the_limit(lab):
    entry = GroupManifest.read(lab.features).tiles[1]
    bad = Pool(lab.output / "catalogues" / "features").path(entry.tile, entry.key)
    bad.write_bytes(bad.read_bytes()[:5_000])
    with pytest.raises(InferenceError, match=r"1 tiles failed.*allows 0") as caught:
        lab.run()
    assert str(entry.tile) in str(caught.value) and "2 finished tiles are kept" in str(caught.value)
    assert not list((lab.output / "catalogues" / "m").rglob("groups/*/*.json"))
    assert len(lab.tiles()) == 2
    manifest = GroupManifest.read(lab.run(max_quarantined=1))
    [quarantined] = manifest.quarantined
    assert quarantined.tile == entry.tile and quarantined.n_in == ROWS and "CorruptTile" in quarantined.reason
    accounting = manifest.accounting.check()
    assert accounting.n_in == 3 * ROWS and accounting.n_quarantined == ROWS


def test_tiles_without_features_are_carried_on(lab):
    group = GroupManifest.read(lab.features)
    *tiles, last = group.tiles
    lost = Quarantined(*last.tile, last.key, "burnt", last.n_rows)
    replace(group, tiles=tuple(tiles), quarantined=(lost,)).write(lab.features)
    manifest = GroupManifest.read(lab.run())
    assert [entry.reason for entry in manifest.quarantined] == ["no features: burnt"]
    assert manifest.accounting.n_in == 3 * ROWS


def test_every_missing_feature_is_named_before_a_cluster_starts(lab):
    lab.onnx.write_bytes(lab.model_bytes(("g_mag", "redness", "roundness")))
    with pytest.raises(
        MissingFeaturesError, match="needs 2 features that the catalogue lacks: redness, roundness; it has g_mag"
    ):
        lab.run(scheduler=NO_CLUSTER)


def test_an_onnx_file_without_metadata_is_refused(lab):
    import onnx

    model = onnx.load(lab.onnx)
    del model.metadata_props[:]
    onnx.save(model, lab.onnx)
    with pytest.raises(ModelFileError, match="no metadata entry 'skymill'"):
        lab.run()
