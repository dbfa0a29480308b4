"""The maps of a segmentation tile: semantic classes, lower resolutions, and the words that image viewers look for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.store.variable import Variable
from skymill.survey.images import TilePixels

CLASSES = ("sky", "star", "galaxy", "artefact")
"""Values of the map of semantic classes, from 0."""
SKY, STAR, GALAXY, ARTEFACT = range(4)
EXTENDED = 0.5
"""Extendedness from which a source counts as a galaxy."""
SMALLEST = 256
"""Pixels along the longer side of the coarsest level."""


def pixel_classes(
    labels: NDArray[np.int32],
    pixels: TilePixels,
    extendedness: NDArray[np.float32],
    learned: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Class each pixel.

    Parameters
    ----------
    labels : ndarray of int32, (ny, nx)
        Source n stands as n, sky as 0.
    pixels : TilePixels
    extendedness : ndarray of float32, (n,)
        Of source 1, 2, ...; NaN counts as extended.
    learned : ndarray of uint8, (ny, nx), optional
        Classes that a segmenter has given, which then stand in place of those that follow from `extendedness`.

    Returns
    -------
    ndarray of uint8, (ny, nx)
        Index into `CLASSES`. Artefacts are pixels that no band has a weight for, or that are saturated or hit by a
        cosmic ray in any band.
    """
    if learned is None:
        of_source = np.where(extendedness < EXTENDED, STAR, GALAXY).astype(np.uint8)
        classes = np.concatenate([np.full(1, SKY, np.uint8), of_source])[labels]
    else:
        classes = learned.copy()
    spoilt = (pixels.inverse_variance == 0).all(axis=0)
    for role in ("saturated", "cosmic_ray"):
        spoilt |= pixels.having(role).any(axis=0)
    classes[spoilt] = ARTEFACT
    return classes


def pyramid(labels: NDArray[np.int32]) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """Give a label map at half its resolution, a quarter, ...; every second pixel, since labels have no mean."""
    factor = 2
    while max(labels.shape) // factor >= SMALLEST:
        yield factor, np.ascontiguousarray(labels[::factor, ::factor])
        factor *= 2


def multiscales(name: str, maps: Mapping[str, Variable]) -> dict[str, Any]:
    """Describe the label map and its levels as OME-NGFF 0.5 has it, so that image viewers open the file."""
    levels = {1: "labels", **{int(each.removeprefix("labels_")): each for each in maps if each.startswith("labels_")}}
    datasets = [
        {"path": path, "coordinateTransformations": [{"type": "scale", "scale": [float(factor), float(factor)]}]}
        for factor, path in sorted(levels.items())
    ]
    axes = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    return {
        "version": "0.5",
        "multiscales": [{"name": name, "axes": axes, "datasets": datasets}],
        "image-label": {"version": "0.5"},
    }
