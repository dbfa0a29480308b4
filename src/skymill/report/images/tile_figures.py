"""Figures of one image tile: the whole of it and its most crowded part, as seen and as taken apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from skymill.features.measuring.measured import KRON_FLUX
from skymill.features.segmentation import CLASSES, EXTENDED
from skymill.report.figures import WIDTH
from skymill.report.gallery import Picture, embed
from skymill.report.images.gather import TileRows
from skymill.report.images.pictures import Look, Rgb, factor_for, instances, outlined, reduced, with_masks
from skymill.survey.images.tile import TilePixels

MOST_PX = 640
"""Pixels along the longer side of a picture of a tile."""
CLOSE_PX, CLOSE_SCALE = 160, 4
"""Side of the close-up, and how many times it is enlarged."""
MARKED = 3000
"""Detections marked at most, the brightest."""
STAR, GALAXY, ELSEWHERE = "#ffe14d", "#6fd3ff", "#9aa0a6"
"""Marks of point sources, extended ones, and those that belong to a neighbouring tile."""


@dataclass(frozen=True)
class TilePicture:
    """What the page shows of a tile."""

    name: str
    why: str
    bands: tuple[str, str, str]
    masked: list[str]
    pictures: list[Picture]


def tile_picture(tile: TilePixels, rows: TileRows, maps: dict[str, NDArray[Any]], look: Look, why: str) -> TilePicture:
    """Draw a tile; `maps` are its `labels` and `classes`."""
    factor = factor_for(tile.shape, MOST_PX)
    small = look.draw(reduced(tile.pixels, factor))
    painted, masked = with_masks(small, tile, look.rows, factor)
    labels, classes = (
        maps[name][::factor, ::factor][: small.shape[0], : small.shape[1]] for name in ("labels", "classes")
    )
    coloured = instances(labels, classes, CLASSES.index("artefact"))
    where = f"tile {tile.name}"
    pictures = [
        embed(
            _marked(painted, rows, factor), "As seen, with detections", f"RGB picture of {where}: {rows.n} detections."
        ),
        embed(_shown(coloured), "Whose pixel is whose", f"Instance map of {where}: a colour a source."),
        *_close_up(tile, rows, maps["labels"], look),
    ]
    return TilePicture(tile.name, why, look.bands, masked, pictures)


def _close_up(tile: TilePixels, rows: TileRows, labels: NDArray[np.int32], look: Look) -> list[Picture]:
    """Draw the most crowded part, plain and with the borders between sources."""
    window = crowded_window(rows, tile.shape)
    picture = look.draw(tile.pixels[:, window[0], window[1]])
    own = labels[window]
    bordered = outlined(picture, own, label_colours(rows, int(labels.max(initial=0))), CLOSE_SCALE)
    where = f"columns {window[1].start} to {window[1].stop - 1}, rows {window[0].start} to {window[0].stop - 1}"
    shown = f"of tile {tile.name}, {where}"
    return [
        embed(_shown(picture), f"Crowded part: x {window[1].start}, y {window[0].start}", f"RGB close-up {shown}."),
        embed(_shown(bordered), "The same, taken apart", f"Close-up {shown}, with the borders between sources."),
    ]


def crowded_window(rows: TileRows, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Give rows and columns of the square that holds most of the tile's own sources, among squares side by side."""
    sides = [min(CLOSE_PX, n) for n in shape]
    columns, lines = rows.positions[rows.primary].T
    edges = [np.linspace(0, n, max(n // side, 1) + 1) - 0.5 for n, side in zip(shape, sides, strict=True)]
    counts = np.histogram2d(lines, columns, bins=edges)[0]
    place = np.unravel_index(np.argmax(counts), counts.shape)
    starts = [
        int(np.clip((edge[at] + edge[at + 1] - side) / 2 + 0.5, 0, n - side))
        for edge, at, side, n in zip(edges, place, sides, shape, strict=True)
    ]
    first, second = (slice(start, start + side) for start, side in zip(starts, sides, strict=True))
    return first, second


def label_colours(rows: TileRows, most: int) -> NDArray[np.uint8]:
    """Give the colour of each label from 0 to `most`, (most + 1, 3)."""
    colours = np.full((max(most, int(rows.rows["label"].max(initial=0))) + 1, 3), 255, np.uint8)
    kinds = mark_colours(rows)
    rgb = {colour: [int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in (STAR, GALAXY, ELSEWHERE)}
    if rows.n:
        colours[rows.rows["label"]] = [rgb[kind] for kind in kinds]
    return colours


def mark_colours(rows: TileRows) -> NDArray[np.str_]:
    """Give the colour in which each source is marked, (n,)."""
    kind = np.where(rows.values["extendedness"] < EXTENDED, STAR, GALAXY)
    return np.where(rows.primary, kind, ELSEWHERE)


def _marked(picture: Rgb, rows: TileRows, factor: int) -> Figure:
    """Draw circles around the brightest detections."""
    figure = _shown(picture)
    brightness = np.nan_to_num(rows.flux[KRON_FLUX], nan=0.0).max(axis=1, initial=0.0)
    chosen = np.argsort(-brightness, kind="stable")[:MARKED]
    places = (rows.positions[chosen] + 0.5) / factor - 0.5
    colours = mark_colours(rows)[chosen].tolist()
    x, y = places.T
    figure.axes[0].scatter(x, y, s=14, facecolors="none", edgecolors=colours, linewidths=0.45)
    return figure


def _shown(picture: Rgb) -> Figure:
    """Show a picture without axes, its first row at the bottom, a pixel as a square."""
    ny, nx = picture.shape[:2]
    figure = Figure(figsize=(WIDTH, WIDTH * min(max(ny / nx, 0.2), 3.0)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(picture, origin="lower", interpolation="none")
    axes.set_xlim(-0.5, nx - 0.5)
    axes.set_ylim(-0.5, ny - 0.5)
    axes.set_axis_off()
    return figure
