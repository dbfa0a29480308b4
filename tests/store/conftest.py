"""Catalogues to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from skies import Sky, write_catalogue

from skymill.store import GroupManifest, seal


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
