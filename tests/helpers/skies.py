"""Drawn skies, and catalogues of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skymill.sky import Tile, at_order, order29
from skymill.store import Accounting, GroupManifest, Pool, TileEntry, Variable, digest, group_file, write_tile

CLASSES = ("galaxy", "quasar", "star")


@dataclass(frozen=True)
class Sky:
    """Sources of a whole sky, sorted as tiles are."""

    object_id: np.ndarray
    healpix29: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    probabilities: np.ndarray

    @classmethod
    def draw(cls, n: int, seed: int) -> Sky:
        """Draw `n` sources: even over the sphere, and crowded at both poles and at RA 0."""
        random = np.random.default_rng(seed)
        ra, dec = random.uniform(0, 360, n), np.degrees(np.arcsin(random.uniform(-1, 1, n)))
        tenth = n // 10
        dec[:tenth], dec[tenth : 2 * tenth] = 90 - random.exponential(0.5, tenth), random.exponential(0.5, tenth) - 90
        ra[2 * tenth : 3 * tenth] = random.normal(0, 0.3, tenth) % 360
        index = order29(ra, dec)
        order = np.argsort(index)
        ids = 2**60 + np.arange(n)
        return cls(ids, index[order], ra[order], dec[order], random.dirichlet(np.ones(3), n).astype(np.float32))

    def variables(self, rows: Any = slice(None)) -> dict[str, Variable]:
        """Describe some rows as a tile."""
        return {
            "objectId": Variable(self.object_id[rows], attrs={"ucd": "meta.id"}),
            "_healpix_29": Variable(self.healpix29[rows]),
            "coord_ra": Variable(self.ra[rows], attrs={"units": "deg"}),
            "coord_dec": Variable(self.dec[rows], attrs={"units": "deg"}),
            "flags": Variable(np.zeros(len(self.ra[rows]), np.int32)),
            "probabilities": Variable(self.probabilities[rows], ("source", "class"), {"units": "1"}, CLASSES),
        }


def write_sky_tile(pool: Pool, sky: Sky, tile: Tile, *, chunk_rows: int = 512) -> TileEntry:
    """Write the sources of one tile."""
    rows = at_order(sky.healpix29, tile.order) == tile.pixel
    n = int(rows.sum())
    ingredients = {"tile": str(tile)}
    key, accounting = digest(ingredients), Accounting(n_in=n, n_ok=n)
    receipt = {"key": key, "ingredients": ingredients, "accounting": accounting.as_dict()}
    path = pool.path(tile, key)
    file = write_tile(path, sky.variables(rows), receipt=receipt, chunk_rows=chunk_rows, staging=pool.staging)
    return TileEntry(*tile, key, file.sha256, file.n_bytes, n, accounting)


def group_of_all(root: Path, entries: Sequence[TileEntry]) -> GroupManifest:
    """Name tiles in a manifest, which is written too."""
    manifest = GroupManifest(root.name, "0123456789abcdef", "all", {"sky": "drawn"}, tuple(entries))
    manifest.write(group_file(root, manifest.settings, manifest.group))
    return manifest


def write_catalogue(root: Path, sky: Sky, *, order: int = 1, chunk_rows: int = 512) -> GroupManifest:
    """Write the tiles of a catalogue and the manifest of its one group; seal nothing."""
    pixels = np.unique(at_order(sky.healpix29, order)).tolist()
    pool = Pool(root)
    return group_of_all(
        root, [write_sky_tile(pool, sky, Tile(order, pixel), chunk_rows=chunk_rows) for pixel in pixels]
    )
