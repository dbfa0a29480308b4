"""Where the simulated survey looks: cells, holes, density of the sky, missing bands, seeing, Galactic dust."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skymill.sky import Tile, tile_centres, unit_vectors
from skymill.survey.simulated.bands import Array

if TYPE_CHECKING:
    from skymill.config import SimulationSettings

FIELDS = ((0.0, -30.0), (95.0, -25.0), (0.0, -90.0))
"""RA, Dec around which the footprint grows: across RA 0 far from the Galactic plane, near the plane, the south pole."""
PATCH_ORDER = 8
"""Density, holes and missing bands are set per patch, a HEALPix pixel of 13.7 arcmin."""
MOST_ROWS, FEWEST_CELLS = 250_000, 16
GALACTIC_POLE = (192.85948, 27.12825)
MISSING = ((0.04, (0,)), (0.02, (5,)), (0.01, (0, 5)), (0.005, (1,)))
"""Share of the patches that lack each set of bands (indices in ugrizy)."""
HOLE_SHARE, SMALLEST_HOLE, LARGEST_HOLE = 0.2, 1.0, 6.0
"""Share of the patches with a bright star at the centre; radii of the holes in arcmin. None leaves its patch."""


@dataclass(frozen=True)
class Cell:
    """A HEALPix pixel generated on its own."""

    order: int
    pixel: int
    n_rows: int

    @property
    def tile(self) -> Tile:
        """The pixel."""
        return Tile(self.order, self.pixel)


@dataclass(frozen=True)
class Patches:
    """What the sky is like in each of some patches."""

    pixels: NDArray[np.int64]  # (p,) at PATCH_ORDER
    expected: Array  # (p, 3) sources of each class that the survey should find, up to one constant
    hole_radius: Array  # (p,) degrees, 0 = none
    missing: NDArray[np.int64]  # (p,) index into MISSING, -1 = all bands
    seeing: Array  # (p,) relative width of the PSF


def area_deg2(order: int) -> float:
    """Give the area of a HEALPix pixel."""
    return 4 * np.pi * (180 / np.pi) ** 2 / (12 * 4**order)


def uniform(seed: int, salt: int, pixels: NDArray[np.int64]) -> Array:
    """Give one number in (0, 1) per pixel, a pure function of the three (SplitMix64; Steele, Lea & Flood 2014)."""
    with np.errstate(over="ignore"):
        state = (
            np.asarray(pixels).astype(np.uint64) * np.uint64(4096)
            + np.uint64(salt)
            + np.uint64(seed) * np.uint64(0x2545F4914F6CDD1D)
        )
        for _ in range(2):
            state = state + np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state ^= state >> np.uint64(31)
    return ((state >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53


def galactic_cosecant(ra: Array, dec: Array) -> Array:
    """Give 1 / sin|b|, at most 12 (5 degrees from the plane)."""
    sine = np.abs(unit_vectors(ra, dec) @ unit_vectors(np.array([GALACTIC_POLE[0]]), np.array([GALACTIC_POLE[1]]))[0])
    return 1 / np.maximum(sine, 1 / 12)


def reddening(seed: int, ra: Array, dec: Array) -> Array:
    """Give E(B-V) in mag: a layer of dust seen at the angle b, with waves of some degrees on it."""
    position = unit_vectors(ra, dec)
    waves = np.random.default_rng([seed, 7]).normal(size=(6, 3))
    waves *= 25 * np.arange(1, 7)[:, None] ** 0.5 / np.linalg.norm(waves, axis=1)[:, None]
    phases = 2 * np.pi * uniform(seed, 8, np.arange(6))
    return np.asarray(0.022 * galactic_cosecant(ra, dec) * np.exp(0.15 * np.sin(position @ waves.T + phases).sum(1)))


def patches(settings: SimulationSettings, pixels: NDArray[np.int64]) -> Patches:
    """Describe the sky in some patches; depends on the seed, the class shares and the patch only."""
    seed = settings.seed
    ra, dec = tile_centres(PATCH_ORDER, pixels)
    cosecant = galactic_cosecant(ra, dec)
    large_scale = uniform(seed, 1, pixels >> 4)
    clustering = np.exp(0.5 * (large_scale - 0.5) + 0.5 * (uniform(seed, 2, pixels) - 0.5))
    galaxies = 1 - settings.stars - settings.quasars
    has_hole = uniform(seed, 3, pixels) < HOLE_SHARE
    size = uniform(seed, 4, pixels)
    radius = np.where(has_hole, SMALLEST_HOLE * (LARGEST_HOLE / SMALLEST_HOLE) ** (size**2) / 60, 0.0)
    kept = 1 - np.pi * radius**2 / area_deg2(PATCH_ORDER)
    density = np.stack(
        [galaxies * clustering, settings.stars * cosecant**1.3 / 1.9, settings.quasars * np.ones_like(ra)], axis=1
    )
    edges = np.cumsum([share for share, _ in MISSING])
    lot = np.searchsorted(edges, uniform(seed, 5, pixels))
    return Patches(
        pixels=pixels,
        expected=density * kept[:, None],
        hole_radius=radius,
        missing=np.where(lot < len(MISSING), lot, -1),
        seeing=np.exp(0.05 * np.sqrt(12) * (uniform(seed, 6, pixels >> 2) - 0.5)),
    )


def cell_order(settings: SimulationSettings) -> int:
    """Give the order at which the footprint has enough cells, each of a bounded number of rows."""
    wanted = max(FEWEST_CELLS, settings.rows / MOST_ROWS)
    order = int(np.ceil(np.log(wanted * 4 * np.pi * (180 / np.pi) ** 2 / settings.area_deg2 / 12) / np.log(4)))
    return int(np.clip(order, 0, PATCH_ORDER))


def patches_of(order: int, pixel: int) -> NDArray[np.int64]:
    """Give the patches inside a cell."""
    children = 4 ** (PATCH_ORDER - order)
    return np.arange(pixel * children, (pixel + 1) * children, dtype=np.int64)


def cells(settings: SimulationSettings) -> list[Cell]:
    """Give the independent cells of the footprint and their exact numbers of rows, in the order of their pixels.

    The footprint is made of the cells nearest to one of `FIELDS`, as many as the area takes: three fields when it is
    small, the whole sky when it is large. Numbers are Poisson.
    """
    return list(_cells(settings))


@lru_cache(maxsize=4)
def _cells(settings: SimulationSettings) -> tuple[Cell, ...]:
    order = cell_order(settings)
    ra, dec = tile_centres(order, np.arange(12 * 4**order))
    nearness = (unit_vectors(ra, dec) @ unit_vectors(*np.array(FIELDS).T).T).max(1)
    n_cells = int(np.clip(round(settings.area_deg2 / area_deg2(order)), 1, nearness.size))
    chosen = np.sort(np.argsort(-nearness, kind="stable")[:n_cells])
    inside = np.concatenate([patches_of(order, pixel) for pixel in chosen.tolist()])
    expected = patches(settings, inside).expected.reshape(n_cells, -1).sum(1)
    rows = np.random.default_rng([settings.seed, 1]).poisson(expected * settings.rows / expected.sum())
    return tuple(Cell(order, int(pixel), int(n)) for pixel, n in zip(chosen, rows))
