"""The training set: from feature tiles and a label table to one content-addressed file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skymill.config import RunConfig, SurveyConfig
from skymill.sky import Tile, at_order, order29, separation_arcsec
from skymill.store import Accounting, GroupManifest, Pool, TileEntry, Variable, write_tile
from skymill.survey import Survey, TableError
from skymill.training.arrays import TrainingSetError
from skymill.training.leaks import LeakageError
from skymill.training.settings import set_settings
from skymill.training.split import split_of_positions
from skymill.training.training_set import make_set

FEATURES = [
    {"name": "i_asinh_mag", "unit": "mag", "definition": "", "group": "photometric", "indicator": False},
    {"name": "i_missing", "unit": "", "definition": "", "group": "missing", "indicator": True},
    {"name": "zz", "unit": "", "definition": "", "group": "value", "indicator": False},
]
CLASSES = ["star", "galaxy"]
N = 3000


def sources(n: int = N) -> dict[str, np.ndarray]:
    """Sources around RA 0 and the border of many tiles, with ids above 2^53; the last one has no magnitude."""
    generator = np.random.default_rng(11)
    ra, dec = generator.uniform(-8, 8, n) % 360, generator.uniform(-8, 8, n)
    label = generator.integers(0, 2, n)
    magnitude = 20 + label + generator.normal(0, 1, n)
    magnitude[-1] = np.nan
    features = np.stack([magnitude, np.isnan(magnitude), label + generator.normal(0, 0.1, n)], axis=1).astype("f4")
    return {"id": 2**60 + np.arange(n) * 3, "ra": ra, "dec": dec, "label": label, "features": features}


def write_catalogue(folder: Path, table: dict[str, np.ndarray], *, order: int = 2, group: str = "o0p0") -> Path:
    """Feature tiles and the manifest of their group."""
    index = order29(table["ra"], table["dec"])
    pool, entries = Pool(folder / "catalogues/features"), []
    for pixel in np.unique(at_order(index, order)):
        rows = np.flatnonzero(at_order(index, order) == pixel)
        rows = rows[np.lexsort((table["id"][rows], index[rows]))]
        names = tuple(feature["name"] for feature in FEATURES)
        content = {
            "objectId": Variable(table["id"][rows]), "_healpix_29": Variable(index[rows]),
            "coord_ra": Variable(table["ra"][rows]), "coord_dec": Variable(table["dec"][rows]),
            "flags": Variable(np.zeros(len(rows), "i4")),
            "features": Variable(table["features"][rows], ("source", "feature"), {}, names),
        }  # fmt: skip
        tile, key = Tile(order, int(pixel)), f"{pixel:064x}"
        file = write_tile(pool.path(tile, key), content, attrs={"features": FEATURES}, chunk_rows=50)
        n = len(rows)
        entries.append(TileEntry(*tile, key, file.sha256, file.n_bytes, n, Accounting(n_in=n, n_ok=n)))
    path = folder / f"catalogues/features/groups/000000000000/{group}.json"
    GroupManifest("features", "000000000000", group, {}, tuple(entries)).write(path)
    return path


def write_labels(folder: Path, **columns: Any) -> Path:
    path = folder / "labels.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def survey(**changes: Any) -> Survey:
    content = {
        "name": "toy", "format": "parquet", "path": "toy.parquet", "bands": ["i"], "id": {"column": "id"},
        "ra": {"column": "ra", "unit": "deg"}, "dec": {"column": "dec", "unit": "deg"},
    }  # fmt: skip
    return Survey(SurveyConfig.model_validate(content | changes), part_rows=10**6)


def run(labels: Path, *, split: dict[str, Any] | None = None, **changes: Any) -> RunConfig:
    described = {"path": str(labels), "column": "class", "classes": CLASSES, "id": {"column": "id"}} | changes
    content = {"name": "t", "survey": "toy.yaml", "labels": described, "split": {"order": 4, **(split or {})}}
    return RunConfig.model_validate(content)


SKY = {"match": "sky", "ra": {"column": "ra", "unit": "deg"}, "dec": {"column": "dec", "unit": "deg"}}


def label_all(folder: Path, table: dict[str, np.ndarray]) -> Path:
    names = np.array(CLASSES)[table["label"]]
    return write_labels(folder, **{"id": table["id"], "ra": table["ra"], "dec": table["dec"], "class": names})


def made(path: Path) -> tuple[dict[str, Any], pa.Table]:
    described = json.loads(path.read_text())
    return described, pq.read_table(path.parent / described["file"])


@pytest.fixture
def table() -> dict[str, np.ndarray]:
    return sources()


def test_the_set_holds_the_matched_sources_with_their_features_split_by_sky(tmp_path: Path, table):
    manifest = write_catalogue(tmp_path, table)
    settings = run(label_all(tmp_path, table))
    described, rows = made(make_set(settings, survey(), [manifest], tmp_path))
    columns = {name: rows[name].to_numpy() for name in rows.column_names}
    assert list(columns) == [
        "objectId", "_healpix_29", "coord_ra", "coord_dec", "label", "split", "magnitude",
        "i_asinh_mag", "i_missing", "zz",
    ]  # fmt: skip
    place = {int(identity): number for number, identity in enumerate(table["id"])}
    row = np.array([place[int(identity)] for identity in columns["objectId"]])
    assert np.array_equal(columns["label"], table["label"][row]) and columns["label"].dtype == np.int8
    assert np.array_equal(columns["zz"], table["features"][row, 2])
    assert np.array_equal(columns["magnitude"], columns["i_asinh_mag"])
    assert (np.diff(columns["_healpix_29"]) >= 0).all()

    split = settings.split
    expected = split_of_positions(
        table["ra"], table["dec"], order=4, seed=0, validation=split.validation, test=split.test, guard_arcsec=30.0
    )
    assert np.array_equal(np.array(["train", "validation", "test"])[expected[row]], columns["split"])
    measured = np.isfinite(table["features"][:, 0])
    assert set(row) == set(np.flatnonzero((expected >= 0) & measured))
    counts = described["sources"]
    assert counts == {"matched": N, "used": len(row), "guard": int((measured & (expected < 0)).sum()), "unmeasured": 1}
    assert described["labels"]["rows"] == described["labels"]["matched"] == N
    assert json.loads(rows.schema.metadata[b"skymill"])["classes"] == CLASSES


def test_by_position_as_by_id_whatever_the_tiling(tmp_path: Path, table):
    names = []
    for number, (order, match) in enumerate([(2, {}), (0, SKY), (5, SKY)]):
        folder = tmp_path / str(number)
        manifest = write_catalogue(folder, table, order=order)
        settings = run(label_all(folder, table), **match, **({"ambiguity": "nearest"} if match else {}))
        names.append(json.loads(make_set(settings, survey(), [manifest], folder).read_text())["set"])
    assert len(set(names)) == 1


def test_positions_slightly_off_match_across_tile_borders_and_ra_0(tmp_path: Path, table):
    # A label whose order-5 pixel is not its source's: only a search that looks over the border finds the source.
    generator = np.random.default_rng(2)
    shifted = {**table, "ra": (table["ra"] + 0.9 / 3600 * generator.choice([-1, 1], N)) % 360}
    crossing = at_order(order29(shifted["ra"], table["dec"]), 5) != at_order(order29(table["ra"], table["dec"]), 5)
    assert crossing.sum() >= 1
    separation = separation_arcsec(table["ra"], table["dec"], shifted["ra"], table["dec"])
    assert separation.min() > 0.8 and separation.max() < 1.0
    settings = run(label_all(tmp_path, shifted), **SKY, ambiguity="nearest")
    described, _ = made(make_set(settings, survey(), [write_catalogue(tmp_path, table, order=5)], tmp_path))
    assert described["labels"]["matched"] == N


def test_a_lone_label_finds_its_source_over_the_border_of_the_search(tmp_path: Path):
    """Tiles are searched near labels only, pixel of order 10 by pixel: nothing else draws the search to the source."""
    ra, dec = np.arange(0, 0.2, 0.3 / 3600), np.full(2400, 10.0)
    border = np.flatnonzero(np.diff(at_order(order29(ra, dec), 10)))[0]
    source, label = ra[[border]], ra[[border + 1]]
    features = np.array([[20, 0, 0]], "f4")
    manifest = write_catalogue(tmp_path, {"id": np.array([7]), "ra": source, "dec": dec[:1], "features": features})
    positions = {"ra": np.append(label, 180.0), "dec": dec[:2]}
    labels = write_labels(tmp_path, **positions, **{"class": ["star", "galaxy"]})
    with pytest.raises(TrainingSetError, match=r"found 1 of star only \(2 rows, 1 matched, 1 unmatched\)"):
        make_set(run(labels, **SKY), survey(), [manifest], tmp_path)


def test_labels_are_carried_to_the_epoch_of_the_survey(tmp_path: Path, table):
    """16 years of 500 mas/yr to the east, over RA 0 for some, and 300 mas/yr to the north, far from the equator."""
    table["dec"] += 60
    table["ra"][:20] = 5 / 3600
    east, north = (16 * np.full(N, motion) / 3.6e6 for motion in (500.0, 300.0))  # deg
    old = (table["ra"] - east / np.cos(np.radians(table["dec"]))) % 360
    assert (old[:20] > 359).all()
    labels = write_labels(
        tmp_path, ra=old, dec=table["dec"] - north, pm_ra=np.full(N, 500.0), pm_dec=np.full(N, 300.0),
        **{"class": np.array(CLASSES)[table["label"]]},
    )  # fmt: skip
    manifest = write_catalogue(tmp_path, table)
    moving = {**SKY, "pm_ra": "pm_ra", "pm_dec": "pm_dec", "epoch": 2000.0, "radius_arcsec": 0.1}
    settings = run(labels, **moving, split={"order": 5})
    described, _ = made(make_set(settings, survey(epoch=2016.0), [manifest], tmp_path))
    assert described["labels"]["matched"] == N
    with pytest.raises(TrainingSetError, match="set `epoch` in the survey's file"):
        make_set(settings, survey(), [manifest], tmp_path)
    with pytest.raises(
        TrainingSetError, match=r"of 3000 labels lie on the survey's tiles, but none within 1\.0 arcsec"
    ):
        make_set(run(labels, **SKY), survey(), [manifest], tmp_path)


def test_every_label_is_accounted_for(tmp_path: Path, table):
    names = np.array(CLASSES)[table["label"]].astype(object)
    identities = table["id"].copy()
    names[:5] = "quasar"  # not asked for
    names[5:7] = None  # no class
    identities[7:10] = np.arange(3)  # of no source
    identities[11] = identities[10]
    names[11] = names[10]  # the same twice
    identities[13], names[12], names[13] = identities[12], "star", "galaxy"  # one source, two classes
    labels = write_labels(tmp_path, **{"id": identities, "class": pa.array(names, pa.string())})
    described, _ = made(make_set(run(labels), survey(), [write_catalogue(tmp_path, table)], tmp_path))
    counts = described["labels"]
    assert counts["other_classes"] == {"quasar": 5}
    told = {name: count for name, count in counts.items() if isinstance(count, int) and count}
    assert told == {
        "rows": N, "other_class": 5, "no_class": 2, "unmatched": 3, "duplicate": 1, "conflicting": 2, "matched": N - 13,
    }  # fmt: skip


def test_equal_content_is_one_file_left_alone_and_a_changed_label_another(tmp_path: Path, table):
    manifest, labels = write_catalogue(tmp_path, table), label_all(tmp_path, table)
    first, _ = made(make_set(run(labels), survey(), [manifest], tmp_path))
    path = tmp_path / "training" / first["file"]
    before = path.stat().st_mtime_ns
    make_set(run(labels), survey(), [manifest], tmp_path)
    assert path.stat().st_mtime_ns == before and len(list(path.parent.glob("*.parquet"))) == 1
    flipped = {**table, "label": np.where(np.arange(N) == 3, 1 - table["label"], table["label"])}
    second, _ = made(make_set(run(label_all(tmp_path, flipped)), survey(), [manifest], tmp_path))
    assert second["set"] != first["set"]


def test_new_sky_and_new_labels_without_sources_leave_the_set_as_it_is(tmp_path: Path, table):
    manifest, labels = write_catalogue(tmp_path, table), label_all(tmp_path, table)
    first = json.loads(make_set(run(labels), survey(), [manifest], tmp_path).read_text())
    elsewhere = {**table, "ra": (table["ra"] + 180) % 360, "id": table["id"] + 10**9}
    more = write_catalogue(tmp_path, elsewhere, group="o0p9")
    longer = {name: np.concatenate([column, column[:4]]) for name, column in table.items()}
    longer["id"][-4:] = [1, 2, 3, 4]
    second = json.loads(make_set(run(label_all(tmp_path, longer)), survey(), [manifest, more], tmp_path).read_text())
    assert second["set"] == first["set"] and second["labels"]["unmatched"] == 4


def test_the_audit_names_a_column_that_holds_the_answer(tmp_path: Path, table):
    described, rows = made(
        make_set(run(label_all(tmp_path, table)), survey(), [write_catalogue(tmp_path, table)], tmp_path)
    )
    [suspect] = described["audit"]["suspects"]
    assert (suspect["name"], suspect["reason"]) == ("zz", "score")
    assert json.loads(rows.schema.metadata[b"skymill"])["suspects"] == [suspect]
    assert described["audit"]["close_pairs"] == described["audit"]["shared_ids"] == 0
    assert described["audit"]["train_against_test"]["near_chance"]


def test_splits_that_are_too_close_are_refused(tmp_path: Path, table, monkeypatch: pytest.MonkeyPatch):
    """The audit does not trust the split: here neighbours are put into different ones."""
    table["ra"][1], table["dec"][1] = table["ra"][0] + 5 / 3600, table["dec"][0]
    monkeypatch.setattr("skymill.training.training_set.split_of_positions", lambda ra, dec, **_: np.arange(N) % 3)
    settings = run(label_all(tmp_path, table))
    with pytest.raises(LeakageError, match=r"and \d+ sources within 30\.0 arcsec of another split"):
        make_set(settings, survey(), [write_catalogue(tmp_path, table)], tmp_path)


def test_no_match_by_id_shows_both_kinds_of_id(tmp_path: Path, table):
    labels = label_all(tmp_path, {**table, "id": np.arange(N)})
    with pytest.raises(
        TrainingSetError,
        match=r"any of 3000 sources \(3000 rows, 3000 unmatched\).*\[0, 1, 2\].*labels\.id",
    ):
        make_set(run(labels), survey(), [write_catalogue(tmp_path, table)], tmp_path)


def test_labels_off_the_survey_point_to_the_units(tmp_path: Path, table):
    labels = label_all(tmp_path, {**table, "ra": 150 + table["ra"] / 24})
    with pytest.raises(TrainingSetError, match=r"no label lies on any tile.*units of labels\.ra"):
        make_set(run(labels, **SKY), survey(), [write_catalogue(tmp_path, table)], tmp_path)


def test_labels_of_one_class_are_refused(tmp_path: Path, table):
    elsewhere = np.where(table["label"] == 0, table["id"], np.arange(N))
    labels = label_all(tmp_path, {**table, "id": elsewhere})
    with pytest.raises(TrainingSetError, match=r"at least two classes, found \d+ of star only"):
        make_set(run(labels), survey(), [write_catalogue(tmp_path, table)], tmp_path)


def test_classes_of_other_names_are_listed(tmp_path: Path, table):
    message = r"class GALAXY, STAR in column 'class' .*; its classes: star \([\d,]+\), galaxy \([\d,]+\)"
    with pytest.raises(TableError, match=message):
        make_set(
            run(label_all(tmp_path, table), classes=["STAR", "GALAXY"]),
            survey(),
            [write_catalogue(tmp_path, table)],
            tmp_path,
        )


def test_a_class_of_another_name_is_not_taken_for_a_rare_one(tmp_path: Path, table):
    settings = run(label_all(tmp_path, table), classes=["star", "galaxies"])
    with pytest.raises(TableError, match=r"class galaxies in column 'class' .*galaxy \([\d,]+\).* labels\.classes"):
        make_set(settings, survey(), [write_catalogue(tmp_path, table)], tmp_path)


def test_a_class_missing_from_a_split_is_refused_with_the_mend(tmp_path: Path, table):
    settings = run(label_all(tmp_path, table), split={"order": 0})
    with pytest.raises(TrainingSetError, match=r"missing .* of (validation|test).*raise split\.order"):
        make_set(settings, survey(), [write_catalogue(tmp_path, table)], tmp_path)


def test_a_run_without_labels_is_refused(tmp_path: Path):
    bare = RunConfig.model_validate({"name": "t", "survey": "toy.yaml"})
    with pytest.raises(TrainingSetError, match="add the block `labels`"):
        make_set(bare, survey(), [], tmp_path)


def test_targets_are_columns_of_their_own_and_without_them_nothing_changes(tmp_path: Path, table):
    names, size = np.array(CLASSES)[table["label"]], np.arange(N, dtype=float)
    labels = write_labels(tmp_path, **{"id": table["id"], "class": names, "size": size})
    manifest = write_catalogue(tmp_path, table)
    _, rows = made(make_set(run(labels, targets=["size"]), survey(), [manifest], tmp_path))
    place = {int(identity): number for number, identity in enumerate(table["id"])}
    expected = np.float32([place[identity] for identity in rows["objectId"].to_pylist()])
    np.testing.assert_array_equal(rows["target_size"].to_numpy(), expected)
    assert json.loads(rows.schema.metadata[b"skymill"])["targets"] == ["size"]
    assert "targets" not in set_settings(run(labels))["labels"]
    assert set_settings(run(labels, targets=["size"]))["labels"]["targets"] == ["size"]
