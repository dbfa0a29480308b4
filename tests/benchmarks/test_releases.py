"""The benchmark of releases runs, and its peer counts what `skymill diff` counts."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace

import pytest
from releases import (
    Drawn,
    cost_of,
    files_below,
    forget,
    measure_diff,
    measure_tiles,
    n_bytes,
    publish,
    read,
    sha256,
    verify,
)

ROWS, TILE_ROWS = 4000, 400


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "run"
    drawn = Drawn(folder, ROWS, TILE_ROWS)
    for name in ("DR1", "DR2"):
        publish(replace(drawn.seal(name), models=[]), name, 1)
    return folder


def test_a_tenth_of_the_tiles_is_new(run):
    first, second = ({path.resolve() for path in files_below(run / "releases" / name)} for name in ("DR1", "DR2"))
    assert sum(path.name.endswith(".zarr.zip") for path in second - first) == ROWS / TILE_ROWS / 10


def test_a_drawn_release_is_whole_and_costs_something_to_read(run):
    verify(run, "DR2")
    files = files_below(run / "releases" / "DR2")
    assert n_bytes(files) > 200 * ROWS
    forget(files)
    for step in (read, sha256):
        assert cost_of(step, files).cpu_s > 0


def test_pandas_counts_the_same_flips(run):
    ours, peer = measure_diff(run, ROWS, "DR2", repeats=1, workers=1, measure=cost_of)
    assert ours.cost.cpu_s > 0 and peer.cost.cpu_s > 0


def test_nothing_new_is_seen_without_publishing(tmp_path):
    first, nothing = measure_tiles(tmp_path, Namespace(tiles=12, repeats=1), measure=cost_of)
    assert first.n_bytes == nothing.n_bytes > 0
    assert [path.name for path in (tmp_path / "releases").glob("DR*")] == ["DR1"]
