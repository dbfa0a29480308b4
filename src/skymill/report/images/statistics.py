"""What can be said of measured sources without any truth, added up tile by tile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.features.measuring.measured import KRON_FLUX, PSF_FLUX
from skymill.features.segmentation import EXTENDED
from skymill.report.images.gather import Array, TileRows, magnitude
from skymill.report.images.sample import Sample
from skymill.survey.reference import reference_band

STEP = 0.25
COUNT_EDGES: Array = np.arange(12, 30 + STEP / 2, STEP)
"""Edges of the bins in which sources are counted, mag."""
FINE = 0.01
DEPTH_EDGES: Array = np.round(np.arange(14, 34 + FINE / 2, FINE), 2)
"""Edges of the bins from which medians of depths are taken, mag."""
DETECTED = 5.0
"""Signal over noise from which a source counts in a band."""
FAINT = 10.0
"""Signal over noise below which the error of a flux is that of the sky."""
FEWEST_COUNTED = 50
"""Sources below which no turn-over is told."""
DRAWN = 4000
"""Sources in the star/galaxy diagram."""


class SurveyStatistics:
    """Counts, depths and the star/galaxy diagram of the sources that belong to their tiles.

    Parameters
    ----------
    bands : sequence of str
    """

    def __init__(self, bands: Sequence[str]) -> None:
        self.bands = tuple(bands)
        self.reference = self.bands.index(reference_band(self.bands))
        shape = (len(self.bands), len(COUNT_EDGES) - 1)
        self.counts = {kind: np.zeros(shape, np.int64) for kind in (PSF_FLUX, KRON_FLUX)}
        self.depths = np.zeros((len(self.bands), len(DEPTH_EDGES) - 1), np.int64)
        self.tile_depths: dict[str, list[float | None]] = {}
        self.kinds = np.zeros((3, len(COUNT_EDGES) - 1), np.int64)
        self.n_detected = self.n_primary = 0
        self.diagram = Sample(DRAWN)

    def add(self, tile: TileRows) -> None:
        """Add the sources of a tile."""
        mine = tile.primary
        self.n_detected += tile.n
        self.n_primary += int(mine.sum())
        for kind, counts in self.counts.items():
            flux, error = tile.flux[kind][mine], tile.error[kind][mine]
            seen = np.where((error > 0) & (flux >= DETECTED * error), magnitude(flux), np.nan)
            for band in range(len(self.bands)):
                counts[band] += histogram(seen[:, band], COUNT_EDGES)
        depth = point_depth(tile)[mine]
        for band in range(len(self.bands)):
            self.depths[band] += histogram(depth[:, band], DEPTH_EDGES)
        self.tile_depths[tile.name] = [median_of(depth[:, band]) for band in range(len(self.bands))]
        self._add_to_diagram(tile, mine)

    def _add_to_diagram(self, tile: TileRows, mine: NDArray[np.bool_]) -> None:
        brightness = magnitude(tile.flux[KRON_FLUX][mine, self.reference])
        extended = tile.values["extendedness"][mine]
        for row, chosen in enumerate((extended < EXTENDED, extended >= EXTENDED, np.isnan(extended))):
            self.kinds[row] += histogram(brightness[chosen], COUNT_EDGES)
        size = tile.values["half_light_radius"][mine]
        columns = {"magnitude": brightness, "size": size, "extendedness": extended}
        self.diagram.add(tile.rows["objectId"][mine], columns)

    def as_dict(self) -> dict[str, Any]:
        """Give all numbers as JSON has them."""
        names = {PSF_FLUX: "psf", KRON_FLUX: "kron"}
        point, extended, unknown = self.kinds.tolist()
        return {
            "counts": {
                "edges": COUNT_EDGES.tolist(),
                "least_signal_to_noise": DETECTED,
                "bands": {
                    band: {
                        **{names[kind]: counts[index].tolist() for kind, counts in self.counts.items()},
                        **{f"{names[kind]}_turnover": turnover(counts[index]) for kind, counts in self.counts.items()},
                        "depth_5_sigma": histogram_median(self.depths[index]),
                        "depth_sources": int(self.depths[index].sum()),
                    }
                    for index, band in enumerate(self.bands)
                },
            },
            "tile_depths": self.tile_depths,
            "star_galaxy": {
                "band": self.bands[self.reference],
                "edges": COUNT_EDGES.tolist(),
                "point": point,
                "extended": extended,
                "unknown": unknown,
            },
        }


def point_depth(tile: TileRows) -> Array:
    """Give the magnitude of a point source at 5 sigma by each source's error, (n, bands); NaN for those over 10 sigma.

    m = 31.4 - 2.5 log10(5 e) with the error e of the PSF flux (nJy); bright sources add noise of their own.
    """
    flux, error = tile.flux[PSF_FLUX], tile.error[PSF_FLUX]
    return magnitude(np.where(flux < FAINT * error, DETECTED * error, np.nan))


def histogram(values: Array, edges: Array) -> NDArray[np.int64]:
    """Count values by bin; NaN and what lies outside are left out."""
    return np.histogram(values[np.isfinite(values)], edges)[0].astype(np.int64)


def median_of(values: Array) -> float | None:
    """Give the median of the finite values; None where there is none."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None


def histogram_median(counts: NDArray[np.int64]) -> float | None:
    """Give the median from counts in `DEPTH_EDGES`, the middle of its bin; None where there is none."""
    if not counts.sum():
        return None
    place = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
    return round(float(DEPTH_EDGES[place]) + FINE / 2, 3)


def turnover(counts: NDArray[np.int64]) -> float | None:
    """Give the magnitude at which counts turn over: the middle of the three neighbouring bins that hold most.

    None where fewer than `FEWEST_COUNTED` sources are counted.
    """
    if counts.sum() < FEWEST_COUNTED:
        return None
    place = int(np.argmax(np.convolve(counts, np.ones(3, np.int64), mode="same")))
    return float(COUNT_EDGES[place] + STEP / 2)
