"""Morphology of sources without a model of their light: concentration, asymmetry, smoothness, Gini, M20 and radii.

Definitions are those of statmorph 0.7 (Rodriguez-Gomez et al. 2019, MNRAS 483, 4140), after Conselice 2003, ApJS 147, 1
and Lotz, Primack & Madau 2004, AJ 128, 163.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FLAG_MEANINGS = {
    0: "good",
    1: "suspect: several bright regions, or the centre of least asymmetry was hard to find",
    2: "bad: a radius, the sky or another quantity could not be measured as defined",
    4: "nothing measured: no such segment, one too large, or one whose flux is not positive",
}


def morphology(
    image: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    sources: ArrayLike,
    *,
    mask: NDArray[np.bool_] | None = None,
    inverse_variance: NDArray[np.floating[Any]] | None = None,
    largest_stamp: int = 2048,
) -> dict[str, NDArray[Any]]:
    """Measure the morphology of sources of a tile in one band.

    A source is looked at on a stamp of 2.5 times its segment's bounding box, and at least 48 pixels. Pixels of other
    sources, masked ones, those without value and single outliers of 10 standard deviations are left out; the sky is
    taken from the first box of up to 32 pixels in the stamp that holds neither sources nor masked pixels.

    Parameters
    ----------
    image : ndarray of float, (ny, nx)
        Any unit, without background; NaN where there is no value.
    labels : ndarray of int, (ny, nx)
        Number of the source each pixel belongs to, 0 where it belongs to none.
    sources : array_like of int, (n,)
        Numbers of the sources to be measured.
    mask : ndarray of bool, (ny, nx), optional
        Pixels not to be used.
    inverse_variance : ndarray of float, (ny, nx), optional
        Of the image; pixels of weight 0 are not used, and `signal_to_noise` is measured.
    largest_stamp : int
        Pixels; a source whose stamp is longer is not measured, since its cost grows with the stamp's area.

    Returns
    -------
    dict of str to ndarray, (n,)
        float32, NaN where a quantity cannot be measured:

        - `concentration`: 5 log10(r80 / r20), of the light within 1.5 Petrosian radii (Conselice 2003)
        - `asymmetry`: under rotation by 180 degrees about the centre that makes it least (Lotz et al. 2004, eq. 10)
        - `smoothness`: flux of clumps over all flux, of 0.25 to 1.5 Petrosian radii (Lotz et al. 2004, eq. 11)
        - `gini`: Gini coefficient of the pixels above the brightness at the Petrosian radius (Lotz et al. 2004, eq. 6)
        - `m20`: log10 of the second moment of the brightest of these, with a fifth of the flux, over all's (eq. 8)
        - `petrosian_radius`, `petrosian_radius_ellip`: pixels, where the surface brightness falls to 0.2 of the mean
          within; of circles, and of ellipses of the shape of the second moments (semi-major axis)
        - `half_light_radius`, `half_light_radius_ellip`: pixels, with half of the light that the circle or ellipse
          holds which just holds the region that stands out of the sky by a standard deviation
        - `signal_to_noise`: mean of the Gini pixels over their noise; NaN without `inverse_variance`

        and `flag`, uint8, by `FLAG_MEANINGS`.

    Raises
    ------
    ValueError
        If the arrays have different shapes, or `labels` or `sources` are no integers.
    """
    from scipy.ndimage import find_objects

    from skymill.features.measuring.morphology.measure import Morphology, measure
    from skymill.features.measuring.morphology.stamps import stamp_slices

    numbers = np.asarray(sources)
    _check(image, labels, numbers, mask, inverse_variance)
    bounds, found = find_objects(labels), []
    for number in numbers.tolist():
        bound = bounds[number - 1] if 0 < number <= len(bounds) else None
        where = stamp_slices(bound, image.shape) if bound else (slice(0, 0), slice(0, 0))
        if not 0 < max(part.stop - part.start for part in where) <= largest_stamp:
            found.append(Morphology())
            continue
        weights = None if inverse_variance is None else np.array(inverse_variance[where], np.float64)
        unused = np.zeros(labels[where].shape, bool) if mask is None else np.array(mask[where], bool)
        if weights is not None:
            unused |= ~(weights > 0)
        pixels, segments = np.array(image[where], np.float64), np.array(labels[where], np.int32)
        found.append(measure(pixels, segments, unused, weights, number))
    kinds = {field.name: np.uint8 if field.name == "flag" else np.float32 for field in fields(Morphology)}
    return {name: np.array([getattr(one, name) for one in found], kind) for name, kind in kinds.items()}


def _check(image: NDArray[Any], labels: NDArray[Any], numbers: NDArray[Any], *others: NDArray[Any] | None) -> None:
    shapes = {array.shape for array in (image, labels, *others) if array is not None}
    if len(shapes) > 1 or image.ndim != 2:
        raise ValueError(f"expected images of one shape (ny, nx), found {', '.join(map(str, sorted(shapes)))}")
    if numbers.ndim != 1 or labels.dtype.kind not in "iu" or (numbers.dtype.kind not in "iu" and len(numbers)):
        raise ValueError(
            f"expected labels and sources (n,) of integers, found {labels.dtype} and {numbers.dtype} {numbers.shape}"
        )
