"""Label tables: what is used, what is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from skymill.config import LabelSettings, SurveyConfig
from skymill.survey import TableError, labels_digest, open_survey, read_labels

ID = {"column": "id"}
SKY = {"match": "sky", "ra": {"column": "ra", "unit": "deg"}, "dec": {"column": "dec", "unit": "deg"}}
SURVEY = SurveyConfig(
    name="s", format="simulated", bands=list("ugrizy"), simulation={"rows": 10_000, "area_deg2": 1.0, "bad_rows": 0.1}
)


def settings(path: Path, **keys: Any) -> LabelSettings:
    return LabelSettings(**({"path": str(path), "column": "class", "classes": ["STAR", "GALAXY"]} | keys))


@pytest.fixture
def table() -> pa.Table:
    return pa.table(
        {
            "id": pa.array([2**60 + 1, 2, None, 4, 5, 6], pa.int64()),
            "class": pa.array(["GALAXY", "STAR", "STAR", None, "QSO", "QSO"]).dictionary_encode(),
            "ra": [-1.0, 10.0, 20.0, 30.0, np.nan, 5.88e8],
            "dec": [0.0, 91.0, 5.0, 0.0, 0.0, 0.0],
            "pmra": pa.array([1.0, 2.0, None, 4.0, 5.0, 6.0]),
            "pmdec": pa.array([-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]),
        }
    )


def test_by_id_every_row_is_used_or_counted(table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "t.parquet")
    labels = read_labels(settings(tmp_path / "t.parquet", id=ID), SURVEY)
    assert labels.object_id.tolist() == [2**60 + 1, 2] and labels.row.tolist() == [0, 1]
    assert labels.label.tolist() == ["GALAXY", "STAR"] and labels.ra is None
    assert labels.counts == {"rows": 6, "used": 2, "no_class": 1, "other_class": 2, "id_missing": 1}
    assert labels.other_classes == {"QSO": 2}


def test_by_sky_positions_pass_the_same_checks(table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "t.parquet")
    motion = {"pm_ra": "pmra", "pm_dec": "pmdec", "epoch": 2016.0}
    labels = read_labels(settings(tmp_path / "t.parquet", **SKY, **motion), SURVEY)
    assert labels.ra.tolist() == [359.0, 20.0] and labels.dec.tolist() == [0.0, 5.0]
    assert labels.pm_ra.tolist() == [1.0, 0.0] and labels.pm_dec.tolist() == [-1.0, -3.0]
    assert labels.counts["dec_out_of_range"] == 1 and labels.counts["pm_ra_missing"] == 1
    assert labels.object_id is None


def test_a_folder_is_one_table_and_fits_gives_the_same(table: pa.Table, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    pq.write_table(table.slice(0, 1), tmp_path / "folder" / "1.parquet")
    pq.write_table(table.slice(1, 1), tmp_path / "folder" / "2.parquet")
    Table({"id": [2**60 + 1, 2], "class": ["GALAXY", "STAR"]}).write(tmp_path / "t.fits")
    folder = read_labels(settings(tmp_path / "folder", id=ID), SURVEY)
    flat = read_labels(settings(tmp_path / "t.fits", id=ID, format="fits"), SURVEY)
    for name in ("row", "label", "object_id"):
        np.testing.assert_array_equal(getattr(folder, name), getattr(flat, name))
    assert folder.counts == flat.counts


def test_classes_may_be_numbers(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1, 2, 3], "class": [0, 1, 2]}), tmp_path / "t.parquet")
    labels = read_labels(settings(tmp_path / "t.parquet", id=ID, classes=["1", "0"]), SURVEY)
    assert labels.label.tolist() == ["0", "1"] and labels.other_classes == {"2": 1}


def test_an_empty_table_gives_no_labels(table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(table.slice(0, 0), tmp_path / "t.parquet")
    labels = read_labels(settings(tmp_path / "t.parquet", **SKY), SURVEY)
    assert len(labels) == 0 and labels.ra.dtype == np.float64 and labels.counts["rows"] == 0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"column": "klass", "id": ID}, r"1 of 2 mapped columns are missing: 'klass' \(similar: class\)"),
        ({"column": "ra", "id": ID}, r"column 'ra' \(class\): expected text or integers, found double"),
        ({"id": {"column": "ra"}}, r"column 'ra' \(integer id\): expected integers, found double"),
    ],
)
def test_a_wrong_column_is_named(table: pa.Table, tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(TableError, match=r"t\.parquet: " + message):
        read_labels(settings(tmp_path / "t.parquet", **keys), SURVEY)


def test_the_digest_is_known_without_reading_and_follows_the_bytes(table: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(table, path)
    chosen = settings(path, id=ID)
    before = labels_digest(chosen, SURVEY)
    assert read_labels(chosen, SURVEY).digest == before
    pq.write_table(table.slice(1), path)
    assert labels_digest(chosen, SURVEY) != before


@pytest.mark.parametrize("match", ["id", "sky"])
def test_labels_of_the_simulated_survey_belong_to_its_sources(match: str) -> None:
    chosen = LabelSettings(format="simulated", column="class", classes=["STAR", "GALAXY", "QSO"], match=match)
    labels = read_labels(chosen, SURVEY)
    survey = open_survey(SURVEY)
    blocks = [gated.block for part in survey.parts() for gated in survey.blocks(part)]
    assert labels.counts["used"] == labels.counts["rows"] > 500
    if match == "id":
        assert np.isin(labels.object_id, np.concatenate([block.object_id for block in blocks])).all()
    else:
        assert np.isin(labels.ra, np.concatenate([block.ra for block in blocks])).all()


def test_targets_are_read_as_they_stand_and_empty_cells_are_no_fault(table: pa.Table, tmp_path: Path) -> None:
    radius = pa.array([0.5, None, 1.5, 2.5, 3.5, 4.5])
    pq.write_table(table.append_column("half_light_radius", radius), tmp_path / "t.parquet")
    labels = read_labels(settings(tmp_path / "t.parquet", id=ID, targets=["half_light_radius"]), SURVEY)
    np.testing.assert_array_equal(labels.targets["half_light_radius"], np.float32([0.5, np.nan]))
    assert labels.counts["used"] == 2
    assert read_labels(settings(tmp_path / "t.parquet", id=ID), SURVEY).targets == {}


def test_a_target_that_is_no_column_is_named_with_the_mend(table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(TableError, match=r"mag_i.*correct labels\.column, labels\.targets or labels\.id"):
        read_labels(settings(tmp_path / "t.parquet", id=ID, targets=["mag_i"]), SURVEY)
    simulated = LabelSettings(format="simulated", column="class", classes=["STAR", "GALAXY"], targets=["mag_i"])
    with pytest.raises(TableError, match=r"labels\.targets: mag_i: no column .* simulated as a table"):
        read_labels(simulated, SURVEY)


def test_a_rendered_survey_tells_the_structure_of_its_galaxies_alone() -> None:
    render = {"tiles": [1, 1], "tile_px": 256, "seed": 4, "stars": 40}
    survey = SurveyConfig(
        name="s", format="images", bands=list("ugrizy"), images={"layout": "rendered", "render": render}
    )
    targets = ["mag_i", "half_light_radius", "axis_ratio", "bulge_fraction"]
    labels = read_labels(
        LabelSettings(format="simulated", column="class", classes=["STAR", "GALAXY"], match="sky", targets=targets),
        survey,
    )
    galaxy = labels.label == "GALAXY"
    assert galaxy.any() and not galaxy.all()
    for name in targets:
        np.testing.assert_array_equal(np.isfinite(labels.targets[name]), galaxy)
    assert (labels.targets["mag_i"][galaxy] < 25).all() and (labels.targets["axis_ratio"][galaxy] <= 1).all()


def test_votes_are_counted_by_question_and_answer_and_an_empty_cell_is_none(table: pa.Table, tmp_path: Path) -> None:
    counts = {"n_smooth": pa.array([30, None, 1, 1, 1, 1]), "n_disc": pa.array([10.0, np.nan, 2, 3, 4, 5])}
    for name, values in counts.items():
        table = table.append_column(name, values)
    pq.write_table(table, tmp_path / "t.parquet")
    votes = {"shape": {"smooth": "n_smooth", "disc": "n_disc"}}
    labels = read_labels(settings(tmp_path / "t.parquet", id=ID, votes=votes), SURVEY)
    assert {name: values.tolist() for name, values in labels.votes.items()} == {
        "shape_smooth": [30.0, 0.0],
        "shape_disc": [10.0, 0.0],
    }
    assert read_labels(settings(tmp_path / "t.parquet", id=ID), SURVEY).votes == {}


def test_votes_that_are_no_counts_or_have_no_column_are_refused(table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "t.parquet")
    votes = {"shape": {"smooth": "pmra", "disc": "pmdec"}}
    with pytest.raises(TableError, match="column 'pmdec': expected counts of votes, found -6"):
        read_labels(settings(tmp_path / "t.parquet", id=ID, votes=votes), SURVEY)
    votes = {"shape": {"smooth": "n_smooth", "disc": "pmra"}}
    with pytest.raises(TableError, match=r"n_smooth.*correct labels\.column, labels\.votes or labels\.id"):
        read_labels(settings(tmp_path / "t.parquet", id=ID, votes=votes), SURVEY)
    simulated = LabelSettings(format="simulated", column="class", classes=["STAR", "GALAXY"], votes=votes)
    with pytest.raises(TableError, match=r"labels\.votes: n_smooth, pmra: no column .* none \(it is simulated"):
        read_labels(simulated, SURVEY)


def test_a_question_has_two_answers_or_more_each_with_its_own_column() -> None:
    with pytest.raises(ValueError, match=r"votes\.shape: expected two answers or more, found \['smooth'\]"):
        settings(Path("t"), id=ID, votes={"shape": {"smooth": "a"}})
    with pytest.raises(ValueError, match="votes: each answer has a column of its own, found a more than once"):
        settings(Path("t"), id=ID, votes={"shape": {"smooth": "a", "disc": "a"}})
    alike = {"bar": {"strong_yes": "a", "no": "b"}, "bar_strong": {"yes": "c", "no": "d"}}
    with pytest.raises(ValueError, match=r"a name \(question_answer\) of its own, found bar_strong_yes more than once"):
        settings(Path("t"), id=ID, votes=alike)
