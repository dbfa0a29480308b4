"""No flipped bit and no lost byte is read back in silence."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from skymill.store import CorruptTile, FormatError, Pool, open_catalogue, open_tile, read_tile, verify
from skymill.store.check import check_whole


@pytest.fixture
def tile(small, tmp_path):
    """A copy of one tile."""
    path = next(small.glob("tiles/*/*/*/*.zarr.zip"))
    return shutil.copy(path, tmp_path / "tile.zarr.zip")


def flip(path, position, bit):
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def test_no_flipped_bit_is_read_in_silence_and_verify_finds_all(small):
    path = next(small.glob("tiles/*/*/*/*.zarr.zip"))
    whole, truth = path.read_bytes(), open_tile(path).rows()
    attributes = check_whole(path)
    random = np.random.default_rng(5)
    noticed = 0
    # half of them in the last tenth, where directory and metadata are
    places = np.concatenate([random.integers(0, len(whole), 40), random.integers(len(whole) * 9 // 10, len(whole), 30)])
    for place in places.tolist():
        flip(path, place, int(random.integers(8)))
        try:
            reader = open_tile(path)
            found = reader.rows()
            assert reader.attrs == attributes
            for name, values in truth.items():
                np.testing.assert_array_equal(found[name], values, strict=True)
        except (CorruptTile, FormatError):
            noticed += 1
        report = verify(small)
        assert not report.ok and [problem.path for problem in report.problems] == [path.resolve()]
        path.write_bytes(whole)
    assert noticed > 35  # the rest are in zip headers that hold nothing that is read
    assert verify(small).ok


def test_xarray_meets_the_same_error_where_a_chunk_is_damaged(small):
    """It reads through Zarr, whose codecs do not say which file is damaged: names of columns as much as rows."""
    path = next(small.glob("tiles/*/*/*/*.zarr.zip"))
    whole, entries = path.read_bytes(), open_tile(path).store.entries
    chunks = {name: entry for name, entry in entries.items() if "/c/" in name}
    assert len({name.split("/")[0] for name in chunks}) > 5
    for name, entry in chunks.items():
        flip(path, (entry.start + entry.stop) // 2, 3)
        with pytest.raises(CorruptTile, match=rf"{path.name}: expected a whole tile, found a changed '{name}'"):
            read_tile(path)
        path.write_bytes(whole)
    read_tile(path)


@pytest.mark.parametrize("kept", [0, 1, 21, 22, 0.3, 0.9, 0.999, -1])
def test_a_truncated_tile_is_noticed_when_opened(tile, kept):
    content = tile.read_bytes()
    tile.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(CorruptTile, match=r"tile\.zarr\.zip: expected a whole tile"):
        open_tile(tile)


def test_a_pool_never_vouches_for_a_spoilt_tile(small, caplog):
    entry = open_catalogue(small).tiles.iloc[0]
    pool, place = Pool(small), (int(entry.order), int(entry.pixel))
    from skymill.sky import Tile

    assert pool.entry(Tile(*place), entry.key).sha256 == entry.sha256
    assert pool.entry(Tile(*place), "f" * 64) is None
    path = pool.find(Tile(*place), entry.key)
    flip(path, path.stat().st_size // 2, 0)
    assert pool.entry(Tile(*place), entry.key) is None
    assert "is damaged and is made again" in caplog.text and "expected a whole tile, found a changed" in caplog.text


def test_a_pool_never_vouches_for_a_tile_of_another_key(small, caplog):
    from skymill.sky import Tile

    entry = open_catalogue(small).tiles.iloc[0]
    tile = Tile(int(entry.order), int(entry.pixel))
    pool = Pool(small)
    shutil.copy(pool.path(tile, entry.key), pool.path(tile, "a" * 64))
    assert pool.entry(tile, "a" * 64) is None
    assert f"expected the receipt of key {'a' * 64}" in caplog.text
