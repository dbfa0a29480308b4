"""Adaptive tiles: those of HATS, disjoint, complete, bounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hats.pixel_math.partition_stats import generate_alignment
from hypothesis import given, settings
from hypothesis import strategies as st

from skymill.sky import ORDER, at_order
from skymill.tiling.adaptive import (
    CountMap,
    TileTable,
    adaptive_tiles,
    add_counts,
    count_pixels,
    group_of,
    join_tiles,
    tile_bounds,
)
from skymill.tiling.crowding import tiles_of_any_depth, tiles_of_input
from skymill.tiling.identity import INDEX

LAST = 12 << 2 * ORDER


def hats_tiles(counts: CountMap, *, order: int, lowest_order: int, max_rows: int) -> set[tuple[int, int, int]]:
    histogram = np.zeros(12 << 2 * order, np.int64)
    histogram[counts.pixel] = counts.n_rows
    found = generate_alignment(histogram, order, lowest_order, max_rows)
    return {tuple(int(number) for number in tile) for tile in found if tile is not None}


def as_set(tiles: TileTable) -> set[tuple[int, int, int]]:
    return set(zip(*(column.tolist() for column in tiles)))


def index_file(folder: Path, positions: np.ndarray, name: str = "part") -> Path:
    index = np.zeros(len(positions), INDEX)
    index["objectId"], index["_healpix_29"] = np.arange(len(positions)), positions
    np.save(folder / f"{name}.npy", index)
    return folder / f"{name}.npy"


@st.composite
def skies(draw: st.DrawFn) -> np.ndarray:
    """Positions: scattered ones, and clumps of any tightness down to one point."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    scattered = rng.integers(0, LAST, draw(st.integers(0, 300)))
    clumps = [
        rng.integers(0, LAST) + rng.integers(0, 4 ** draw(st.integers(0, 24)), draw(st.integers(1, 200)))
        for _ in range(draw(st.integers(0, 3)))
    ]
    return np.minimum(np.concatenate([scattered, *clumps]), LAST - 1).astype(np.int64)


@given(positions=skies(), lowest=st.integers(0, 3), spare=st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_tiles_equal_those_of_hats(positions: np.ndarray, lowest: int, spare: int) -> None:
    counts = count_pixels(at_order(positions, 4))
    max_rows = int(counts.n_rows.max(initial=1)) + spare
    tiles, crowded = adaptive_tiles(counts, order=4, lowest_order=lowest, max_rows=max_rows)
    assert len(crowded.pixel) == 0
    assert as_set(tiles) == hats_tiles(counts, order=4, lowest_order=lowest, max_rows=max_rows)


@given(positions=skies(), lowest=st.integers(0, 4), max_rows=st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_tiles_are_disjoint_bounded_and_hold_every_source(
    tmp_path_factory: pytest.TempPathFactory, positions: np.ndarray, lowest: int, max_rows: int
) -> None:
    index = index_file(tmp_path_factory.mktemp("sky"), positions)
    counts = count_pixels(at_order(positions, 4))
    tiles = tiles_of_any_depth(counts, [index], order=4, lowest_order=lowest, max_rows=max_rows)
    starts, stops = tile_bounds(tiles)
    assert np.all(stops[:-1] <= starts[1:])
    place = np.searchsorted(starts, positions, side="right") - 1
    assert np.all((place >= 0) & (positions < stops[place]))
    assert np.array_equal(np.bincount(place, minlength=len(starts)), tiles.n_rows)
    for crowded in np.flatnonzero(tiles.n_rows > max_rows):
        assert len(np.unique(positions[place == crowded])) == 1
    assert np.all(tiles.order >= lowest)


@given(positions=skies(), max_rows=st.integers(20, 80))
@settings(max_examples=30, deadline=None)
def test_depth_of_the_count_map_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, positions: np.ndarray, max_rows: int
) -> None:
    positions = np.unique(positions)
    index = [index_file(tmp_path_factory.mktemp("sky"), positions)]
    shallow, deep = (
        tiles_of_any_depth(
            count_pixels(at_order(positions, order)), index, order=order, lowest_order=0, max_rows=max_rows
        )
        for order in (1, 12)
    )
    assert as_set(shallow) == as_set(deep)


def test_one_source_and_none() -> None:
    one, _ = adaptive_tiles(count_pixels(np.array([5 << 16])), order=8, lowest_order=0, max_rows=10)
    none, _ = adaptive_tiles(count_pixels(np.empty(0, np.int64)), order=8, lowest_order=0, max_rows=10)
    assert as_set(one) == {(0, 5, 1)}
    assert as_set(none) == set()


def test_rows_at_one_point_stop_the_splitting(tmp_path: Path) -> None:
    position = np.int64(7 << 40)
    positions = np.concatenate([np.full(500, position), position + (1 << 30) * np.arange(1, 9)])
    tiles = tiles_of_any_depth(
        count_pixels(at_order(positions, 2)), [index_file(tmp_path, positions)], order=2, lowest_order=0, max_rows=100
    )
    over = tiles.n_rows > 100
    assert tiles.n_rows[over].tolist() == [500]
    assert tiles.n_rows.sum() == 508


def test_a_lowest_order_beyond_the_map_is_refused() -> None:
    with pytest.raises(ValueError, match="lowest_order 5 is beyond the count map's order 4"):
        adaptive_tiles(count_pixels(np.array([1])), order=4, lowest_order=5, max_rows=10)


def test_count_maps_add_up() -> None:
    pixels = np.random.default_rng(0).integers(0, 50, 1000)
    whole = count_pixels(pixels)
    parts = add_counts([count_pixels(part) for part in np.array_split(pixels, 7)])
    assert np.array_equal(parts.pixel, whole.pixel) and np.array_equal(parts.n_rows, whole.n_rows)


def test_tiles_of_a_hats_input_stay(tmp_path: Path) -> None:
    positions = np.array([0, 1, 4**28, 4**29 * 11], np.int64)
    tiles = tiles_of_input([(1, 1), (1, 0), (0, 11)], [index_file(tmp_path, positions)])
    assert as_set(tiles) == {(1, 0, 2), (1, 1, 1), (0, 11, 1)}
    with pytest.raises(ValueError, match="found 1 outside"):
        tiles_of_input([(1, 1), (1, 0)], [index_file(tmp_path, positions)])


def test_group_is_the_ancestor_or_the_tile_itself() -> None:
    tiles = join_tiles([TileTable(np.array([5, 1]), np.array([1000, 40]), np.array([1, 1]))])
    order, pixel = group_of(tiles, group_order=2)
    assert sorted(zip(order.tolist(), pixel.tolist())) == [(1, 40), (2, 1000 >> 6)]
