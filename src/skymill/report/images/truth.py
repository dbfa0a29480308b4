"""How what was found compares with what is there, where that is known: on the rendered survey."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from skymill.config.images import RenderSettings
from skymill.features.measuring.measured import KRON_FLUX, PSF_FLUX
from skymill.features.segmentation import CLASSES, EXTENDED
from skymill.report.images.gather import Array, TileRows, magnitude
from skymill.report.images.sample import Sample
from skymill.report.images.statistics import histogram
from skymill.survey.flags import DEBLENDED, SATURATED
from skymill.survey.reference import reference_band
from skymill.training.matching import NONE, match

RADIUS_ARCSEC = 0.5
"""How far a detection may lie from a true source."""
BORDER_ARCSEC = 2.0
"""How near to a tile's border purity is not asked."""
EDGES: Array = np.arange(16, 28.1, 0.5)
"""Edges of the bins of completeness and purity, mag."""
SEPARATIONS: Array = np.array([0, 0.3, 0.6, 0.9, 1.2, 1.6, 2.0, 2.5, 3.0, 4.0])
"""Edges of the bins of pairs, arcsec."""
PAIR_SIGMA = 20.0
"""How bright both sources of a pair are, in units of the error of a point source."""
ISOLATED_ARCSEC, ISOLATED_SHARE = 1.5, 0.98
"""An isolated source has no visible neighbour within this distance, and this share of the light in its mask."""
HARMLESS = ~DEBLENDED.mask
"""Flags that are not held against a source: at full depth nearly all footprints touch."""
SECURE_SIGMA = 10.0
"""Residuals are of sources so bright that none is missed: else those that noise brightens would be found more often."""
COMPARED = 200_000
"""Isolated sources that are kept at most."""
ARTEFACT = CLASSES.index("artefact")
POINT, EXTENDED_ROW = 0, 1


@dataclass(frozen=True)
class TrueSources:
    """What is true of a tile's sky, and of what is asked here.

    Attributes
    ----------
    table : dict of ndarray, (n,)
        Visible sources on the tile's pixels: `survey.rendered.truth`.
    mine : ndarray of bool, (n,)
        Whether this tile owns their positions.
    usable : ndarray of bool, (n,)
        Whether they are not saturated, and their centres lie on pixels that are no artefacts.
    asked : ndarray of bool, (m,)
        Which detections purity is asked of: the tile's own, not saturated, not on an artefact, and not at the tile's
        border, where their true source may lie beyond.
    pixel_arcsec : float
    n_pixels : int
        Of the tile.
    """

    table: dict[str, NDArray[Any]]
    mine: NDArray[np.bool_]
    usable: NDArray[np.bool_]
    asked: NDArray[np.bool_]
    pixel_arcsec: float
    n_pixels: int

    @property
    def positions(self) -> Array:
        """Column and row, (n, 2)."""
        return np.stack([self.table["x"], self.table["y"]], axis=1)

    @property
    def point(self) -> NDArray[np.bool_]:
        """Which sources are unresolved."""
        return np.asarray(self.table["point_fraction"] == 1)

    def flux(self, bands: Sequence[str]) -> Array:
        """Total fluxes, (n, bands), nJy."""
        return np.stack([self.table[f"{band}_flux"] for band in bands], axis=1).astype(np.float64)


class TruthStatistics:
    """Completeness, purity, residuals and blends, added up tile by tile.

    Parameters
    ----------
    bands : sequence of str
    """

    def __init__(self, bands: Sequence[str]) -> None:
        self.bands = tuple(bands)
        self.reference = self.bands.index(reference_band(self.bands))
        n = len(EDGES) - 1
        self.true, self.recovered = np.zeros((2, n), np.int64), np.zeros((2, n), np.int64)
        self.found, self.real = np.zeros((2, n), np.int64), np.zeros((2, n), np.int64)
        self.kinds = np.zeros((2, 2, n), np.int64)
        self.pairs, self.parted = np.zeros((2, len(SEPARATIONS) - 1), np.int64)
        self.n_unusable = self.n_visible = self.n_pixels = 0
        self.pixel_arcsec = np.nan
        self.isolated = Sample(COMPARED)

    def add(self, tile: TileRows, truth: TrueSources, partner: NDArray[np.int64]) -> None:
        """Add a tile; `partner` is what `match_tile` gave."""
        brightness = magnitude(truth.flux(self.bands)[:, self.reference])
        self.pixel_arcsec = truth.pixel_arcsec
        self.n_visible += len(partner)
        self.n_pixels += truth.n_pixels
        self.n_unusable += int((truth.mine & ~truth.usable).sum())
        counted = truth.mine & truth.usable
        for row, chosen in enumerate((counted, counted & stands_alone(truth))):
            self.true[row] += histogram(brightness[chosen], EDGES)
            self.recovered[row] += histogram(brightness[chosen & (partner != NONE)], EDGES)
        self._add_purity(tile, truth, partner)
        self._add_kinds(tile, truth, partner, brightness)
        self._add_pairs(tile, truth, partner)
        self._add_isolated(tile, truth, partner)

    def _add_purity(self, tile: TileRows, truth: TrueSources, partner: NDArray[np.int64]) -> None:
        measured = magnitude(tile.flux[KRON_FLUX][:, self.reference])
        real = is_real(tile, partner)
        for row, chosen in enumerate((truth.asked, truth.asked & is_clean(tile))):
            self.found[row] += histogram(measured[chosen], EDGES)
            self.real[row] += histogram(measured[chosen & real], EDGES)

    def _add_kinds(self, tile: TileRows, truth: TrueSources, partner: NDArray[np.int64], brightness: Array) -> None:
        """Count by true kind (point, extended) how many are called so."""
        called = np.where(partner == NONE, np.nan, tile.values["extendedness"][partner]) if tile.n else brightness
        known = truth.mine & (partner != NONE) & np.isfinite(called)
        for row, true, right in (
            (POINT, truth.point, called < EXTENDED),
            (EXTENDED_ROW, ~truth.point, called >= EXTENDED),
        ):
            self.kinds[row, 0] += histogram(brightness[known & true], EDGES)
            self.kinds[row, 1] += histogram(brightness[known & true & right], EDGES)

    def _add_pairs(self, tile: TileRows, truth: TrueSources, partner: NDArray[np.int64]) -> None:
        flux = truth.flux(self.bands)[:, self.reference]
        bright = np.flatnonzero(truth.usable & (flux >= PAIR_SIGMA * self._sky_error(tile)))
        if not len(bright):
            return
        reach = SEPARATIONS[-1] / truth.pixel_arcsec
        first, second = bright[cKDTree(truth.positions[bright]).query_pairs(reach, output_type="ndarray")].T
        owner = np.where(flux[first] >= flux[second], first, second)
        first, second = first[truth.mine[owner]], second[truth.mine[owner]]
        apart = np.hypot(*(truth.positions[first] - truth.positions[second]).T) * truth.pixel_arcsec
        both = (partner[first] != NONE) & (partner[second] != NONE)
        self.pairs += histogram(apart, SEPARATIONS)
        self.parted += histogram(apart[both], SEPARATIONS)

    def _add_isolated(self, tile: TileRows, truth: TrueSources, partner: NDArray[np.int64]) -> None:
        chosen = np.flatnonzero(is_isolated(tile, truth, partner))
        true, found = truth.flux(self.bands)[chosen], partner[chosen]
        secure = true[:, self.reference] >= SECURE_SIGMA * tile.error[PSF_FLUX][found, self.reference]
        chosen, true, found = chosen[secure], true[secure], found[secure]
        columns = {"true": true, "point": truth.point[chosen]}
        for kind in (PSF_FLUX, KRON_FLUX):
            columns |= {kind: tile.flux[kind][found], f"{kind}Err": tile.error[kind][found]}
        self.isolated.add(truth.table["objectId"][chosen], columns)

    def _sky_error(self, tile: TileRows) -> float:
        """Give the error of the flux of a faint point source, nJy; infinite where there is none."""
        flux, error = (each[PSF_FLUX][:, self.reference] for each in (tile.flux, tile.error))
        faint = error[(flux < SECURE_SIGMA * error) & (error > 0)]
        return float(np.median(faint)) if len(faint) else np.inf

    @property
    def by_chance(self) -> float:
        """Share of detections at random places that would count as real: those near any visible source."""
        area = self.n_pixels * self.pixel_arcsec**2
        return float(1 - np.exp(-self.n_visible * np.pi * RADIUS_ARCSEC**2 / area)) if self.n_pixels else np.nan


def true_sources(
    settings: RenderSettings, tile: TileRows, classes: NDArray[np.uint8], owned: Callable[[Array, Array], Any]
) -> TrueSources:
    """Give the visible sources on a rendered tile.

    Parameters
    ----------
    settings : RenderSettings
    tile : TileRows
    classes : ndarray of uint8, (ny, nx)
        The tile's map of semantic classes.
    owned : callable
        Tells which positions (ra, dec) belong to the tile.
    """
    from skymill.survey.images.rendered_layout import PREFIX
    from skymill.survey.rendered import truth
    from skymill.survey.simulated.observe import PIXEL_ARCSEC

    every = truth(settings, tile.name.removeprefix(PREFIX))
    table = {column: values[every["visible"]] for column, values in every.items()}
    return TrueSources(
        table,
        mine=owned(table["ra"], table["dec"]),
        usable=~table["saturated"] & ~on_artefact(classes, table["x"], table["y"]),
        asked=asked(tile, classes, BORDER_ARCSEC / PIXEL_ARCSEC),
        pixel_arcsec=PIXEL_ARCSEC,
        n_pixels=classes.size,
    )


def on_artefact(classes: NDArray[np.uint8], x: Array, y: Array) -> NDArray[np.bool_]:
    """Tell which positions lie on pixels that are artefacts, (n,)."""
    ny, nx = classes.shape
    rows, columns = (np.clip(np.rint(np.nan_to_num(each)).astype(int), 0, n - 1) for each, n in ((y, ny), (x, nx)))
    return np.asarray(classes[rows, columns] == ARTEFACT)


def asked(tile: TileRows, classes: NDArray[np.uint8], border_px: float) -> NDArray[np.bool_]:
    """Tell which detections purity is asked of, (n,): see `TrueSources`."""
    x, y = tile.positions.T
    ny, nx = classes.shape
    inside = (np.minimum(x, nx - 1 - x) >= border_px) & (np.minimum(y, ny - 1 - y) >= border_px)
    spoilt = (tile.rows["flags"] & SATURATED.mask != 0) | on_artefact(classes, x, y)
    return np.asarray(tile.primary & inside & ~spoilt)


def match_tile(tile: TileRows, truth: TrueSources, bands: Sequence[str]) -> NDArray[np.int64]:
    """Give the detection of each true source of a tile, by the flux of the reference band."""
    brightness = truth.flux([reference_band(bands)])[:, 0]
    return match(truth.positions, brightness, tile.positions, RADIUS_ARCSEC / truth.pixel_arcsec)


def is_real(tile: TileRows, partner: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which detections have a true source, (n,)."""
    real = np.zeros(tile.n, bool)
    real[partner[partner != NONE]] = True
    return real


def is_isolated(tile: TileRows, truth: TrueSources, partner: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which true sources stand alone and are measured without a flag, on a detection that belongs to the tile."""
    isolated: NDArray[np.bool_] = stands_alone(truth) & (partner != NONE)
    isolated[isolated] = (tile.primary & is_clean(tile))[partner[isolated]]
    return isolated


def is_clean(tile: TileRows) -> NDArray[np.bool_]:
    """Tell which sources have no flag but, perhaps, `deblended`, (n,)."""
    return np.asarray(tile.rows["flags"] & HARMLESS == 0)


def stands_alone(truth: TrueSources) -> NDArray[np.bool_]:
    """Tell which true sources have hardly a neighbour's light on them, (n,)."""
    apart = truth.table["neighbour_distance"] > ISOLATED_ARCSEC
    return np.asarray(apart & (truth.table["own_share"] > ISOLATED_SHARE))
