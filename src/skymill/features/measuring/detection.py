"""Detection: a noise-weighted sum of all bands, filtered to the width of a point source, in units of its noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymill.config.images import MeasureSettings
from skymill.features.measuring.background import Sky, binned, subtract_background
from skymill.features.measuring.deblending import split_footprints
from skymill.features.measuring.footprints import Footprints, only
from skymill.features.measuring.measured import MeasureError
from skymill.features.measuring.psf import SIGMA_TO_FWHM
from skymill.survey.images.tile import TilePixels

SHARP = 0.7
"""Width of the filter in which blends are taken apart, as a share of the point-spread function's: the matched filter
finds the faintest sources, but it smears close ones into each other."""
BRIGHT = 5.0
"""Significance of the pixels that are left out of the background: noise does not reach it, so that leaving them out
does not bias what is left."""
SMALLEST = 32
"""Side of an image, px, below which its sky is measured on all of it."""
LEAST_SEEN = 1e-4
"""Of the filter's weight that must fall on pixels with a weight."""


@dataclass(frozen=True)
class Stack:
    """All bands in one image.

    Attributes
    ----------
    flux : ndarray of float32, (ny, nx)
        Mean of the bands, each pixel weighted by its inverse variance; nJy, 0 where no band has a weight.
    weight : ndarray of float32, (ny, nx)
        Inverse variance of it.
    fwhm_px : float
        Width of the point-spread function.
    """

    flux: NDArray[np.float32]
    weight: NDArray[np.float32]
    fwhm_px: float


def stack_bands(sky: Sky, fwhm_px: float) -> Stack:
    """Add up all bands; the sum is the best there is for a source of the same flux (nJy) in every band."""
    weighted = np.einsum("bij,bij->ij", sky.weight, sky.pixels)
    weight = sky.weight.sum(axis=0)
    return Stack(np.divide(weighted, weight, out=weighted, where=weight > 0), weight, fwhm_px)


def significance(stack: Stack, widths: tuple[float, ...] = (1.0,)) -> list[NDArray[np.float32]]:
    """Give the flux of a Gaussian source at each pixel over its error: the matched filter.

    With the source's profile P, pixels d and weights w, the flux is ``(P * w d) / (P^2 * w)`` and its error ``(P^2 *
    w)^-1/2`` (Zackay & Ofek 2017, ApJ 836, 187). A pixel without weight takes no part in it. The mean weight ``(P^2 *
    w) / sum(P^2)`` of the widest source serves for all.

    Parameters
    ----------
    stack : Stack
    widths : tuple of float
        Of the Gaussians, in units of the point-spread function's.

    Returns
    -------
    list of ndarray of float32, (ny, nx)
        One for each width; 0 where there is no weight.
    """
    weighted = stack.weight * stack.flux
    widest = _profile(max(widths) * stack.fwhm_px)
    weight = _filtered(stack.weight, widest**2) / np.float32(np.sum(widest**2) ** 2)
    seen = weight > LEAST_SEEN * stack.weight.max()
    found = []
    for width in widths:
        profile = _profile(width * stack.fwhm_px)
        signal = _filtered(weighted, profile / np.sqrt(np.sum(profile**2)))
        found.append(np.divide(signal, np.sqrt(weight, where=seen, out=np.ones_like(weight)), out=signal, where=seen))
        found[-1][~seen] = 0
    return found


def _profile(fwhm_px: float) -> NDArray[np.float64]:
    """Give a Gaussian of sum 1 along an axis."""
    reach = int(np.ceil(4.0 * fwhm_px / SIGMA_TO_FWHM))
    profile = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) * (SIGMA_TO_FWHM / fwhm_px)))
    return np.asarray(profile / profile.sum())


def _filtered(image: NDArray[np.float32], profile: NDArray[np.float64]) -> NDArray[np.float32]:
    """Filter an image along both axes; beyond it there is nothing."""
    from scipy.ndimage import correlate1d

    rows = correlate1d(image, profile, axis=0, mode="constant")
    both: NDArray[np.float32] = correlate1d(rows, profile, axis=1, mode="constant")
    return both


def bright_pixels(tile: TilePixels, mesh_px: int, fwhm_px: float) -> NDArray[np.bool_]:
    """Give the pixels of bright sources and of their surroundings, (ny, nx): the sky is measured outside them.

    A first look at half the resolution is enough for it.
    """
    from scipy import ndimage

    if min(tile.shape) < SMALLEST:
        return np.zeros(tile.shape, dtype=bool)
    stack = stack_bands(subtract_background(binned(tile), mesh_px // 2, fwhm_px / 2), fwhm_px / 2)
    [found] = significance(stack)
    reach = np.ones((2 * max(1, round(fwhm_px / 2)) + 1, 1), dtype=bool)
    grown = ndimage.binary_dilation(ndimage.binary_dilation(found > BRIGHT, reach), reach.T)
    fine = np.repeat(np.repeat(grown, 2, axis=0), 2, axis=1)
    return np.pad(fine, [(0, tile.shape[0] % 2), (0, tile.shape[1] % 2)], mode="edge")


def detect(tile: TilePixels, stack: Stack, settings: MeasureSettings) -> Footprints:
    """Find sources and take blends of them apart.

    Raises
    ------
    MeasureError
        If there are more than `settings.max_sources`.
    """
    matched, sharp = significance(stack, (1.0, SHARP))
    holes = (stack.weight == 0) & tile.having("saturated").any(axis=0)
    if holes.any():
        fill_holes(holes, matched, sharp)
    parents = _connected(matched > settings.threshold, settings.min_area_px)
    labels, peak_x, peak_y = split_footprints(
        sharp,
        parents,
        significance=settings.deblend_significance,
        contrast=settings.deblend_contrast,
        resolution_px2=np.pi / 4 * stack.fwhm_px**2,
    )
    if len(peak_x) > settings.max_sources:
        raise MeasureError(
            f"{tile.name}: found {len(peak_x):,} sources above {settings.threshold:g} sigma, expected at most "
            f"{settings.max_sources:,}; raise max_sources or threshold, or leave the field out"
        )
    return Footprints(labels, parents, peak_x, peak_y)


def fill_holes(holes: NDArray[np.bool_], *images: NDArray[np.float32]) -> None:
    """Give saturated pixels without weight a height, in place: a star without its core is one source, not many.

    A hole is as high as the highest pixel beside it, and a little higher towards its middle, where the peak is to be.

    Parameters
    ----------
    holes : ndarray of bool, (ny, nx)
    images : ndarray of float32, (ny, nx)
    """
    from scipy import ndimage

    groups, count = ndimage.label(holes, structure=np.ones((3, 3)))
    rise = 1.0 + 1e-3 * ndimage.distance_transform_edt(holes)[holes]
    for image in images:
        beside = ndimage.maximum_filter(np.where(holes, np.float32(0), image), size=3, mode="constant")
        highest = ndimage.maximum(beside, groups, np.arange(1, count + 1))
        image[holes] = np.asarray(highest)[groups[holes] - 1] * rise


def _connected(above: NDArray[np.bool_], min_area_px: int) -> NDArray[np.int32]:
    """Label connected pixels (by sides or corners), without groups that are too small."""
    from scipy import ndimage

    groups, count = ndimage.label(above, structure=np.ones((3, 3)), output=np.int32)
    return only(groups, np.bincount(groups.ravel(), minlength=count + 1)[1:] >= min_area_px)
