"""A cutout of the DC2 coadds, beside the instance masks that DeepDISC learns from, and SEP on the same pixels.

Nearly all of the masks are discs of 290 pixels, cut by a box of 21, however bright their galaxy is, and they share
pixels where galaxies are near each other. Masks of what stands above the noise overlap little with them, so that discs
of that size around the sources' positions are held against them too: these tell of detection and deblending alone. The
true masks themselves, shared pixels given to the nearest middle, are told as a ceiling of all maps of labels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from real.numbers import Array, save
from real.peer import extract
from real.tiles import dc2_cutout
from scipy.sparse import csr_array

from skymill.config.images import MeasureSettings
from skymill.features.measuring import measure
from skymill.features.measuring.measured import PSF_FLUX
from skymill.report.figures import style_of
from skymill.report.images.figures import plot_shares
from skymill.report.images.pictures import Look, outlined
from skymill.report.images.residuals import shares
from skymill.report.images.statistics import histogram
from skymill.survey.images import TilePixels
from skymill.training.instances import (
    assign,
    average_precision,
    mean_average_precision,
    overlaps,
    pixels_of_labels,
    pixels_of_masks,
    precision_recall,
)
from skymill.training.matching import NONE

ANNOTATIONS = "images/deepdisc_dc2/test_3828.json"
LEAST, STRICT = 0.5, 0.75
"""Overlaps at which a mask is matched."""
EDGES = np.array([18.0, 22.0, 23.0, 24.0, 24.5, 25.0, 25.5, 26.0, 27.0, 28.0])
"""Of bins of the annotations' i magnitudes, which only rank."""
CLOSE, ZOOM = (slice(150, 310), slice(150, 310)), 5


@dataclass(frozen=True)
class Masks:
    """The true masks, (ny, nx) each, the middles of their boxes, (n, 2), and i magnitudes, (n,); NaN is unknown."""

    masks: list[NDArray[np.bool_]]
    places: Array
    magnitude: Array

    @classmethod
    def read(cls, path: Path) -> Masks:
        """Read the annotations of the one cutout."""
        [image] = json.loads(path.read_text())
        shape = image["height"], image["width"]
        masks = [filled(one["segmentation"], shape) for one in image["annotations"]]
        boxes = np.array([one["bbox"] for one in image["annotations"]], np.float64)
        magnitude = np.array([one["mag_i"] for one in image["annotations"]])
        return cls(masks, boxes[:, :2] + (boxes[:, 2:] - 1) / 2, np.where(magnitude > 0, magnitude, np.nan))

    def disjoint(self) -> NDArray[np.int32]:
        """Give labels, (ny, nx), in which a shared pixel belongs to the nearest middle among its masks."""
        rows, columns = np.indices(self.masks[0].shape)
        best, labels = np.full(rows.shape, np.inf), np.zeros(rows.shape, np.int32)
        for label, (mask, (x, y)) in enumerate(zip(self.masks, self.places, strict=True), start=1):
            apart = np.hypot(columns - x, rows - y)
            nearer = mask & (apart < best)
            labels[nearer], best[nearer] = label, apart[nearer]
        return labels

    def overlaps(self, found: csr_array) -> Array:
        """Give the overlap of each with every mask of others, (n, m)."""
        return overlaps(pixels_of_masks(self.masks), found)


@dataclass(frozen=True)
class Found:
    """What a method has found: how sure each source is, (m,), and its overlap with the true masks, (n, m)."""

    score: Array
    overlap: Array

    def as_dict(self) -> dict[str, Any]:
        """Give the shares matched, overlaps, and average precisions."""
        partner = assign(self.overlap, self.score, LEAST)
        hit = partner != NONE
        return {
            "sources": len(self.score),
            "matched": int(hit.sum()),
            "share_of_true": hit.sum() / len(self.overlap),
            "share_of_sources": hit.mean(),
            "median_overlap": float(np.median(self.overlap[partner[hit], hit])),
            "AP": mean_average_precision(self.overlap, self.score),
            "AP50": average_precision(self.overlap, self.score, LEAST),
            "AP75": average_precision(self.overlap, self.score, STRICT),
        }

    @property
    def recovered(self) -> NDArray[np.bool_]:
        """Which true masks are matched, (n,)."""
        return np.isin(np.arange(len(self.overlap)), assign(self.overlap, self.score, LEAST))


@dataclass(frozen=True)
class Sources:
    """Sources of a method: labels (ny, nx) of 1 to m, how sure each is, (m,), and where, (m, 2)."""

    labels: NDArray[np.int32]
    score: Array
    places: Array

    def masks(self, true: Masks) -> Found:
        """Hold its masks against the true ones."""
        return Found(self.score, true.overlaps(pixels_of_labels(self.labels)))

    def discs(self, true: Masks) -> Found:
        """Hold discs around its positions, of the true masks' median area, against them."""
        radius = np.sqrt(np.median([mask.sum() for mask in true.masks]) / np.pi)
        rows, columns = np.indices(self.labels.shape)
        discs = [np.hypot(columns - x, rows - y) <= radius for x, y in self.places]
        return Found(self.score, true.overlaps(pixels_of_masks(discs)))


def filled(polygons: list[list[float]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Give the pixels inside any of the polygons (x, y, x, y, ...) or on their borders, (ny, nx)."""
    image = Image.new("1", shape[::-1])
    for polygon in polygons:
        ImageDraw.Draw(image).polygon(polygon, fill=1, outline=1)
    return np.array(image)


def compare(data: Path, out: Path) -> dict[str, Any]:
    """Find sources with ours and SEP, hold both against the masks, draw them, give the numbers."""
    tile, true = dc2_cutout(data), Masks.read(data / ANNOTATIONS)
    methods = {"skymill": ours(tile), "SEP": with_sep(tile)}
    masks = {name: found.masks(true) for name, found in methods.items()}
    discs = {f"{name}, discs": found.discs(true) for name, found in methods.items()}
    draw(tile, true, methods["skymill"].labels, masks, discs, out)
    ceiling = Found(np.ones(len(true.masks)), true.overlaps(pixels_of_labels(true.disjoint())))
    return {
        "masks": len(true.masks),
        **{name: found.as_dict() for name, found in {**masks, **discs, "true masks made disjoint": ceiling}.items()},
        "matched_by_magnitude": {"edges": EDGES.tolist(), **by_magnitude(true, {**masks, **discs})},
    }


def by_magnitude(true: Masks, methods: dict[str, Found]) -> dict[str, Any]:
    """Give the shares of the true masks that each method matches."""
    every = histogram(true.magnitude, EDGES)
    return {name: shares(histogram(true.magnitude[found.recovered], EDGES), every) for name, found in methods.items()}


def ours(tile: TilePixels) -> Sources:
    """Detect and deblend; the score is the signal over noise of the PSF fluxes of all bands."""
    found = measure(tile, MeasureSettings())
    ratio = found.photometry[PSF_FLUX] / found.photometry[f"{PSF_FLUX}Err"]
    score = np.sqrt(np.nansum(np.square(ratio, dtype=np.float64), axis=1))
    return Sources(found.labels, score, np.column_stack([found.x, found.y]))


def with_sep(tile: TilePixels) -> Sources:
    """Detect and deblend with SEP; the score is the flux over its noise."""
    objects, labels, noise = extract(tile)
    score = objects["flux"] / (noise * np.sqrt(objects["npix"]))
    return Sources(labels, score, np.column_stack([objects["x"], objects["y"]]))


def draw(
    tile: TilePixels,
    true: Masks,
    labels: NDArray[np.int32],
    masks: dict[str, Found],
    discs: dict[str, Found],
    out: Path,
) -> None:
    """Draw a part with the true masks and with ours, precision against recall, and the shares matched."""
    figure = Figure(figsize=(12.5, 11.5), layout="constrained")
    panels = figure.subplots(2, 2)
    _draw_masks(panels[0], tile, true, labels, masks["skymill"])
    _draw_precision(panels[1, 0], masks, discs)
    shown = by_magnitude(true, {**masks, **discs})
    plot_shares(panels[1, 1], EDGES.tolist(), shown, "i of the annotation (mag)", "share of true masks matched")
    save(figure, out, "dc2")


def _draw_masks(panels: Sequence[Axes], tile: TilePixels, true: Masks, labels: NDArray[np.int32], found: Found) -> None:
    """Draw a part of the cutout with the true masks, and taken apart."""
    rows, columns = CLOSE
    picture = Look.of(tile).draw(tile.pixels[:, rows, columns])
    extent = (columns.start - 0.5, columns.stop - 0.5, rows.start - 0.5, rows.stop - 0.5)
    bordered = outlined(picture, labels[CLOSE], matched_colours(found), ZOOM)
    for axes, shown in zip(panels, (picture, bordered), strict=True):
        axes.imshow(shown, origin="lower", interpolation="none", extent=extent)
        axes.set_axis_off()
    for mask, matched in zip(true.masks, found.recovered, strict=True):
        if mask[CLOSE].any():
            colour = "white" if matched else "#ff5050"
            places = np.arange(columns.start, columns.stop), np.arange(rows.start, rows.stop)
            panels[0].contour(*places, mask[CLOSE], [0.5], colors=colour, linewidths=0.8)
    panels[0].set_title("true masks; red: ours do not match at 0.5")
    panels[1].set_title("ours; yellow: matched, grey: not")


def matched_colours(found: Found) -> NDArray[np.uint8]:
    """Give the colour of each label's border, (m + 1, 3): yellow where it matches a true mask, else grey."""
    partner = assign(found.overlap, found.score, LEAST)
    colours = np.where((partner != NONE)[:, None], (255, 225, 77), (154, 160, 166))
    return np.vstack([np.zeros((1, 3)), colours]).astype(np.uint8)


def _draw_precision(axes: Axes, masks: dict[str, Found], discs: dict[str, Found]) -> None:
    for methods, line in ((masks, "-"), (discs, "--")):
        for number, (name, found) in enumerate(methods.items()):
            precision, recall = precision_recall(found.overlap, found.score, LEAST)
            axes.plot(recall, precision, line, color=style_of(number)["color"], linewidth=1.4, label=name)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel(f"recall: share of true masks, overlap {LEAST:g}")
    axes.set_ylabel("precision: share of sources")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
