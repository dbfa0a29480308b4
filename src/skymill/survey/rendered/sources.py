"""What is in the sky: the simulated population laid on the mosaic's pixels, in cells that know nothing of tiles."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from skymill.config.images import RenderSettings
from skymill.survey.rendered.grid import Array, Window
from skymill.survey.rendered.profiles import half_light_radius
from skymill.survey.rendered.shapes import choose_stamps
from skymill.survey.simulated.bands import BANDS, flux_of
from skymill.survey.simulated.cosmology import FAINTEST
from skymill.survey.simulated.observe import PIXEL_ARCSEC
from skymill.survey.simulated.population import (
    Sources,
    draw_galaxies,
    draw_quasars,
    draw_stars,
    galaxy_log_counts,
    magnitude_grid,
)

CELL_PX = 512
ORIGIN = 1 << 14
"""Added to a cell's column and row, which are negative left of and below the mosaic."""
FIRST_ID = (1 << 60) + (1 << 57)
"""Above 2^53, so that whoever passes ids through a float is caught, and apart from those of the simulated tables."""
POPULATION, POSITIONS, PAIRS, SHAPES = 51, 52, 53, 54
"""Purposes of random streams."""
BRIGHTEST_GALAXY = 15.5
GALAXIES_TO_25 = 46.0
"""Galaxies brighter than i = 25 per square arcmin (LSST Science Book 2009, arXiv:0912.0201, section 3.7.2)."""
CLOSEST, WIDEST, FAINTER = 0.3, 2.5, 1.5
"""Separation in arcsec of the extra companions, and by how many magnitudes they are fainter at most."""


@dataclass(frozen=True)
class Catalogue:
    """Sources on the mosaic; every array has one row each."""

    object_id: NDArray[np.int64]
    x: Array
    y: Array
    flux: Array  # (n, 6) nJy, total
    sources: Sources
    radius: Array  # half-light radius of the resolved light along the major axis, arcsec
    stamp: NDArray[np.int64]  # real shape to draw, -1 = bulge and disc

    @property
    def round_radius(self) -> Array:
        """Half-light radius of the circle of equal area, arcsec."""
        return np.asarray(self.radius * np.sqrt(self.sources.axis_ratio))

    def __len__(self) -> int:
        """Count the sources."""
        return len(self.object_id)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Catalogue:
        """Give some of the sources."""
        own = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "sources"}
        return Catalogue(sources=self.sources.take(np.asarray(rows)), **own)

    @classmethod
    def concatenate(cls, parts: list[Catalogue]) -> Catalogue:
        """Put catalogues one after the other."""
        own = {f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls) if f.name != "sources"}
        return cls(sources=Sources.concatenate([part.sources for part in parts]), **own)


def galaxies_per_arcmin2(faintest: float) -> float:
    """Give the galaxies brighter than i = `faintest` per square arcmin: the population's counts, 46 of them to 25."""
    total, to_25 = (
        float(np.sum(10 ** galaxy_log_counts(magnitude_grid(BRIGHTEST_GALAXY, limit)))) for limit in (faintest, 25.0)
    )
    return GALAXIES_TO_25 * total / to_25


def catalogue(settings: RenderSettings, window: Window, reach: int) -> Catalogue:
    """Give the sources of all cells that lie within `reach` pixels of a window, cell by cell."""
    columns = range((window.x0 - reach) // CELL_PX, (window.x0 + window.nx - 1 + reach) // CELL_PX + 1)
    rows = range((window.y0 - reach) // CELL_PX, (window.y0 + window.ny - 1 + reach) // CELL_PX + 1)
    return Catalogue.concatenate([_cell(settings, column, row) for row in rows for column in columns])


@lru_cache(maxsize=256)
def _cell(settings: RenderSettings, column: int, row: int) -> Catalogue:
    """Draw the sources of a square of CELL_PX pixels; depends on the settings of the population and on itself alone."""
    place = (row + ORIGIN, column + ORIGIN)
    rng = np.random.default_rng([settings.seed, POPULATION, *place])
    sources = _draw(rng, settings)
    x, y = np.random.default_rng([settings.seed, POSITIONS, *place]).random((2, len(sources.kind))) * CELL_PX
    sources, x, y = _with_companions(np.random.default_rng([settings.seed, PAIRS, *place]), settings, sources, x, y)
    radius = half_light_radius(sources)
    shapes_rng = np.random.default_rng([settings.seed, SHAPES, *place])
    first = FIRST_ID + (place[0] << 36) + (place[1] << 20)
    return Catalogue(
        object_id=first + np.arange(len(x), dtype=np.int64),
        x=x + column * CELL_PX - 0.5,
        y=y + row * CELL_PX - 0.5,
        flux=flux_of(sources.magnitudes),
        sources=sources,
        radius=radius,
        stamp=choose_stamps(shapes_rng, settings, sources, radius * np.sqrt(sources.axis_ratio)),
    )


def _draw(rng: np.random.Generator, settings: RenderSettings) -> Sources:
    area = (CELL_PX * PIXEL_ARCSEC / 60) ** 2
    per_arcmin2 = (settings.density * galaxies_per_arcmin2(settings.faintest), settings.stars, settings.quasars)
    galaxies, stars, quasars = rng.poisson(np.array(per_arcmin2) * area).tolist()
    return Sources.concatenate(
        [
            draw_galaxies(rng, galaxies, magnitudes=magnitude_grid(BRIGHTEST_GALAXY, settings.faintest)),
            draw_stars(rng, stars, magnitudes=magnitude_grid(settings.brightest_star, settings.faintest)),
            _draw_quasars(rng, quasars, settings.faintest),
        ]
    )


def _draw_quasars(rng: np.random.Generator, n: int, faintest: float) -> Sources:
    """Draw quasars; those fainter than the field's limit are left out (none is fainter than FAINTEST)."""
    quasars = draw_quasars(rng, n)
    return quasars if faintest >= FAINTEST else quasars.take(quasars.magnitudes[:, BANDS.index("i")] < faintest)


def _with_companions(
    rng: np.random.Generator, settings: RenderSettings, sources: Sources, x: Array, y: Array
) -> tuple[Sources, Array, Array]:
    """Add galaxies close to others, to any whose companion would not be fainter than the field's limit."""
    i = sources.magnitudes[:, BANDS.index("i")]
    hosts = np.flatnonzero((sources.kind == 0) & (i < settings.faintest - FAINTER))
    n = int(rng.poisson(settings.pairs * (CELL_PX * PIXEL_ARCSEC / 60) ** 2)) if hosts.size else 0
    if n == 0:
        return sources, x, y
    host = rng.choice(hosts, n)
    new = draw_galaxies(rng, n, magnitudes=magnitude_grid(BRIGHTEST_GALAXY, settings.faintest))
    fainter = i[host] + rng.uniform(0, FAINTER, n) - new.magnitudes[:, BANDS.index("i")]
    new.magnitudes[:] += fainter[:, None]
    radius = 10 ** (-0.11 * fainter)  # sizes fall with i as they do for the others
    new.bulge_radius[:] *= radius
    new.disc_radius[:] *= radius
    separation = rng.uniform(CLOSEST, WIDEST, n) / PIXEL_ARCSEC
    angle = rng.uniform(0, 2 * np.pi, n)
    beside_x, beside_y = x[host] + separation * np.cos(angle), y[host] + separation * np.sin(angle)
    return Sources.concatenate([sources, new]), np.concatenate([x, beside_x]), np.concatenate([y, beside_y])
