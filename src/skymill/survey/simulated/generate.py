"""Tables of the simulated survey, cell by cell and block by block: raw columns, truth, labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import healpix
import numpy as np
from numpy.typing import NDArray

from skymill.sky import ORDER, separation_arcsec, tile_centres
from skymill.survey.simulated import footprint
from skymill.survey.simulated.bands import BANDS, Array, flux_of
from skymill.survey.simulated.faults import Fault, draw_faults, spoil
from skymill.survey.simulated.footprint import MISSING, PATCH_ORDER, Cell, Patches
from skymill.survey.simulated.observe import measure
from skymill.survey.simulated.population import CLASSES, Sources, draw

if TYPE_CHECKING:
    from skymill.config import SimulationSettings

Table = dict[str, NDArray[Any]]
EXTINCTION = {"u": 4.78, "g": 3.65, "r": 2.70, "i": 2.06, "z": 1.58, "y": 1.31}
"""A_band / E(B-V) of LSST."""
ROWS_AT_ONCE = 65_536
"""Rows of a block: a worker needs 250 MB whatever the survey's size."""
FIRST_ID = 1 << 60
"""Ids are above 2^53, so that whoever passes them through a float is caught."""
POSITIONS, POPULATION, MEASUREMENT, FAULTS, LABELS = range(5)
COMPLETE_TO = 20.0
"""The i magnitude from which the share of labelled sources falls, by 0.2 dex per magnitude."""


@dataclass(frozen=True)
class _Block:
    """What is true of the sources of one block."""

    object_id: NDArray[np.int64]
    ra: Array
    dec: Array
    patch: NDArray[np.int64]  # row of `patches`
    patches: Patches
    sources: Sources
    ebv: Array
    flux: Array  # (n, 6) nJy at the telescope
    fault: NDArray[np.int8]
    original: NDArray[np.int64]


def raw_blocks(settings: SimulationSettings, cell: Cell) -> Iterator[Table]:
    """Yield the table of a cell in blocks of at most 65,536 rows, with the columns and units of LSST's Object table.

    The content depends on the settings and the cell alone.
    """
    for number, rows in _blocks_of(cell):
        block = _true_block(settings, cell, number, rows)
        seeing = block.patches.seeing[block.patch]
        columns: Table = {"objectId": block.object_id, "coord_ra": block.ra, "coord_dec": block.dec}
        columns |= measure(block.sources, block.flux, seeing, _stream(settings, cell, number, MEASUREMENT))
        columns["ebv"] = block.ebv.astype(np.float32)
        missing = block.patches.missing[block.patch]
        for index, (_, bands) in enumerate(MISSING):
            rows_without = np.flatnonzero(missing == index)
            for band in bands:
                for name in ("psfFlux", "psfFluxErr", "cModelFlux", "cModelFluxErr"):
                    columns[f"{BANDS[band]}_{name}"][rows_without] = np.nan
        yield spoil(columns, block.fault, block.original, _stream(settings, cell, number, FAULTS, 1))


def truth_blocks(settings: SimulationSettings, cell: Cell) -> Iterator[Table]:
    """Yield what is true of each row of `raw_blocks`, row by row.

    `objectId`; `ra`, `dec` (deg, never spoilt); `class`; `redshift`; `ebv`; `{b}_flux` (nJy, without noise, behind the
    Galactic dust); `spectral_type`; the profile (`bulge_fraction`; `bulge_radius` and `disc_radius`, half-light along
    the major axis in arcsec; `axis_ratio`; `position_angle` in degrees; `point_fraction`); `fault` (see `Fault`). The
    row of a duplicate describes the source that it replaced in the table.
    """
    for number, rows in _blocks_of(cell):
        block = _true_block(settings, cell, number, rows)
        sources = block.sources
        profile = (
            "redshift",
            "spectral_type",
            "bulge_fraction",
            "bulge_radius",
            "disc_radius",
            "axis_ratio",
            "position_angle",
            "point_fraction",
        )
        yield {
            "objectId": block.object_id,
            "ra": block.ra,
            "dec": block.dec,
            "class": np.array(CLASSES)[sources.kind],
            **{name: getattr(sources, name) for name in profile},
            **{f"{band}_flux": block.flux[:, k] for k, band in enumerate(BANDS)},
            "ebv": block.ebv,
            "fault": block.fault,
        }


def truth(settings: SimulationSettings, cell: Cell) -> Table:
    """Give `truth_blocks` as one table."""
    blocks = list(truth_blocks(settings, cell))
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]} if blocks else {}


def labels(settings: SimulationSettings) -> Iterator[Table]:
    """Yield the sources whose class is known as if from spectra: `objectId`, `ra`, `dec`, `class`, `redshift`.

    The share is `settings.labelled` down to i = 20 and falls by 0.2 dex per magnitude beyond; faulty rows have none.
    """
    for cell in footprint.cells(settings):
        for number, rows in _blocks_of(cell):
            block = _true_block(settings, cell, number, rows)
            share = settings.labelled * 10 ** (-0.2 * np.maximum(block.sources.magnitudes[:, 3] - COMPLETE_TO, 0))
            lot = _stream(settings, cell, number, LABELS).random(rows)
            chosen = np.flatnonzero((lot < share) & (block.fault == Fault.NONE))
            yield {
                "objectId": block.object_id[chosen],
                "ra": block.ra[chosen],
                "dec": block.dec[chosen],
                "class": np.array(CLASSES)[block.sources.kind[chosen]],
                "redshift": block.sources.redshift[chosen],
            }


def _blocks_of(cell: Cell) -> Iterator[tuple[int, int]]:
    for number, start in enumerate(range(0, cell.n_rows, ROWS_AT_ONCE)):
        yield number, min(ROWS_AT_ONCE, cell.n_rows - start)


def _stream(settings: SimulationSettings, cell: Cell, block: int, *purpose: int) -> np.random.Generator:
    return np.random.default_rng([settings.seed, cell.order, cell.pixel, block, *purpose])


def _true_block(settings: SimulationSettings, cell: Cell, number: int, rows: int) -> _Block:
    sky = footprint.patches(settings, footprint.patches_of(cell.order, cell.pixel))
    rng = _stream(settings, cell, number, POPULATION)
    per_class = sky.expected.sum(0)
    galaxies, stars, quasars = rng.multinomial(rows, per_class / per_class.sum())
    sources = draw(rng, (galaxies, stars, quasars))
    patch, ra, dec = _positions(_stream(settings, cell, number, POSITIONS), sky, sources.kind)
    ebv = footprint.reddening(settings.seed, ra, dec)
    dimmed = sources.magnitudes + ebv[:, None] * np.array([EXTINCTION[band] for band in BANDS])
    fault, original = draw_faults(_stream(settings, cell, number, FAULTS), rows, settings.bad_rows)
    unique = 4 ** (cell.order + 1) + cell.pixel
    first = FIRST_ID + (unique << 36) + number * ROWS_AT_ONCE
    return _Block(
        object_id=first + np.arange(rows, dtype=np.int64),
        ra=ra,
        dec=dec,
        patch=patch,
        patches=sky,
        sources=sources,
        ebv=ebv,
        flux=flux_of(dimmed),
        fault=fault,
        original=original,
    )


def _positions(
    rng: np.random.Generator, sky: Patches, kind: NDArray[np.int8]
) -> tuple[NDArray[np.int64], Array, Array]:
    """Draw patches by the density of each class and positions within them, again wherever one falls into a hole."""
    n = len(kind)
    patch = np.empty(n, dtype=np.int64)
    for code in range(len(CLASSES)):
        rows = np.flatnonzero(kind == code)
        share = np.cumsum(sky.expected[:, code])
        patch[rows] = np.searchsorted(share, rng.random(rows.size) * share[-1], side="right")
    centre_ra, centre_dec = tile_centres(PATCH_ORDER, sky.pixels)
    shift = 2 * (ORDER - PATCH_ORDER)
    ra, dec = np.empty(n), np.empty(n)
    todo = np.arange(n)
    while todo.size:
        at = patch[todo]
        index = (sky.pixels[at] << shift) + rng.integers(0, 1 << shift, todo.size)
        ra[todo], dec[todo] = healpix.pix2ang(1 << ORDER, index, nest=True, lonlat=True)
        away = separation_arcsec(ra[todo], dec[todo], centre_ra[at], centre_dec[at])
        todo = todo[away < 3600 * sky.hole_radius[at]]
    return patch, np.where(ra < 0, ra + 360, ra), dec
