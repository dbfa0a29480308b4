"""Ids at two positions are found with bounded memory, whatever the parts and ranges."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from skymill.tiling.conflicts import compare_ids, compare_tasks
from skymill.tiling.identity import INDEX, id_ranges, ids_at_two_positions, make_index

BIG = 2**53


def write_parts(folder: Path, ids: np.ndarray, positions: np.ndarray, n_parts: int) -> list[Path]:
    rows = np.zeros(len(ids), INDEX)
    rows["objectId"], rows["_healpix_29"] = ids, positions
    folder.mkdir(exist_ok=True)
    paths = []
    for number, part in enumerate(np.array_split(rows, n_parts)):
        paths.append(folder / f"{number}.npy")
        np.save(paths[-1], make_index(part))
    return paths


@given(seed=st.integers(0, 2**32 - 1), n_parts=st.integers(1, 5), n_ranges=st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_equals_a_plain_search(tmp_path_factory, seed: int, n_parts: int, n_ranges: int) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.integers(-30, 30, 100) + rng.choice([0, BIG, -BIG], 100)
    positions = rng.integers(0, 3, 100)
    paths = write_parts(tmp_path_factory.mktemp("parts"), ids, positions, n_parts)
    tasks = compare_tasks(id_ranges(paths, n_ranges=n_ranges), paths, weight=1)
    found = np.concatenate([compare_ids(task.payload) for task in tasks])
    seen: dict[int, set[int]] = {}
    for number, position in zip(ids.tolist(), positions.tolist()):
        seen.setdefault(number, set()).add(position)
    expected = sorted((number, place) for number, places in seen.items() if len(places) > 1 for place in places)
    assert found.tolist() == expected


def test_a_range_of_ids_is_looked_for_only_where_it_can_be(tmp_path: Path) -> None:
    paths = write_parts(tmp_path, np.arange(1000), np.arange(1000), 4)  # ids of a survey follow the sky
    paths += write_parts(tmp_path / "empty", np.empty(0, int), np.empty(0, int), 1)
    tasks = compare_tasks([(-5, -1), (0, 249), (249, 250), (900, 5000)], paths, weight=1)
    assert [[paths.index(path) for path in task.payload[2]] for task in tasks] == [[], [0], [0, 1], [3]]


def test_ids_that_a_float_cannot_tell_apart_differ(tmp_path: Path) -> None:
    paths = write_parts(tmp_path, np.array([BIG + 1, BIG]), np.array([1, 2]), 1)
    assert len(ids_at_two_positions(paths, *id_ranges(paths, n_ranges=1)[0])) == 0


def test_ranges_cover_all_numbers_once(tmp_path: Path) -> None:
    paths = write_parts(tmp_path, np.arange(1000), np.arange(1000), 3)
    ranges = id_ranges(paths, n_ranges=8)
    limits = np.iinfo(np.int64)
    assert ranges[0][0] == limits.min and ranges[-1][1] == limits.max
    assert all(left[1] + 1 == right[0] for left, right in itertools.pairwise(ranges))
    sizes = [sum(low <= number <= high for number in range(1000)) for low, high in ranges]
    assert max(sizes) < 1000 / 8 * 1.5
    assert id_ranges(write_parts(tmp_path, np.empty(0), np.empty(0), 1), n_ranges=4) == [(limits.min, limits.max)]
