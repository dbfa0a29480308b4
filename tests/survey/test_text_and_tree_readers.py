"""CSV, HDF5 and VOTable: what only these formats can do wrong."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
from astropy.table import Table

from skymill.survey import BLOCK_ROWS, TableError, open_survey
from skymill.survey.columns import as_read
from skymill.survey.readers import TableFile, csv, read, shape, votable

ROLES = {"id": "integer id", "flux": "flux", "mark": "mark", "class": "class"}


def csv_file(folder: Path, content: str | bytes) -> TableFile:
    path = folder / "t.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return TableFile("t.csv", str(path))


def rows_of(file: TableFile, roles: dict[str, str], table_format: str = "csv") -> dict[str, list]:
    blocks = list(read(file, table_format, roles, *shape(file, table_format).span))
    return {name: [value for block in blocks for value in block[name].tolist()] for name in roles}


class TestCsv:
    def test_each_column_is_what_its_role_says(self, tmp_path: Path) -> None:
        file = csv_file(
            tmp_path,
            "id,flux,mark,class,note\n"
            "9007199254740993,1.5,true,1,x\n"
            "-70,,F,QSO,x\n"
            " 5 ,NaN,1,,x\n"
            ',-1e3,\\N,"a, b",x\n'
            "0,inf,null,NA,x\n",
        )
        found = rows_of(file, ROLES)
        assert found["id"] == [2**53 + 1, -70, 5, None, 0]
        np.testing.assert_array_equal(np.array([found["flux"]], dtype=float), [[1.5, np.nan, np.nan, -1000, np.inf]])
        assert found["mark"] == [True, False, True, None, None]
        assert found["class"] == ["1", "QSO", None, "a, b", "NA"]

    def test_an_id_above_the_largest_int64_is_quarantined_and_not_rounded(self, survey_config, tmp_path) -> None:
        file = csv_file(tmp_path, f"id,ra,dec\n{2**63},1,2\n{2**63 - 1},1,2\n")
        survey = open_survey(survey_config(file.path, format="csv", photometry={}, values={}, extinction=None))
        [gated] = [item for part in survey.parts() for item in survey.blocks(part)]
        assert gated.block.object_id.tolist() == [2**63 - 1]
        assert gated.rejected.reason.tolist() == ["id_out_of_range"]

    @pytest.mark.parametrize(
        "head",
        [
            "id,flux",
            "\ufeffid,flux",
            "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: id, datatype: int64}\nid,flux",
            "#Table1\nid,flux",
            "# id,flux",
            '"id", "flux"',
        ],
        ids=["plain", "byte order mark", "ECSV", "CasJobs", "HSC", "quoted"],
    )
    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_the_line_of_names_is_found(self, tmp_path: Path, head: str, end: str) -> None:
        file = csv_file(tmp_path, (head + "\n1,2.5\n\n3,4.5\n").replace("\n", end))
        assert list(shape(file, "csv").columns) == ["id", "flux"]
        assert rows_of(file, {"id": "integer id", "flux": "flux"}) == {"id": [1, 3], "flux": [2.5, 4.5]}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "expected a line of column names, found none"),
            ("1,2\n3,4\n", "expected column names, each once, found '1,2'"),
            ("id,flux,id\n1,2,3\n", "found 'id' twice"),
            ("id,flux\n1,2\n3\n", r"Expected 2 columns, got 1"),
            ("id,flux\n1,2\n3,4,5\n", r"Expected 2 columns, got 3"),
            ('id,flux\n1,"2\n3"\n', r"expected double, found '2\n3'"),
            ('id,flux\n1,2\n3,"4\n', r"a field in quotes runs over .* the end of the file"),
            ("id,flux\n1,abc\n", r"column 'flux' \(flux\): expected double, found 'abc'; correct the value"),
            ("id,flux\n1.5,2\n", r"column 'id' \(integer id\): expected int64, found '1.5'"),
            ("id,flux\n1e18,2\n", r"column 'id' \(integer id\): expected int64, found '1e18'"),
            (f"id,flux\n{2**64},2\n", r"column 'id' \(integer id\): expected int64, found '18446744073709551616'"),
            (f"id,flux\n-1,2\n{2**63},2\n", "found 'a mixture'"),
            ("id,flux\n1,2\n".encode("utf-16"), "t.csv: expected "),
            (b"id,flux\n1,\xff\n", "t.csv: expected lines of comma-separated fields in UTF-8"),
        ],
    )
    def test_what_cannot_be_read_is_named(self, tmp_path: Path, content: str | bytes, message: str) -> None:
        with pytest.raises(TableError, match=message):
            rows_of(csv_file(tmp_path, content), {"id": "integer id", "flux": "flux"})

    def test_a_last_line_without_end_is_read_and_warned_of(self, tmp_path: Path, caplog) -> None:
        assert rows_of(csv_file(tmp_path, "id\n1\n2"), {"id": "integer id"}) == {"id": [1, 2]}
        assert "the last line has no line end" in caplog.text

    @pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
    def test_every_row_is_in_one_range_wherever_the_cuts_fall(self, tmp_path: Path, suffix: str) -> None:
        import gzip

        lines = ["id"] + ["1" * (1 + number % 7) for number in range(60)]
        content = ("\n".join(lines) + "\n").encode()
        path = tmp_path / f"t.{suffix}"
        path.write_bytes(gzip.compress(content) if suffix == "csv.gz" else content)
        file = TableFile(path.name, str(path))
        first, last = shape(file, "csv").span
        assert (first, last) == (3, len(content))
        for cut in range(first, last + 1, 1 if suffix == "csv" else 13):
            parts = [
                [value for block in read(file, "csv", {"id": "integer id"}, *ends) for value in block["id"].tolist()]
                for ends in ((first, cut), (cut, last))
            ]
            assert parts[0] + parts[1] == [int(line) for line in lines[1:]], cut

    def test_a_long_file_is_cut_into_parts_of_about_the_rows_asked_for(self, survey_config, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        n_rows = 200_000
        lines = [f"{2**60 + row},{ra:.9f},{ra / 10:.9f}" for row, ra in enumerate(rng.uniform(0, 360, n_rows))]
        file = csv_file(tmp_path, "id,ra,dec\n" + "\n".join(lines) + "\n")
        config = survey_config(file.path, format="csv", photometry={}, values={}, extinction=None)
        survey = open_survey(config, part_rows=50_000)
        parts = survey.parts()
        blocks = [[item.block for item in survey.blocks(part)] for part in parts]
        sizes = [sum(map(len, some)) for some in blocks]
        assert sum(sizes) == n_rows and min(sizes) > 10_000 and max(sizes) < 55_000
        assert len({part.name for part in parts}) == len({part.digest for part in parts}) == len(parts)
        np.testing.assert_array_equal(
            np.concatenate([block.object_id for some in blocks for block in some]), 2**60 + np.arange(n_rows)
        )

    def test_a_line_end_inside_quotes_is_part_of_the_field_unless_the_file_is_cut_there(self, tmp_path: Path) -> None:
        file = csv_file(tmp_path, 'id,class\n1,"a\nb"\n2,c\n')
        roles = {"id": "integer id", "class": "class"}
        assert rows_of(file, roles) == {"id": [1, 2], "class": ["a\nb", "c"]}
        assert [block["id"].tolist() for block in read(file, "csv", roles, 9, 17)] == [[1]]
        for cut in range(10, 15):
            with pytest.raises(TableError, match="a field in quotes runs over the end of a line where the file is cut"):
                list(read(file, "csv", roles, 9, cut))

    def test_blocks_are_bounded(self, tmp_path: Path) -> None:
        file = csv_file(tmp_path, "id\n" + "1\n" * (BLOCK_ROWS + 10))
        blocks = [len(block["id"]) for block in read(file, "csv", {"id": "integer id"}, *shape(file, "csv").span)]
        assert sum(blocks) == BLOCK_ROWS + 10 and max(blocks) <= BLOCK_ROWS

    def test_memory_does_not_grow_with_the_file(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(csv, "BLOCK_BYTES", 1 << 20)

        def peak(n_rows: int) -> int:
            file = csv_file(tmp_path, "id,flux\n" + "1152921504606846976,1.234567890123\n" * n_rows)
            before, found = pa.total_allocated_bytes(), 0
            tracemalloc.start()
            for _ in read(file, "csv", {"id": "integer id", "flux": "flux"}, *shape(file, "csv").span):
                found = max(found, pa.total_allocated_bytes() - before)
            found += tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return found

        assert peak(900_000) < 1.2 * peak(300_000)

    def test_exact_numbers_come_before_text_where_a_column_has_two_roles(self) -> None:
        roles = [("a", "hashed id"), ("a", "angle"), ("b", "number"), ("b", "integer id"), ("c", "class")]
        assert as_read(roles) == {"a": "angle", "b": "integer id", "c": "class"}


class TestHdf5:
    def test_rail_photometry_is_read(self, survey_config, data: Path) -> None:
        """Ids, magnitudes of 99 where a galaxy was not detected, in the group `photometry`; no positions."""
        path = data / "catalogues/photoz_rail_dc2/test_dc2_training_9816.hdf5"
        file = TableFile(path.name, str(path))
        found = shape(file, "hdf5")
        assert found.span == (0, 10_225) and found.columns["id"].kind == "integer"
        [block] = read(file, "hdf5", {"id": "integer id", "mag_u_lsst": "flux"}, *found.span)
        with h5py.File(path) as theirs:
            np.testing.assert_array_equal(block["id"], theirs["photometry/id"][:])
            np.testing.assert_array_equal(block["mag_u_lsst"], theirs["photometry/mag_u_lsst"][:])
        config = survey_config(path, format="hdf5", photometry={}, values={}, extinction=None)
        with pytest.raises(TableError, match=r"2 of 3 mapped columns are missing: 'ra', 'dec'"):
            open_survey(config).parts()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({}, r"found 0 \(\)"),
            ({"a/x": np.arange(3), "b/x": np.arange(3)}, r"found 2 \(/a, /b\)"),
            ({"a/x": np.arange(3), "a/y": np.arange(4)}, r"expected datasets of one length, found \{'x': 3, 'y': 4\}"),
            ({"a/x": np.float64(3)}, r"found 0"),
        ],
    )
    def test_what_is_not_one_table_is_named(self, tmp_path: Path, content: dict, message: str) -> None:
        with h5py.File(tmp_path / "t.h5", "w") as file:
            for name, values in content.items():
                file[name] = values
        with pytest.raises(TableError, match=message):
            shape(TableFile("t", str(tmp_path / "t.h5")), "hdf5")

    def test_the_layout_of_pandas_is_refused_with_its_mend(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "t.h5", "w") as file:
            file["df/axis0"] = np.array([b"a", b"b"])
            file["df/block0_values"] = np.zeros((3, 2))
            file["df"].attrs["pandas_type"] = "frame"
        with pytest.raises(
            TableError, match=r"'/df' was written by pandas .* read it with pandas\.read_hdf .*to_parquet"
        ):
            shape(TableFile("t", str(tmp_path / "t.h5")), "hdf5")

    def test_text_vectors_byte_order_and_units_come_through(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "t.h5", "w") as file:
            file["name"] = ["a", "ć", ""]
            file["flux"] = np.arange(6, dtype=">f4").reshape(3, 2)
            file["flux"].attrs["unit"] = "nJy"
        file = TableFile("t", str(tmp_path / "t.h5"))
        found = shape(file, "hdf5")
        assert found.columns["flux[1]"].kind == "float" and found.units == {"flux": "nJy"}
        rows = rows_of(file, {"name": "hashed id", "flux[1]": "flux"}, "hdf5")
        assert rows["flux[1]"] == [1, 3, 5] and [text.decode() for text in rows["name"]] == ["a", "ć", ""]

    def test_links_to_other_files_are_not_followed(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "secret.h5", "w") as file:
            file["x"] = np.arange(3)
        with h5py.File(tmp_path / "t.h5", "w") as file:
            file["y"] = np.arange(4)
            file["x"] = h5py.ExternalLink("secret.h5", "/x")
        assert list(shape(TableFile("t", str(tmp_path / "t.h5")), "hdf5").columns) == ["y"]


class TestVotable:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        Table({"id": np.array([2**53 + 1, 2]), "flux": [1.5, np.nan]}).write(tmp_path / "t.vot", format="votable")
        return tmp_path / "t.vot"

    def test_a_large_file_is_refused_with_its_mend(self, path: Path, monkeypatch) -> None:
        monkeypatch.setattr(votable, "MAX_BYTES", 100)
        with pytest.raises(
            TableError, match=r"t\.vot: \d+ bytes; .*more than 100 are refused; .*write\('t\.parquet'\)"
        ):
            shape(TableFile("t", str(path)), "votable")

    @pytest.mark.parametrize("status", ["OVERFLOW", "ERROR"])
    def test_an_answer_that_was_cut_short_is_refused(self, path: Path, status: str) -> None:
        info = f'<RESOURCE type="results"><INFO name="QUERY_STATUS" value="{status}"/>'
        text = path.read_text()
        path.write_text(text.replace('<RESOURCE type="results">', info, 1).replace("<RESOURCE>", info, 1))
        assert "QUERY_STATUS" in path.read_text()
        with pytest.raises(TableError, match=f"marked it {status}: rows are missing"):
            shape(TableFile("t", str(path)), "votable")

    def test_a_value_that_is_no_number_is_named(self, path: Path) -> None:
        path.write_text(path.read_text().replace("<TD>2</TD>", "<TD>two</TD>"))
        with pytest.raises(TableError, match=r"t\.vot: expected a complete VOTable, found what cannot be read \(.*two"):
            shape(TableFile("t", str(path)), "votable")

    def test_a_file_without_table_is_named(self, path: Path) -> None:
        text = path.read_text()
        path.write_text(text[: text.index("<TABLE")] + text[text.index("</TABLE>") + len("</TABLE>") :])
        with pytest.raises(TableError, match="expected one table, found 0"):
            shape(TableFile("t", str(path)), "votable")


def test_ids_written_as_text_are_exact_numbers(survey_config, tmp_path: Path) -> None:
    ids = ["1237645876861337601", "-5", " 7", "007", "", "x1", "1.0", str(2**63), "99999999999999999999"]
    Table({"id": ids, "ra": np.ones(9), "dec": np.ones(9)}).write(tmp_path / "t.fits")
    survey = open_survey(survey_config(tmp_path / "t.fits", format="fits", photometry={}, values={}, extinction=None))
    [(block, rejected)] = [item for part in survey.parts() for item in survey.blocks(part)]
    assert block.object_id.tolist() == [1237645876861337601, -5, 7, 7]
    assert rejected.row.tolist() == [4, 5, 6, 7, 8]
    assert rejected.reason.tolist() == ["id_missing"] + ["id_out_of_range"] * 4
