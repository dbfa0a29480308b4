"""A tile's bytes depend on its sources only, not on how they were read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skymill.config import SurveyConfig
from skymill.sky import Tile, order29
from skymill.store import open_tile, read_tile
from skymill.survey import Gated, Rejected, SourceBlock
from skymill.survey.measurements import source_schema
from skymill.survey.ragged import Ragged, observation_dtype
from skymill.tiling.files import TilingFiles
from skymill.tiling.rows import pack, sort_rows
from skymill.tiling.settling import even_chunks, settle_rows
from skymill.tiling.spill import pieces_of, spill_part
from skymill.tiling.tile import GroupWork, make_tile

SURVEY = SurveyConfig.model_validate(
    {
        "name": "toy", "format": "parquet", "path": "toy.parquet", "bands": ["g"], "id": {"column": "id"},
        "ra": {"column": "ra", "unit": "deg"}, "dec": {"column": "dec", "unit": "deg"},
        "photometry": {"psfFlux": {"column": "{band}_flux", "error": "{band}_err", "unit": "nJy"}},
        "nested": {"lc": {"mjd": {"column": "mjd", "unit": "d"}, "band": {"column": "band", "categories": ["g"]}}},
    }
)  # fmt: skip
SCHEMA = source_schema(SURVEY)
NONE = Rejected("", *(np.empty(0, kind) for kind in ("i8", "i8", "f8", "f8", "U1", "U1")))
WHOLE = Tile(0, 4)


def block(rows: np.ndarray) -> Gated:
    """Sources of a given number: everything about them follows from it."""
    ra, dec = (rows * 0.37) % 1, (rows * 0.11) % 1
    flux = (rows % 7).astype(np.float32)[:, None]
    photometry = {"psfFlux": flux, "psfFluxErr": flux + 1}
    empty, bits = np.zeros((len(rows), 0), np.float32), (rows % 3).astype(np.int32)
    return Gated(
        SourceBlock(rows + 2**60, ra, dec, order29(ra, dec), bits, photometry, empty, {"lc": light_curves(rows)}), NONE
    )


def light_curves(rows: np.ndarray) -> Ragged:
    """None to three observations of each source, of times that tell whose they are."""
    counts = rows.astype(np.int64) % 4
    values = np.zeros(counts.sum(), observation_dtype(SCHEMA.nested["lc"]))
    values["mjd"] = np.repeat(rows, counts) + 0.1 * np.concatenate([np.empty(0), *map(np.arange, counts)])
    return Ragged(counts, values)


def tile_of(folder: Path, parts: list[list[np.ndarray]], buckets: int, **changes: Any) -> tuple[str, bytes]:
    """Spill parts, each in some blocks, and make the tile that holds all."""
    files = TilingFiles(folder)
    pieces = []
    for number, blocks in enumerate(parts):
        record = spill_part(
            "part",
            map(block, blocks),
            SURVEY,
            files=files,
            key=f"{number:064d}"[::-1],
            group_order=buckets,
            count_order=8,
        )
        pieces += [piece for _, piece in pieces_of(record, f"{number:064d}"[::-1], SCHEMA, files)]
    work = GroupWork(folder / "sources", tuple(pieces), np.empty(0, np.int64), SCHEMA, "0" * 64)
    entry = make_tile(WHOLE, sum(len(rows) for blocks in parts for rows in blocks), replace(work, **changes)).entry
    (path,) = (folder / "sources" / "tiles").rglob("*.zarr.zip")
    return entry.key, path.read_bytes()


@given(data=st.data(), n_rows=st.integers(0, 60))
@settings(max_examples=12, deadline=None)
def test_bytes_do_not_depend_on_order_parts_blocks_or_buckets(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, n_rows: int
) -> None:
    rows = np.arange(n_rows)
    shuffled = np.array(data.draw(st.permutations(rows.tolist())), np.int64)
    parts = np.array_split(shuffled, data.draw(st.integers(1, 4)))
    cut = [np.array_split(part, data.draw(st.integers(1, 3))) for part in parts]
    first = tile_of(tmp_path_factory.mktemp("a"), [[rows]], 1)
    second = tile_of(tmp_path_factory.mktemp("b"), cut, data.draw(st.integers(0, 9)))
    assert first == second


def test_each_source_keeps_its_observations(tmp_path: Path) -> None:
    """Also where rows before it are left out: copies, and the id in conflict."""
    shuffled = np.random.default_rng(0).permutation(np.repeat(np.arange(200), 2))
    tile_of(tmp_path, [[shuffled[:150], shuffled[150:]]], 5, conflicts=np.array([2**60 + 7]))
    (path,) = tmp_path.rglob("*.zarr.zip")
    tile = read_tile(path)
    rows = tile["objectId"].values - 2**60
    assert sorted(rows) == [row for row in range(200) if row != 7]
    assert tile["lc_count"].values.tolist() == (rows % 4).tolist()
    np.testing.assert_array_equal(tile["lc_mjd"], light_curves(rows).values["mjd"])
    assert tile["lc_count"].attrs["sample_dimension"] == "lc_obs" == tile["lc_mjd"].dims[0]
    assert tile["lc_mjd"].attrs["units"] == "d"
    assert tile["lc_band"].attrs["flag_meanings"].split() == ["unknown", "g"]


def test_copies_with_other_observations_conflict(tmp_path: Path) -> None:
    first, second = block(np.arange(4)), block(np.arange(4))
    second.block.nested["lc"].values["mjd"][0] += 1e-6  # that of source 1
    settled = settle_rows(
        sort_rows(np.concatenate([pack(item.block, SCHEMA) for item in (first, second)])), np.empty(0, np.int64)
    )
    assert settled.accounting.quarantined == {"conflicting_id": 2}
    assert settled.accounting.excluded == {"exact_duplicate": 3}
    assert set(settled.quarantined["objectId"]) == {2**60 + 1}


@pytest.mark.parametrize(
    "change",
    [
        {"conflicts": np.array([2**60 + 3])},
        {"schema": replace(SCHEMA, bands=("r",))},
        {"algorithm": "1" * 64},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_else_decides_a_tile_is_in_its_key(tmp_path: Path, change: dict[str, Any]) -> None:
    plain, same, changed = (
        tile_of(tmp_path / name, [[np.arange(9)]], 1, **what)
        for name, what in [("plain", {}), ("same", {"conflicts": np.array([7])}), ("changed", change)]
    )
    assert plain == same
    assert plain[0] != changed[0] and plain[1] != changed[1]


def test_a_finished_tile_is_not_written_again(tmp_path: Path) -> None:
    tile_of(tmp_path, [[np.arange(10)]], 1)
    (path,) = tmp_path.rglob("*.zarr.zip")
    before = path.stat().st_mtime_ns
    tile_of(tmp_path, [[np.arange(10)]], 1)
    assert path.stat().st_mtime_ns == before


def test_the_receipt_says_what_became_of_every_row(tmp_path: Path) -> None:
    tile_of(tmp_path, [[np.arange(9)], [np.arange(4)]], 1)
    (path,) = tmp_path.rglob("*.zarr.zip")
    accounting = open_tile(path).receipt["accounting"]
    assert (accounting["n_in"], accounting["n_ok"], accounting["n_flagged"]) == (13, 3, 6)
    assert accounting["excluded"] == {"exact_duplicate": 4}
    assert accounting["flagged"] == {"ra_wrapped": 3, "flux_missing": 3}


def test_rows_missing_from_the_spill_are_noticed(tmp_path: Path) -> None:
    work = GroupWork(tmp_path, (), np.empty(0, np.int64), SCHEMA, "0" * 64)
    with pytest.raises(ValueError, match=r"Npix=4: expected 3 rows in the spill, found 0; run `tiling_plan` again"):
        make_tile(WHOLE, 3, work)


def test_chunks_of_a_tile_are_about_full() -> None:
    assert [even_chunks(n) for n in (0, 1, 65_536, 65_537, 1_000_000)] == [1, 1, 65_536, 32_769, 62_500]
