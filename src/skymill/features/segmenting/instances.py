"""From maps of classes, centres and offsets to sources (Cheng et al. 2020, CVPR, Panoptic-DeepLab, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymill.features.measuring.footprints import Footprints, only
from skymill.features.segmentation import ARTEFACT, GALAXY, SKY, STAR
from skymill.features.segmenting.contract import CHANNELS

TOUCHING = np.ones((3, 3))
"""Pixels that touch by sides or corners."""


@dataclass(frozen=True)
class Maps:
    """What a segmenter says of each pixel of a tile.

    Attributes
    ----------
    classes : ndarray of float32, (4, ny, nx)
        Probabilities of `segmentation.CLASSES`.
    centre : ndarray of float32, (ny, nx)
        How much the pixel is the centre of a source, 0 to 1.
    offset : ndarray of float32, (2, ny, nx)
        Rows and columns from the pixel to the centre of its source, px.
    blend : ndarray of float32, (ny, nx), optional
        Log-odds that the source of the pixel is a blend which nothing has taken apart.
    """

    classes: NDArray[np.float32]
    centre: NDArray[np.float32]
    offset: NDArray[np.float32]
    blend: NDArray[np.float32] | None = None


def split_maps(channels: NDArray[np.float32]) -> Maps:
    """Name the outputs of a segmenter, (channels, ny, nx): classes, centre, offset and, where there is one, blend."""
    classes, (centre,), offset, blend = np.split(channels, np.cumsum([*CHANNELS.values()]))
    return Maps(classes, centre, offset, blend[0] if len(blend) else None)


def instances(maps: Maps, *, fwhm_px: float, min_centre: float, reach_px: float, min_area_px: int) -> Footprints:
    """Make the sources of a tile.

    A pixel that is rather a star or a galaxy than sky or an artefact belongs to the centre nearest to where its offset
    leads, among the centres of its connected footprint. Pixels that lead to no centre are sky, and so are those of
    sources that are too small.

    Parameters
    ----------
    maps : Maps
    fwhm_px : float
        Width of the point-spread function: centres are the highest within half of it.
    min_centre : float
        Least value of a centre.
    reach_px : float
        How far from a centre a pixel may lead.
    min_area_px : int
        Pixels of the smallest source.

    Returns
    -------
    Footprints
        Sources in the order of their centres, row by row, and the class of each pixel: star or galaxy on sources, sky
        or artefact elsewhere. Where the maps tell of blends, the probability that a source is one: of the mean of the
        log-odds over its pixels.
    """
    from scipy import ndimage

    foreground = maps.classes[[STAR, GALAXY]].sum(axis=0) > maps.classes[[SKY, ARTEFACT]].sum(axis=0)
    groups, n_groups = ndimage.label(foreground, TOUCHING, output=np.int32)
    height = np.where(foreground, maps.centre, np.float32(0))
    rows, columns = find_centres(height, max(1, round(fwhm_px / 2)), min_centre)
    labels = _nearest(groups, maps.offset, rows, columns, reach_px)
    keep = np.bincount(labels.ravel(), minlength=len(rows) + 1)[1:] >= min_area_px
    labels, rows, columns = only(labels, keep), rows[keep], columns[keep]
    has_source = np.isin(np.arange(1, n_groups + 1), groups[rows, columns])
    parents = only(np.where(labels > 0, groups, np.int32(0)), has_source)
    return Footprints(
        labels,
        parents,
        columns,
        rows,
        classes=_classes(maps.classes, labels),
        blend_probability=None if maps.blend is None else _probability(mean_over(maps.blend, labels, len(rows))),
    )


def mean_over(values: NDArray[np.float32], labels: NDArray[np.int32], n: int) -> NDArray[np.float64]:
    """Give the mean of pixels' values over each of n sources, (n,), all of which have pixels."""
    from scipy import ndimage

    return np.asarray(ndimage.mean(values, labels, np.arange(1, n + 1)), dtype=np.float64)


def _probability(log_odds: NDArray[np.float64]) -> NDArray[np.float32]:
    from scipy.special import expit

    return np.asarray(expit(log_odds), dtype=np.float32)


def find_centres(
    height: NDArray[np.float32], apart_px: int, least: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find pixels that none within `apart_px` rows and columns exceeds; of touching ones, the one in their middle.

    Parameters
    ----------
    height : ndarray of float32, (ny, nx)
    apart_px : int
        1 or more.
    least : float
        Height from which a pixel counts.

    Returns
    -------
    rows, columns : ndarray of int64, (n,)
        Row by row.
    """
    from scipy import ndimage

    highest = ndimage.maximum_filter(height, size=2 * apart_px + 1, mode="constant")
    peaks = (height == highest) & (height >= least)
    rows, columns = np.nonzero(peaks)
    plateau = ndimage.label(peaks, TOUCHING)[0][rows, columns] - 1
    size = np.bincount(plateau)
    middle = [(np.bincount(plateau, axis) / size)[plateau] for axis in (rows, columns)]
    order = np.lexsort((np.hypot(rows - middle[0], columns - middle[1]), plateau))
    chosen = np.sort(order[np.unique(plateau[order], return_index=True)[1]])
    return rows[chosen], columns[chosen]


def _nearest(
    groups: NDArray[np.int32],
    offset: NDArray[np.float32],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    reach_px: float,
) -> NDArray[np.int32]:
    """Label pixels by the centre of their group that they lead to; a centre belongs to itself."""
    from scipy.spatial import cKDTree

    labels = np.zeros(groups.shape, dtype=np.int32)
    if not len(rows):
        return labels
    y, x = np.nonzero(groups)
    beyond = reach_px + 1.0  # groups are layers of a third dimension, farther from one another than a pixel may reach
    centres = np.column_stack([rows, columns, beyond * groups[rows, columns]])
    targets = np.column_stack([y + offset[0, y, x], x + offset[1, y, x], beyond * groups[y, x]])
    distance, nearest = cKDTree(centres).query(targets, distance_upper_bound=reach_px)
    led = np.isfinite(distance)
    labels[y[led], x[led]] = nearest[led] + 1
    labels[rows, columns] = np.arange(1, len(rows) + 1)
    return labels


def _classes(probability: NDArray[np.float32], labels: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Give the most probable class of those that agree with the labels, (ny, nx)."""
    of_source = np.where(probability[GALAXY] > probability[STAR], GALAXY, STAR)
    elsewhere = np.where(probability[ARTEFACT] > probability[SKY], ARTEFACT, SKY)
    return np.where(labels > 0, of_source, elsewhere).astype(np.uint8)
