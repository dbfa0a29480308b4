"""A catalogue of very many small tiles, sealed by us and described as HATS, whose tiles under given cones are real.

Tiles of one order, the first of them split so that the number fits. Where no cone looks, all tiles are hard links to
one file of the size and form of a real one: nothing reads them, but for the first tile, which tells our columns.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from peers.hats_catalogue import leaf_path, write_description

from skymill.sky import Tile, tile_centres
from skymill.store import Accounting, GroupManifest, Pool, TileEntry, TileWriter, Variable, digest, group_file, seal
from skymill.store.cones import Cone

LINKS = 50_000
"""Fewer than file systems allow to one file."""
SETTINGS = "0" * 12
FORM = {
    "objectId": Variable.of_rows(np.int64),
    "_healpix_29": Variable.of_rows(np.int64),
    "coord_ra": Variable.of_rows(np.float64, units="deg"),
    "coord_dec": Variable.of_rows(np.float64, units="deg"),
    "flags": Variable.of_rows(np.int32, flag_masks=[1], flag_meanings="odd"),
    "probabilities": Variable.of_rows(np.float32, dim="class", columns=("GALAXY", "QSO", "STAR")),
}
Place = tuple[float, float, float]
"""Centre and radius of a cone, degrees."""


def tiles_of(n_tiles: int) -> list[Tile]:
    """At least so many tiles, of two orders, that cover the sky."""
    order = int(np.log2(n_tiles / 12) // 2)
    whole_sky = 12 << 2 * order
    split = -((whole_sky - n_tiles) // 3)
    fine = [Tile(order + 1, pixel) for pixel in range(4 * split)]
    return [*fine, *(Tile(order, pixel) for pixel in range(split, whole_sky))]


def under(tiles: Sequence[Tile], cones: Sequence[Place]) -> set[Tile]:
    """Tiles that a cone may touch, and the first."""
    orders, pixels = np.array(tiles, np.int64).T
    shift = 2 * (29 - orders)
    touched = [Cone(*cone).touches(pixels << shift, ((pixels + 1) << shift) - 1) for cone in cones]
    return {tiles[0]} | {tiles[row] for row in np.flatnonzero(np.any(touched, axis=0))}


def rows_of(tile: Tile, rows: int) -> dict[str, NDArray[Any]]:
    """Make a tile's rows, sorted by position."""
    random, shift = np.random.default_rng([tile.order, tile.pixel]), 2 * (29 - tile.order)
    position = np.sort(random.integers(tile.pixel << shift, (tile.pixel + 1) << shift, rows))
    ra, dec = tile_centres(29, position)
    return {
        "objectId": (tile.order << 56) + (tile.pixel << 32) + random.permutation(rows),
        "_healpix_29": position,
        "coord_ra": ra,
        "coord_dec": dec,
        "flags": (random.random(rows) < 0.05).astype(np.int32),
        "probabilities": random.dirichlet(np.ones(3), rows).astype(np.float32),
    }


def write_catalogues(folder: Path, tiles: Sequence[Tile], real: set[Tile], rows: int) -> tuple[Path, Path]:
    """Write both catalogues unless they stand; give their folders."""
    ours, hats = folder / "ours", folder / "hats"
    if not (ours / "current.json").is_file():
        write_ours(ours, tiles, real, rows)
        write_hats(hats, tiles, real, rows)
    return ours, hats


def write_ours(root: Path, tiles: Sequence[Tile], real: set[Tile], rows: int) -> None:
    """Write the tiles, their manifest and the sealed version."""
    pool, entries, filling = Pool(root), [], Filling(root / "filling", lambda path: write_tile(path, tiles[-1], rows))
    for tile in tiles:
        key = digest({"tile": str(tile)})
        path = pool.path(tile, key)
        written = write_tile(path, tile, rows) if tile in real else filling.link(path)
        entries.append(TileEntry(*tile, key, *written, rows, Accounting(n_in=rows, n_ok=rows)))
    manifest = GroupManifest(root.name, SETTINGS, "all", {}, tuple(entries))
    path = group_file(root, SETTINGS, "all")
    path.parent.mkdir(parents=True, exist_ok=True)
    manifest.write(path)
    seal(root, [manifest])


def write_tile(path: Path, tile: Tile, rows: int) -> tuple[str, int]:
    """Write a tile of ours; give its digest and size."""
    receipt = {"key": digest({"tile": str(tile)}), "tile": str(tile)}
    with TileWriter(path, FORM, rows) as writer:
        writer.append(rows_of(tile, rows))
        file = writer.commit(receipt=receipt)
    return file.sha256, file.n_bytes


def write_hats(root: Path, tiles: Sequence[Tile], real: set[Tile], rows: int) -> None:
    """Write the leaves and what describes them."""
    filling = Filling(root / "filling", lambda path: write_leaf(path, tiles[-1], rows))
    for tile in tiles:
        path = leaf_path(root, tile)
        if tile in real:
            write_leaf(path, tile, rows)
        else:
            filling.link(path)
    write_description(root, tiles, as_table(tiles[-1], rows).schema, rows=rows * len(tiles))


def write_leaf(path: Path, tile: Tile, rows: int) -> tuple[str, int]:
    """Write a leaf of the HATS catalogue."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(as_table(tile, rows), path, compression="zstd")
    return "", path.stat().st_size


def as_table(tile: Tile, rows: int) -> pa.Table:
    """Give a tile's rows as a table, a column for each class."""
    columns = rows_of(tile, rows)
    p = columns.pop("probabilities")
    return pa.table(columns | {f"p_{name}": p[:, number] for number, name in enumerate(FORM["probabilities"].columns)})


class Filling:
    """One file that stands for many."""

    def __init__(self, folder: Path, write: Any) -> None:
        self.folder, self.write, self.used = folder, write, 0
        self.written: tuple[str, int] = ("", 0)
        self.folders: set[Path] = set()

    def link(self, path: Path) -> tuple[str, int]:
        """Let a path be the file; give its digest and size."""
        source = self.folder / f"{self.used // LINKS}"
        if self.used % LINKS == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.written = self.write(source)
        if path.parent not in self.folders:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.folders.add(path.parent)
        os.link(source, path)
        self.used += 1
        return self.written


def cones_of(repeats: int, radii: Sequence[float]) -> dict[float, list[Place]]:
    """For each radius as many random centres as there are repeats, twice."""
    random = np.random.default_rng(1)
    found = {}
    for radius in radii:
        ra, dec = random.uniform(0, 360, 2 * repeats), np.degrees(np.arcsin(random.uniform(-1, 1, 2 * repeats)))
        found[radius] = [(float(a), float(d), radius) for a, d in zip(ra, dec)]
    return found


def all_cones(cones: dict[float, list[Place]]) -> list[Place]:
    """All of them."""
    return list(chain.from_iterable(cones.values()))
