"""A group of small tiles; some may do harm while they are made.

As a program, `lab.py ROOT TILES SECONDS`: make the group, each tile taking so long, and end with 3 if it is locked.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import deeds
import numpy as np

from skymill.compute import GroupLockedError, TileGroup, TileTask, run_group
from skymill.config import ComputeSettings
from skymill.sky import ORDER, Tile, tile_centres, tile_range
from skymill.store import Accounting, Pool, TileEntry, TileWriter, Variable, digest

TILE_ORDER = 3
ROWS = 40
LOCKED = 3
SETTINGS = ComputeSettings()
FORM = {
    "objectId": Variable.of_rows("i8"),
    "_healpix_29": Variable.of_rows("i8"),
    "coord_ra": Variable.of_rows("f8"),
    "coord_dec": Variable.of_rows("f8"),
    "flags": Variable.of_rows("i4"),
    "values": Variable.of_rows("f4", dim="value", columns=("a", "b")),
}


def ingredients(tile: Tile) -> dict[str, str]:
    """What the key of a tile is the digest of."""
    return {"tile": str(tile)}


def make_tile(tile: Tile, *, root: str, guilty: Mapping[int, str], seconds: float) -> TileEntry:
    """Write a tile, unless it stands there; a guilty one does its deed instead."""
    pool, key = Pool(root), digest(ingredients(tile))
    if (done := pool.entry(tile, key)) is not None:
        return done
    deed = guilty.get(tile.pixel)
    rows = values_of(tile)
    if deed == "wrong_shape":
        rows["values"] = rows["values"][:, :1]
    elif deed:
        deeds.do((deed, str(Path(root).parent), tile.pixel))
    accounting = Accounting(n_in=ROWS, n_ok=ROWS)
    receipt = {"key": key, "ingredients": ingredients(tile), "accounting": accounting.as_dict()}
    with TileWriter(pool.path(tile, key), FORM, ROWS, chunk_rows=16, staging=pool.staging) as writer:
        writer.append(rows)
        time.sleep(seconds)
        file = writer.commit(receipt=receipt)
    return TileEntry(*tile, key, file.sha256, file.n_bytes, ROWS, accounting)


def values_of(tile: Tile) -> dict[str, np.ndarray]:
    """The rows of a tile: a function of its place."""
    chosen = np.random.default_rng(tile.pixel)
    index = np.sort(chosen.integers(*tile_range(tile), ROWS))
    ra, dec = tile_centres(ORDER, index)
    return {
        "objectId": 2**60 + 1000 * tile.pixel + np.arange(ROWS),
        "_healpix_29": index,
        "coord_ra": ra,
        "coord_dec": dec,
        "flags": np.zeros(ROWS, "i4"),
        "values": chosen.normal(size=(ROWS, 2)).astype("f4"),
    }


def run(
    root: Path,
    *,
    tiles: int,
    guilty: Mapping[int, str] | None = None,
    seconds: float = 0.0,
    settings: ComputeSettings = SETTINGS,
) -> Path:
    """Make the first so many tiles and their manifest."""
    places = [Tile(TILE_ORDER, pixel) for pixel in range(tiles)]
    group = TileGroup(
        catalogue=root,
        settings="0123456789abcdef",
        name="all",
        describe="lab",
        inputs={"lab": "1"},
        tasks=[TileTask(tile, ROWS, tile, digest(ingredients(tile))) for tile in places],
    )
    make = partial(make_tile, root=str(root), guilty=guilty or {}, seconds=seconds)
    return run_group(group, lambda todo: make, workers=2, settings=settings)


def expected(root: Path, tiles: int) -> dict[str, bytes]:
    """Every tile and its bytes, made one after the other in this process."""
    for pixel in range(tiles):
        make_tile(Tile(TILE_ORDER, pixel), root=str(root), guilty={}, seconds=0.0)
    return pool(root)


def pool(root: Path) -> dict[str, bytes]:
    """Every tile in the pool and its bytes."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.glob("tiles/**/*.zarr.zip"))}


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        run(Path(sys.argv[1]), tiles=int(sys.argv[2]), seconds=float(sys.argv[3]))
    except GroupLockedError as error:
        logging.error("%s", error)
        sys.exit(LOCKED)
