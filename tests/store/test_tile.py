"""Tiles: what is written is read, by us and by plain xarray; equal content is equal bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from skymill.store import FormatError, StoreError, TileWriter, Variable, file_sha256, open_tile, read_tile, write_tile
from skymill.store.chunk import codec_of, decode_chunk, encode_chunk
from skymill.store.writer import directory_mark

DTYPES = ("bool", "int8", "uint8", "int16", "int32", "int64", "uint64", "float16", "float32", "float64")
READERS = {
    "skymill": read_tile,
    "xarray, zip store": lambda path: xr.open_zarr(zarr.storage.ZipStore(path, mode="r"), chunks=None),
    "xarray, zip URL": lambda path: xr.open_zarr(f"zip::file://{path}", chunks=None),
}


def source_variables(n: int, seed: int = 0) -> dict[str, Variable]:
    """Describe `n` sources with ids beyond 2^53, a matrix with named columns, a matrix without, and a grid."""
    random = np.random.default_rng(seed)
    return {
        "objectId": Variable(random.integers(2**62, 2**63 - 1, n), attrs={"ucd": "meta.id;meta.main"}),
        "_healpix_29": Variable(np.sort(random.integers(0, 12 << 58, n))),
        "flags": Variable(np.zeros(n, np.int32), attrs={"flag_masks": [1, 2], "flag_meanings": "odd even"}),
        "flux": Variable(
            random.normal(size=(n, 3)).astype("f4"), ("source", "band"), {"units": "nJy"}, ("g", "r", "i")
        ),
        "vector": Variable(random.normal(size=(n, 4)).astype("f2"), ("source", "component")),
        "z": Variable(np.linspace(0, 3, 7), ("z",), {"long_name": "redshift grid"}),
    }


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    dtype=st.sampled_from(DTYPES),
    n=st.integers(0, 40),
    width=st.integers(0, 3),
    chunk_rows=st.sampled_from([1, 7, 16, 64]),
)
def test_all_types_and_shapes_come_back(tmp_path, data, dtype, n, width, chunk_rows):
    values = data.draw(hnp.arrays(dtype, (n, width) if width else (n,)))
    dims = ("source", "column") if width else ("source",)
    path = tmp_path / "tile.zarr.zip"
    write_tile(path, {"x": Variable(values, dims)}, chunk_rows=chunk_rows)
    found = read_tile(path)["x"]
    assert found.dtype == values.dtype and found.dims == dims
    assert found.values.tobytes() == values.tobytes()


@pytest.mark.parametrize("reader", READERS)
def test_any_reader_finds_values_names_and_units(tmp_path, reader):
    variables = source_variables(1000)
    path = tmp_path / "tile.zarr.zip"
    write_tile(path, variables, attrs={"catalogue": "demo"}, receipt={"key": "k"}, chunk_rows=300)
    found = READERS[reader](path)
    for name, variable in variables.items():
        assert found[name].dtype == variable.data.dtype and found[name].dims == variable.dims
        np.testing.assert_array_equal(found[name].values, variable.data)
        assert "_FillValue" not in found[name].attrs and "_FillValue" not in found[name].encoding
    assert found["flux"].sel(band="r").values.tolist() == variables["flux"].data[:, 1].tolist()
    assert found["flux"].attrs == {"units": "nJy", "columns": ["g", "r", "i"]}
    assert found["flags"].attrs["flag_meanings"] == "odd even"
    assert found.attrs["catalogue"] == "demo" and found.attrs["receipt"] == {"key": "k"}


def test_a_tile_without_sources_keeps_its_form(tmp_path):
    path = tmp_path / "tile.zarr.zip"
    write_tile(path, source_variables(0))
    for reader in READERS.values():
        assert reader(path)["flux"].shape == (0, 3)
    tile = open_tile(path)
    assert tile.n_rows == 0 and tile.zones.shape == (0, 2) and list(tile.blocks()) == []
    assert tile.rows()["objectId"].dtype == np.int64


def test_blocks_of_any_size_give_the_same_bytes(tmp_path):
    variables = source_variables(1000)
    rows = {name: variable for name, variable in variables.items() if variable.is_rows}
    form = {
        name: Variable.of_rows(v.data.dtype, **v.attrs) if v.dims == ("source",) else v for name, v in variables.items()
    }
    expected = write_tile(tmp_path / "whole", variables, receipt={"b": 1, "a": 2}, chunk_rows=256)
    for size in (1, 100, 256, 999):
        with TileWriter(tmp_path / f"{size}", form, 1000, chunk_rows=256) as writer:
            for start in range(0, 1000, size):
                writer.append({name: variable.data[start : start + size] for name, variable in rows.items()})
            assert writer.commit(receipt={"a": 2, "b": 1}) == expected
    assert expected.sha256 == file_sha256(tmp_path / "whole")


def test_equal_content_is_equal_bytes_in_any_process(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_tile as t;"
        "print(t.write_tile(sys.argv[2], t.source_variables(5000), receipt={n: n for n in {'x', 'y', 'z'}}).sha256)"
    )
    found = set()
    for seed in ("1", "2"):
        command = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / seed)]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        found.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(found) == 1


def test_zone_map_holds_the_limits_of_each_chunk(tmp_path):
    variables = source_variables(1000)
    write_tile(tmp_path / "tile", variables, chunk_rows=300)
    index = variables["_healpix_29"].data
    expected = [[part[0], part[-1]] for part in (index[:300], index[300:600], index[600:900], index[900:])]
    np.testing.assert_array_equal(open_tile(tmp_path / "tile").zones, expected)


def test_blocks_are_chunks_and_read_no_other_column(tmp_path):
    variables = source_variables(1000)
    write_tile(tmp_path / "tile", variables, chunk_rows=300)
    tile = open_tile(tmp_path / "tile")
    blocks = list(tile.blocks(["flux", "objectId"]))
    assert [len(block["flux"]) for block in blocks] == [300, 300, 300, 100]
    np.testing.assert_array_equal(np.concatenate([block["flux"] for block in blocks]), variables["flux"].data)
    assert tile.store.traffic.chunks == 8


def test_rows_read_the_chunks_that_hold_them_and_no_more(tmp_path):
    variables = source_variables(1000)
    write_tile(tmp_path / "tile", variables, chunk_rows=100)
    tile = open_tile(tmp_path / "tile")
    rows = tile.rows(450, 460, ["objectId", "_healpix_29"])
    np.testing.assert_array_equal(rows["objectId"], variables["objectId"].data[450:460])
    assert tile.store.traffic.chunks == 2
    with pytest.raises(
        KeyError, match=r"expected some of the columns .*'flux'.*found \['fluxes'\] \(did you mean 'flux'\?\)"
    ):
        tile.rows(0, 1, ["fluxes"])


def test_a_newer_format_is_refused(tmp_path):
    write_tile(tmp_path / "old", source_variables(10))
    with zipfile.ZipFile(tmp_path / "old") as old, zipfile.ZipFile(tmp_path / "new", "w") as new:
        for info in old.infolist():
            content = old.read(info)
            if info.filename == "zarr.json":
                document = json.loads(content)
                document["attributes"]["skymill_format"] = 2
                content = json.dumps(document).encode()
            new.writestr(info, content)
        new.comment = directory_mark(new.infolist())
    with pytest.raises(FormatError, match=r"new: expected a tile of format 1 or older, found 2; install a newer"):
        read_tile(tmp_path / "new")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda block: block.pop("flags"), "expected variables .*'flags'"),
        (lambda block: block.update(flags=block["flags"].astype("i8")), "variable 'flags': expected int32 .* int64"),
        (lambda block: block.update(flux=block["flux"][:, :2]), r"variable 'flux': expected .* \(10, 3\), found"),
        (lambda block: block.update(_healpix_29=block["_healpix_29"][::-1].copy()), "expected rows sorted by _healpix"),
        (lambda block: block.update({n: np.repeat(v, 2, 0) for n, v in block.items()}), "expected 10 rows, found more"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(tmp_path, spoil, message):
    variables = source_variables(10)
    block = {name: variable.data for name, variable in variables.items() if variable.is_rows}
    spoil(block)
    with pytest.raises(ValueError, match=message), TileWriter(tmp_path / "tile", variables, 10) as writer:
        writer.append(block)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_tile_with_missing_rows_or_without_commit_is_discarded(tmp_path):
    with (
        pytest.raises(ValueError, match="expected 10 rows, found 0"),
        TileWriter(tmp_path / "tile", source_variables(0), 10) as writer,
    ):
        writer.commit()
    with (
        pytest.raises(StoreError, match=r"left without commit\(\)"),
        TileWriter(tmp_path / "t", source_variables(0), 0),
    ):
        pass
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"x": (np.zeros((2, 3)), ("source", "band"), ("g", "r"))}, "expected one column name per entry"),
        ({"x": (np.zeros(2), ("source", "band"), ())}, "expected one dimension name per axis"),
        ({"x": (np.zeros(2, ">f4"), ("source",), ())}, "expected native numbers or booleans, found dtype >f4"),
        ({"x": (np.zeros(2, "O"), ("source",), ())}, "found dtype object"),
        (
            {"x": (np.zeros((2, 3)), ("source", "band"), ()), "y": (np.zeros((2, 4)), ("source", "band"), ())},
            "variable 'y': expected 3 entries along 'band', found 4",
        ),
        (
            {"x": (np.zeros((2, 1)), ("source", "b"), ("g",)), "y": (np.zeros((2, 1)), ("source", "b"), ("r",))},
            r"variable 'y': expected columns \('g',\) along 'b'",
        ),
    ],
)
def test_variables_that_contradict_themselves_are_refused(tmp_path, variables, message):
    with pytest.raises(ValueError, match=message):
        write_tile(tmp_path / "x", {name: Variable(v[0], v[1], columns=v[2]) for name, v in variables.items()})


def test_chunks_that_no_reader_would_unpack_are_not_written(tmp_path):
    variables = {"wide": Variable(np.broadcast_to(np.int8(0), (2, 1 << 28)), ("source", "pixel"))}
    with pytest.raises(ValueError, match=r"'wide': expected chunks of at most 268,435,456 .*found 536,870,912; lower"):
        write_tile(tmp_path / "tile", variables)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.zarr\.zip"):
        open_tile(tmp_path / "nothing.zarr.zip")


@pytest.mark.parametrize("dtype", DTYPES)
def test_chunks_have_the_bytes_that_zarr_would_write(dtype):
    values = np.random.default_rng(0).integers(0, 2, (100, 3)).astype(dtype)
    written = {}
    array = zarr.create_array(
        zarr.storage.MemoryStore(written),
        shape=values.shape,
        dtype=dtype,
        chunks=values.shape,
        compressors=(codec_of(values.dtype),),
    )
    array[...] = values
    content = encode_chunk(values)
    assert content == written["c/0/0"].to_bytes()
    np.testing.assert_array_equal(decode_chunk(content, values.dtype, values.shape), values, strict=True)
