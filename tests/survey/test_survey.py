"""Parts and blocks of a survey, whatever its format."""

from __future__ import annotations

import pickle  # noqa: TID251 (what Dask does with it)
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from skymill.config import load_survey
from skymill.survey import BLOCK_ROWS, TableError, inventory_digest, open_survey

EMBEDDED = {
    "name": "embedded",
    "format": "simulated",
    "bands": list("ugrizy"),
    "simulation": {"rows": 10_000, "area_deg2": 2.0, "bad_rows": 0.05},
}


def write(table: dict[str, np.ndarray], path: Path, **options: int) -> Path:
    if path.suffix == ".fits":
        Table(table).write(path)
    else:
        pq.write_table(pa.table(table), path, **options)
    return path


def read_all(survey) -> dict[str, np.ndarray]:
    blocks = [gated.block for part in survey.parts() for gated in survey.blocks(part)]
    joined = {
        name: np.concatenate([getattr(block, name) for block in blocks]) for name in ("object_id", "ra", "values")
    }
    return joined | {
        name: np.concatenate([block.photometry[name] for block in blocks]) for name in survey.schema.photometry
    }


@pytest.mark.parametrize("suffix", ["parquet", "fits"])
@pytest.mark.parametrize("part_rows", [1000, 70_000, 10**9])
def test_every_format_and_cutting_gives_the_same_sources(columns, survey_config, tmp_path, suffix, part_rows) -> None:
    table = columns(150_000)
    path = write(table, tmp_path / f"t.{suffix}", **({"row_group_size": 10_000} if suffix == "parquet" else {}))
    survey = open_survey(survey_config(path, format=suffix), part_rows=part_rows)
    parts = survey.parts()
    assert sum(part.n_rows for part in parts) == 150_000
    assert len({part.name for part in parts}) == len({part.digest for part in parts}) == len(parts)
    found = read_all(survey)
    for name in ("object_id", "ra"):
        np.testing.assert_array_equal(found[name], table[{"object_id": "id"}.get(name, name)])
    np.testing.assert_array_equal(found["values"], np.stack([table["size"], table["ebv"]], axis=1))
    np.testing.assert_array_equal(found["psfFlux"], np.stack([table["g_flux"], table["r_flux"]], axis=1))
    np.testing.assert_array_equal(found["psfFluxErr"], np.stack([table["g_fluxErr"], table["r_fluxErr"]], axis=1))


def test_blocks_are_bounded_and_rejected_rows_are_numbered_within_the_part(columns, survey_config, tmp_path) -> None:
    table = columns(BLOCK_ROWS + 5000)
    bad = [3, BLOCK_ROWS + 17]
    table["ra"][bad] = np.nan
    survey = open_survey(survey_config(write(table, tmp_path / "t.parquet")))
    [part] = survey.parts()
    gated = list(survey.blocks(part))
    assert [len(block) + len(rejected) for block, rejected in gated] == [BLOCK_ROWS, 5000]
    assert [rejected.row.tolist() for _, rejected in gated] == [[3], [BLOCK_ROWS + 17]]
    assert {rejected.part for _, rejected in gated} == {"t.parquet[0:267144]"}


@pytest.mark.parametrize("suffix", ["parquet", "fits"])
def test_an_empty_table_is_one_empty_part(columns, survey_config, tmp_path, suffix) -> None:
    survey = open_survey(survey_config(write(columns(0), tmp_path / f"t.{suffix}"), format=suffix))
    [part] = survey.parts()
    assert part.n_rows == 0
    assert sum(len(gated.block) for gated in survey.blocks(part)) == 0


def test_moving_the_survey_changes_no_part(columns, survey_config, tmp_path) -> None:
    (tmp_path / "here").mkdir()
    for number in (1, 2):
        write(columns(100 * number), tmp_path / "here" / f"{number}.parquet")
    here = open_survey(survey_config(tmp_path / "here"))
    parts, digest = here.parts(), inventory_digest(here)
    shutil.move(tmp_path / "here", tmp_path / "there")
    there = open_survey(survey_config(tmp_path / "there"))
    assert there.parts() == parts and inventory_digest(there) == digest
    assert len(read_all(there)["ra"]) == 300


def test_renaming_a_file_changes_its_name_but_not_its_digest(columns, survey_config, tmp_path) -> None:
    write(columns(10), tmp_path / "a.parquet")
    [before] = open_survey(survey_config(tmp_path)).parts()
    (tmp_path / "a.parquet").rename(tmp_path / "b.parquet")
    [after] = open_survey(survey_config(tmp_path)).parts()
    assert before.digest == after.digest and before.name != after.name


def test_changing_one_file_changes_its_parts_only(columns, survey_config, tmp_path) -> None:
    for number in (1, 2):
        write(columns(10), tmp_path / f"{number}.parquet")
    survey = open_survey(survey_config(tmp_path), cache=tmp_path / ".cache")
    before, digest = survey.parts(), inventory_digest(survey)
    write(columns(11), tmp_path / "2.parquet")
    after = survey.parts()
    assert before[0] == after[0] and before[1].digest != after[1].digest
    assert inventory_digest(survey) != digest


def test_survey_and_parts_travel_to_workers(columns, survey_config, tmp_path) -> None:
    survey = open_survey(survey_config(write(columns(50), tmp_path / "t.parquet")))
    copy, parts = pickle.loads(pickle.dumps((survey, survey.parts())))  # noqa: S301
    assert sum(len(gated.block) for part in parts for gated in copy.blocks(part)) == 50


def test_the_fault_of_the_second_file_is_named(columns, survey_config, tmp_path) -> None:
    write(columns(10), tmp_path / "1.parquet")
    write(columns(10) | {"id": np.arange(10.0)}, tmp_path / "2.parquet")
    with pytest.raises(TableError, match=r"2\.parquet: column 'id' \(integer id\): expected integers, found double"):
        open_survey(survey_config(tmp_path)).parts()


def test_missing_columns_of_a_fits_file_are_all_named(columns, survey_config, tmp_path) -> None:
    table = columns(10)
    del table["ebv"], table["r_fluxErr"]
    path = write(table, tmp_path / "t.fits")
    with pytest.raises(TableError, match=r"t\.fits: 2 of 9 mapped columns are missing: 'r_fluxErr' \(similar: .*'ebv'"):
        open_survey(survey_config(path, format="fits")).parts()


def test_an_absent_path_is_refused_at_once(survey_config, tmp_path) -> None:
    with pytest.raises(TableError, match=r"survey 'small': .*absent\.parquet: no such file or folder"):
        open_survey(survey_config(tmp_path / "absent.parquet"))


def test_two_columns_of_one_name_are_refused(survey_config, tmp_path) -> None:
    with pytest.raises(TableError, match=r"values\.ebv: this name is taken"):
        open_survey(survey_config(tmp_path, values={"ebv": {"column": "x", "unit": "mag"}}))
    flux = {"column": "{band}", "unit": "nJy"}
    with pytest.raises(TableError, match="named like another's error"):
        open_survey(survey_config(tmp_path, photometry={"a": flux, "aErr": flux}))


def test_the_schema_says_what_a_block_holds(survey_config, tmp_path) -> None:
    schema = open_survey(survey_config(tmp_path)).schema
    assert schema.bands == ("g", "r") and schema.photometry == ("psfFlux", "psfFluxErr")
    assert dict(schema.values) == {"size": "arcsec", "ebv": "mag"}
    assert schema.row_bytes == 4 * 8 + 4 + 4 * (2 * 2 + 2)


class TestSimulated:
    def test_it_passes_the_same_gate(self) -> None:
        survey = open_survey(load_survey(EMBEDDED))
        reasons: Counter[str] = Counter()
        n_rows = 0
        for part in survey.parts():
            for block, rejected in survey.blocks(part):
                n_rows += len(block) + len(rejected)
                reasons.update(rejected.reason.tolist())
                assert block.photometry["psfFlux"].shape == (len(block), 6)
        assert n_rows == sum(part.n_rows for part in survey.parts())
        assert set(reasons) == {"position_missing", "ra_out_of_range", "dec_out_of_range"}
        assert survey.native_tiles() is None

    def test_its_digest_is_that_of_its_settings(self) -> None:
        first, again = (inventory_digest(open_survey(load_survey(EMBEDDED))) for _ in range(2))
        other = EMBEDDED | {"simulation": {**EMBEDDED["simulation"], "seed": 2}}
        assert first == again != inventory_digest(open_survey(load_survey(other)))

    def test_more_labels_change_no_source(self) -> None:
        other = EMBEDDED | {"simulation": {**EMBEDDED["simulation"], "labelled": 0.9}}
        assert open_survey(load_survey(EMBEDDED)).parts() == open_survey(load_survey(other)).parts()
