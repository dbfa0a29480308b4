"""Catalogues to read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skymill.sky import Tile, at_order, order29
from skymill.store import Accounting, GroupManifest, Pool, TileEntry, Variable, digest, group_file, seal, write_tile

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


def write_catalogue(root: Path, sky: Sky, *, order: int = 1, chunk_rows: int = 512) -> GroupManifest:
    """Write the tiles of a catalogue and the manifest of its one group; seal nothing."""
    pool, entries = Pool(root), []
    pixels = at_order(sky.healpix29, order)
    for pixel in np.unique(pixels).tolist():
        tile, rows = Tile(order, pixel), pixels == pixel
        n = int(rows.sum())
        ingredients = {"tile": str(tile)}
        key, accounting = digest(ingredients), Accounting(n_in=n, n_ok=n)
        receipt = {"key": key, "ingredients": ingredients, "accounting": accounting.as_dict()}
        path = pool.path(tile, key)
        file = write_tile(path, sky.variables(rows), receipt=receipt, chunk_rows=chunk_rows, staging=pool.staging)
        entries.append(TileEntry(*tile, key, file.sha256, file.n_bytes, n, accounting))
    manifest = GroupManifest(root.name, "0123456789abcdef", "all", {"sky": "drawn"}, tuple(entries))
    manifest.write(group_file(root, manifest.settings, manifest.group))
    return manifest


@pytest.fixture
def tiles_of() -> Callable[..., GroupManifest]:
    """Write tiles and their manifest: `tiles_of(root, sky, order=..., chunk_rows=...)`."""
    return write_catalogue


@pytest.fixture(scope="session")
def sky() -> Sky:
    """30,000 sources."""
    return Sky.draw(30_000, seed=1)


@pytest.fixture(scope="session")
def sealed(sky: Sky, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed catalogue of that sky, which tests only read."""
    root = tmp_path_factory.mktemp("results") / "catalogues" / "demo"
    seal(root, [write_catalogue(root, sky)], n_in=len(sky.ra))
    return root


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small sealed catalogue, which tests may spoil."""
    root = tmp_path / "catalogues" / "small"
    seal(root, [write_catalogue(root, Sky.draw(2000, seed=2), order=0, chunk_rows=64)])
    return root
