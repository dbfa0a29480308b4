"""Blends of HSC's COSMOS field, beside the peaks that the LSST pipelines found in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from real.numbers import save
from real.tiles import Blend, hsc_blends, on_lsst_pixels, rows_of
from scipy.spatial import cKDTree

from skymill.config.images import MeasureSettings
from skymill.features.measuring import Measured, measure
from skymill.features.segmenting.segmenter import Segmenter
from skymill.report.images.pictures import Look, outlined
from skymill.report.images.tile_figures import label_colours
from skymill.training.matching import NONE, match

RADIUS_PX = 3.0
SHOWN, ZOOM = 12, 6


@dataclass(frozen=True)
class Taken:
    """A blend taken apart: which of our sources is each peak, (n,), and which of ours is near none, (m,)."""

    blend: Blend
    found: Measured
    partner: NDArray[np.int64]
    extra: NDArray[np.bool_]

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Peaks, those recovered, our sources, and those that are near no peak."""
        return len(self.partner), int((self.partner != NONE).sum()), self.found.n, int(self.extra.sum())


def compare(data: Path, out: Path) -> dict[str, Any]:
    """Measure each blend, draw some of them, give the counts by number of peaks."""
    taken = sorted((take_apart(blend) for blend in hsc_blends(data)), key=lambda one: one.counts[0])
    draw(taken, out)
    groups = {
        f"{n} peaks": [one for one in taken if one.counts[0] == n] for n in sorted({one.counts[0] for one in taken})
    }
    return {"radius_px": RADIUS_PX, "all": told(taken), **{name: told(group) for name, group in groups.items()}}


def compare_segmenter(data: Path, segmenter: Segmenter) -> dict[str, Any]:
    """Give the counts of all blends for a learned segmenter and for `measuring`, both on LSST's pixels and bands.

    The network has seen pixels of 0.2 arcsec alone; the blends are interpolated to these, and have no u band.
    """
    blends = [on_lsst_pixels(blend) for blend in hsc_blends(data)]
    return {
        name: told([take_apart(blend, which) for blend in blends])
        for name, which in (("unet", segmenter), ("measuring", None))
    }


def take_apart(blend: Blend, segmenter: Segmenter | None = None) -> Taken:
    """Measure a blend and match it with its peaks, the brightest first."""
    found = measure(blend.tile, MeasureSettings(), segmenter=segmenter)
    ours = np.column_stack([found.x, found.y])
    ny, nx = blend.tile.shape
    columns, rows = np.clip(np.rint(blend.peaks).astype(int), 0, [nx - 1, ny - 1]).T
    brightness = blend.tile.pixels[blend.tile.bands.index("i"), rows, columns]
    apart, _ = cKDTree(blend.peaks).query(ours)
    return Taken(blend, found, match(blend.peaks, brightness, ours, RADIUS_PX), apart > RADIUS_PX)


def told(taken: list[Taken]) -> dict[str, Any]:
    """Give the sums of blends' counts."""
    peaks, recovered, sources, extra = np.sum([one.counts for one in taken], axis=0).tolist()
    return {"blends": len(taken), "peaks": peaks, "recovered": recovered, "sources": sources, "near_no_peak": extra}


def draw(taken: list[Taken], out: Path) -> None:
    """Draw a gallery from the blend with fewest peaks to that with most."""
    figure = Figure(figsize=(14, 11.5), layout="constrained")
    chosen = np.linspace(0, len(taken) - 1, SHOWN).round().astype(int)
    for axes, one in zip(figure.subplots(3, 4).ravel(), chosen, strict=True):
        _draw_blend(axes, taken[one])
    figure.suptitle(
        "yellow: star, blue: galaxy;  + peaks of the LSST pipelines, white: found, red: not;  magenta x: ours alone"
    )
    save(figure, out, "hsc_blends")


def _draw_blend(axes: Axes, one: Taken) -> None:
    tile, found = one.blend.tile, one.found
    colours = label_colours(rows_of(tile, found), found.n)
    ny, nx = tile.shape
    shown = outlined(Look.of(tile).draw(tile.pixels), found.labels, colours, ZOOM)
    axes.imshow(shown, origin="lower", interpolation="none", extent=(-0.5, nx - 0.5, -0.5, ny - 0.5))
    for seen, colour in ((True, "white"), (False, "red")):
        axes.scatter(*one.blend.peaks[(one.partner != NONE) == seen].T, marker="+", s=50, color=colour, linewidths=1.2)
    axes.scatter(found.x[one.extra], found.y[one.extra], marker="x", s=36, color="magenta", linewidths=1.2)
    peaks, recovered, sources, _ = one.counts
    axes.set_title(f"{recovered} of {peaks} peaks, {sources} sources", fontsize=10)
    axes.set_axis_off()
