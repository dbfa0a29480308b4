"""Parquet and FITS tables: what is read, in which blocks, and what is refused."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from skymill.survey import TableError
from skymill.survey.readers import Shape, TableFile, read, shape, table_files


def everything(path: Path, table_format: str, names: list[str]) -> dict[str, np.ndarray]:
    file = TableFile(path.name, str(path))
    blocks = list(read(file, table_format, dict.fromkeys(names, "number"), *shape(file, table_format).span))
    return {name: np.ma.concatenate([block[name] for block in blocks]) for name in names}


@pytest.fixture
def parquet_file(tmp_path: Path) -> Path:
    table = pa.table(
        {
            "id": pa.array([2**53 + 1, None, 2**63 - 1], pa.int64()),
            "unsigned": pa.array([1, 2**64 - 1, None], pa.uint64()),
            "flux": pa.array([1.5, None, float("nan")], pa.float32()),
            "mark": pa.array([True, None, False]),
            "name": pa.array(["a", None, "ć"]).dictionary_encode(),
            "decimal": pa.array([None, 2, 3], pa.decimal128(5, 2)),
            "nested": pa.array([{"x": 1}] * 3),
            "vector": pa.array([[1, 2], None, [5, None]], pa.list_(pa.float32(), 2)),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


@pytest.fixture
def fits_file(tmp_path: Path) -> Path:
    table = Table(
        {
            "id": np.array([2**53 + 1, 5, 2**63 - 1]),
            "unsigned": np.array([1, 2**64 - 1, 2**63], dtype="u8"),
            "flux": np.array([1.5, np.nan, 3], dtype="f4"),
            "mark": np.array([True, False, True]),
            "name": np.array(["a", "bc", ""]),
            "count": MaskedColumn([1, 2, 3], mask=[False, True, False], dtype="i4"),
            "vector": np.zeros((3, 5)),
        }
    )
    table.write(tmp_path / "t.fits")
    return tmp_path / "t.fits"


class TestParquet:
    def test_columns_come_exact_and_masked_where_null(self, parquet_file: Path) -> None:
        found = everything(parquet_file, "parquet", ["id", "unsigned", "flux", "mark", "name", "decimal", "vector[0]"])
        assert found["id"].dtype == np.int64 and found["id"].tolist() == [2**53 + 1, None, 2**63 - 1]
        assert found["unsigned"].dtype == np.uint64 and found["unsigned"].tolist() == [1, 2**64 - 1, None]
        assert found["flux"].dtype == np.float32 and found["flux"].mask.tolist() == [False, True, False]
        assert found["mark"].tolist() == [True, None, False]
        assert found["name"].tolist() == ["a", None, "ć"]
        assert found["decimal"].tolist() == [None, 2.0, 3.0]
        assert found["vector[0]"].tolist() == [1, None, 5]

    def test_types_are_told_from_the_footer(self, parquet_file: Path) -> None:
        kinds = {name: kind for name, (kind, _) in shape(TableFile("t", str(parquet_file)), "parquet").columns.items()}
        assert kinds == {
            "id": "integer",
            "unsigned": "integer",
            "flux": "float",
            "mark": "boolean",
            "name": "text",
            "decimal": "float",
            "nested": "nested",
            "nested.x": "integer",
            "vector": "other",
            "vector[0]": "float",
            "vector[1]": "float",
        }

    @pytest.mark.parametrize("keep", [0, 3, 200, -1])
    def test_a_truncated_file_is_named(self, parquet_file: Path, keep: int) -> None:
        parquet_file.write_bytes(parquet_file.read_bytes()[:keep])
        with pytest.raises(TableError, match=r"t\.parquet: expected a complete Parquet file"):
            shape(TableFile("t", str(parquet_file)), "parquet")

    def test_a_damaged_page_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "t.parquet"
        pq.write_table(pa.table({"x": np.random.default_rng(0).random(50_000)}), path, compression="zstd")
        content = bytearray(path.read_bytes())
        content[1000:200_000] = bytes(199_000)
        path.write_bytes(content)
        with pytest.raises(TableError, match=r"t\.parquet: expected a complete Parquet file"):
            everything(path, "parquet", ["x"])

    def test_row_ranges_read_exactly_their_rows(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"x": np.arange(1000)}), tmp_path / "t.parquet", row_group_size=64)
        file = TableFile("t", str(tmp_path / "t.parquet"))
        found = shape(file, "parquet")
        ranges = found.ranges(200)
        assert all(stop - start <= 200 for start, stop in ranges)
        rows = [
            np.concatenate([block["x"] for block in read(file, "parquet", ["x"], start, stop)])
            for start, stop in ranges
        ]
        for (start, stop), values in zip(ranges, rows, strict=True):
            np.testing.assert_array_equal(values, np.arange(start, stop))
        np.testing.assert_array_equal(np.concatenate(rows), np.arange(1000))


class TestFits:
    def test_columns_come_exact_and_masked_where_null(self, fits_file: Path) -> None:
        found = everything(fits_file, "fits", ["id", "unsigned", "flux", "mark", "name", "count"])
        assert found["id"].tolist() == [2**53 + 1, 5, 2**63 - 1]
        assert found["unsigned"].tolist() == [1, 2**64 - 1, 2**63]
        np.testing.assert_array_equal(found["flux"], np.array([1.5, np.nan, 3], "f4"))
        assert found["mark"].tolist() == [True, False, True]
        assert found["name"].tolist() == [b"a", b"bc", b""]
        assert found["count"].tolist() == [1, None, 3]

    def test_types_are_told_from_the_header(self, fits_file: Path) -> None:
        columns = shape(TableFile("t", str(fits_file)), "fits").columns
        kinds = {name: kind for name, (kind, _) in columns.items()}
        assert kinds == {
            "id": "integer",
            "unsigned": "integer",
            "flux": "float",
            "mark": "boolean",
            "name": "text",
            "count": "integer",
            "vector": "other",
            **{f"vector[{index}]": "float" for index in range(5)},
        }

    def test_an_element_of_a_vector_is_a_column(self, tmp_path: Path) -> None:
        flux = np.arange(15, dtype="f4").reshape(3, 5)
        Table({"flux": flux, "odd[1]": np.arange(3)}).write(tmp_path / "t.fits")
        found = everything(tmp_path / "t.fits", "fits", ["flux[2]", "odd[1]"])
        assert found["flux[2]"].tolist() == [2, 7, 12] and found["odd[1]"].tolist() == [0, 1, 2]

    def test_a_scaled_integer_is_a_float(self, tmp_path: Path) -> None:
        table = fits.BinTableHDU.from_columns(
            [fits.Column(name="x", format="I", array=np.array([1, 2, -99]), null=-99)]
        )
        table.header["TSCAL1"], table.header["TZERO1"] = 0.5, 1.0
        table.writeto(tmp_path / "t.fits")
        assert shape(TableFile("t", str(tmp_path / "t.fits")), "fits").columns["x"].kind == "float"
        assert everything(tmp_path / "t.fits", "fits", ["x"])["x"].tolist() == [1.5, 2.0, None]

    def test_an_ascii_table_is_refused(self, tmp_path: Path) -> None:
        x = fits.Column(name="x", format="F10.4", array=np.array([1.5, 2.5]))
        fits.TableHDU.from_columns([x]).writeto(tmp_path / "t.fits")
        with pytest.raises(TableError, match="expected one binary table, found 0"):
            shape(TableFile("t", str(tmp_path / "t.fits")), "fits")

    @pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
    def test_every_number_astropy_can_store_comes_back(self, tmp_path: Path, dtype: str) -> None:
        limits = np.finfo(dtype) if dtype[0] == "f" else np.iinfo(dtype)
        values = np.array([limits.min, 0, 1, limits.max], dtype=dtype)
        Table({"x": values}).write(tmp_path / "t.fits")
        found = everything(tmp_path / "t.fits", "fits", ["x"])["x"]
        assert found.tolist() == values.tolist() and found.dtype.kind in ("iu" if dtype[0] in "iu" else "f")

    @pytest.mark.parametrize("rows", [0, 1, 1000, 70_000])
    def test_any_number_of_rows(self, tmp_path: Path, rows: int) -> None:
        Table({"x": np.arange(rows), "y": np.zeros(rows, "f4")}).write(tmp_path / "t.fits")
        file = TableFile("t", str(tmp_path / "t.fits"))
        parts = [
            np.concatenate([np.zeros(0, int), *(block["x"] for block in read(file, "fits", ["x"], start, stop))])
            for start, stop in shape(file, "fits").ranges(65_536)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), np.arange(rows))

    @pytest.mark.parametrize("keep", [0, 100, 3000, 5760, 20_000, -2881, -1])
    def test_a_truncated_file_is_named(self, tmp_path: Path, keep: int) -> None:
        path = tmp_path / "t.fits"
        Table({"x": np.arange(5000.0)}).write(path)
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(TableError, match=r"t\.fits: .*(cut off|complete FITS file)"):
            shape(TableFile("t", str(path)), "fits")

    def test_two_tables_in_one_file_are_refused(self, tmp_path: Path) -> None:
        hdus = [fits.PrimaryHDU(), *(fits.BinTableHDU(Table({"x": [1.0]}), name=name) for name in ("ONE", "TWO"))]
        fits.HDUList(hdus).writeto(tmp_path / "t.fits")
        with pytest.raises(TableError, match=r"expected one binary table, found 2 \('ONE', 'TWO'\)"):
            shape(TableFile("t", str(tmp_path / "t.fits")), "fits")

    def test_images_beside_the_table_do_not_matter(self, tmp_path: Path) -> None:
        hdus = [fits.PrimaryHDU(np.zeros((50, 50))), fits.BinTableHDU(Table({"x": [1.0]})), fits.ImageHDU(np.ones(9))]
        fits.HDUList(hdus).writeto(tmp_path / "t.fits")
        assert shape(TableFile("t", str(tmp_path / "t.fits")), "fits").span == (0, 1)

    def test_compressed_files_are_refused(self, tmp_path: Path) -> None:
        Table({"x": [1.0]}).write(tmp_path / "t.fits.gz")
        with pytest.raises(TableError, match="unpack compressed FITS tables first"):
            shape(TableFile("t", str(tmp_path / "t.fits.gz")), "fits")


def test_memory_does_not_grow_with_the_rows_of_a_row_group(tmp_path: Path) -> None:
    def peak(n_rows: int) -> int:
        rng = np.random.default_rng(0)
        table = pa.table({f"x{number}": rng.random(n_rows) for number in range(3)})
        pq.write_table(table, tmp_path / "t.parquet", row_group_size=n_rows)
        del table
        before = pa.total_allocated_bytes()
        file = TableFile("t", str(tmp_path / "t.parquet"))
        return max(pa.total_allocated_bytes() - before for _ in read(file, "parquet", ["x0", "x1", "x2"], 0, n_rows))

    assert peak(2_000_000) < 1.2 * peak(600_000)


def test_memory_does_not_grow_with_the_rows_of_a_fits_table(tmp_path: Path) -> None:
    def peak(n_rows: int) -> int:
        Table({f"x{number}": np.zeros(n_rows) for number in range(3)}).write(tmp_path / "t.fits", overwrite=True)
        tracemalloc.start()
        for _ in read(TableFile("t", str(tmp_path / "t.fits")), "fits", ["x0", "x1"], 0, n_rows):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(2_000_000) < 1.2 * peak(600_000)


class TestFiles:
    def test_a_folder_is_searched_to_the_bottom_in_a_fixed_order(self, tmp_path: Path, parquet_file: Path) -> None:
        (tmp_path / "b" / "deep").mkdir(parents=True)
        (tmp_path / "_staging").mkdir()
        for name in ("b/deep/2.parq", "b/1.pq", "_staging/x.parquet", "_metadata", ".hidden.parquet", "b/notes.txt"):
            shutil.copy(parquet_file, tmp_path / name)
        assert [file.name for file in table_files(tmp_path, "parquet")] == ["b/1.pq", "b/deep/2.parq", "t.parquet"]

    def test_an_empty_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(TableError, match=r"expected files named \.fits, \.fit, \.fts, found none"):
            table_files(tmp_path, "fits")

    def test_an_absent_path_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(TableError, match="no such file or folder"):
            table_files(tmp_path / "absent", "parquet")


@pytest.mark.parametrize(
    ("cuts", "expected"),
    [
        ([0], [(0, 0)]),
        ([0, 0], [(0, 0)]),
        ([0, 50], [(0, 50)]),
        ([0, 500], [(0, 500)]),
        ([0, 40, 80, 120], [(0, 80), (80, 120)]),
        ([0, 300, 310, 320], [(0, 300), (300, 320)]),
        ([0, 10, 310, 320], [(0, 10), (10, 310), (310, 320)]),
    ],
)
def test_parts_are_runs_of_row_groups(cuts: list[int], expected: list[tuple[int, int]]) -> None:
    assert Shape({}, cuts).ranges(100) == expected
