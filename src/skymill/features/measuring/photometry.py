"""Fluxes in circles and in Kron's ellipses, and the radii that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymill.features.measuring.apertures import Aperture, ellipse, elliptical_radius, offsets
from skymill.features.measuring.background import Sky
from skymill.features.measuring.shapes import Shapes
from skymill.features.measuring.stamps import cut, middle

KRON_WINDOW = 6.0
"""Semi-axes, in units of the source's own, within which Kron's radius is measured (SExtractor's)."""
KRON_FACTOR, KRON_LEAST = 2.5, 3.5
"""Of the ellipse: this many Kron radii, and no less than this many times the source's own axes (SExtractor's)."""
HALF_LIGHT = 3.0
"""Largest half-light radius, in units of the source's longer axis: 1.18 for a Gaussian, 1.7 for an exponential disc."""
HALVINGS = 12
"""Steps in which the half-light radius is closed in on: to 1 / 4096 of the largest radius."""


@dataclass(frozen=True)
class Kron:
    """Kron's ellipses around sources.

    Attributes
    ----------
    aperture : Aperture
    radius : ndarray of float64, (m,)
        Kron's radius, px: the first moment of the light, geometric mean over both axes; NaN where not measured.
    half_light : ndarray of float64, (m,)
        Radius of the circle that holds half of the light within the ellipse, px; NaN where not measured.
    """

    aperture: Aperture
    radius: NDArray[np.float64]
    half_light: NDArray[np.float64]


def kron(light: NDArray[np.float32], shapes: Shapes) -> Kron:
    """Measure Kron's ellipses (Kron 1980, ApJS 43, 305) as SExtractor does.

    Two things differ: the axes are those of the adaptive moments, which do not shrink as a source sinks into the noise,
    and an ellipse does not leave its stamp.

    Parameters
    ----------
    light : ndarray of float32, (m, k, k)
        Stamps of the detection image without other sources.
    shapes : Shapes
    """
    half = light.shape[1] // 2
    x, y = offsets(shapes.x, shapes.y, half)
    form, (major, minor) = shapes.form(), shapes.axes()
    radius = elliptical_radius(x, y, form)
    room = np.maximum(half - np.maximum(np.abs(shapes.x), np.abs(shapes.y)), 1.0) / major
    window = np.where(radius < np.minimum(KRON_WINDOW, room).astype(np.float32)[:, None, None], light, np.float32(0))
    total = window.sum(axis=(1, 2), dtype=np.float64)
    first = np.einsum("nij,nij->n", window, radius, dtype=np.float64)
    mean = np.divide(first, total, out=np.full(len(total), np.nan), where=(total > 0) & (first > 0))
    mean[mean > KRON_WINDOW] = np.nan
    stretch = np.minimum(np.fmax(KRON_FACTOR * mean, KRON_LEAST), room)
    aperture = ellipse(x, y, form, stretch)
    inside = np.einsum("nij,nij->n", light, aperture.share, dtype=np.float64)
    half_light = half_light_radius(light, x, y, inside, np.minimum(HALF_LIGHT * major, room * major))
    return Kron(aperture, mean * np.sqrt(major * minor), half_light)


def half_light_radius(
    light: NDArray[np.float32],
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    flux: NDArray[np.float64],
    largest: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Give the radius of the circle that holds half of a flux, by halving; NaN where the flux is not positive.

    A pixel on the circle counts by how far inside its centre lies, up to half a pixel.

    Parameters
    ----------
    light : ndarray of float32, (m, k, k)
    x, y : ndarray of float32, (m, 1, k) and (m, k, 1)
        Offsets of the pixels from the source.
    flux, largest : ndarray of float64, (m,)
        Flux, and radius beyond which nothing is looked for, px.
    """
    half = light.shape[1] // 2
    reach = min(half, int(np.ceil(largest.max(initial=1.0))) + 2)
    inner = slice(half - reach, half + reach + 1)
    light, x, y = light[:, inner, inner], x[:, :, inner], y[:, inner, :]
    depth = np.float32(0.5) - np.sqrt(x * x + y * y)
    low, high = np.zeros(len(light)), np.minimum(largest, reach)
    for _ in range(HALVINGS):
        radius = 0.5 * (low + high)
        share = np.clip(depth + radius.astype(np.float32)[:, None, None], 0, 1)
        less = np.einsum("nij,nij->n", light, share, dtype=np.float64) < 0.5 * flux
        low, high = np.where(less, radius, low), np.where(less, high, radius)
    return np.where((flux > 0) & (high < largest), high, np.nan)


def sums(
    apertures: Sequence[Aperture],
    theirs: NDArray[np.bool_],
    sky: Sky,
    column: NDArray[np.int64],
    row: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum the light in apertures, in every band; pixels that cannot be used are replaced by their mirror images.

    Parameters
    ----------
    apertures : sequence of Aperture
        None larger than the stamps.
    theirs : ndarray of bool, (m, k, k)
        Pixels of no other source.
    sky : Sky
    column, row : ndarray of int64, (m,)
        Middle pixels.

    Returns
    -------
    flux, error : ndarray of float64, (apertures, m, bands)
        nJy; NaN where the middle pixel has no weight: nothing can stand for it.
    """
    half = theirs.shape[1] // 2
    bands = np.flatnonzero(sky.present)
    pixels = np.stack([cut(sky.pixels[band], column, row, half) for band in bands])  # (bands, m, k, k)
    variance = np.stack([cut(sky.weight[band], column, row, half) for band in bands])
    used = variance > 0
    np.divide(1.0, variance, out=variance, where=used)
    spoilt = [np.flatnonzero((theirs & ~each).any(axis=(1, 2))) for each in used]
    flux = np.full((len(apertures), len(row), len(sky.pixels)), np.nan)
    error = flux.copy()
    for index, aperture in enumerate(apertures):
        light, noise = _flat(middle(pixels, aperture.half)), _flat(middle(variance, aperture.half))
        counts = _flat(aperture.effective(middle(theirs, aperture.half)))
        flux[index, :, bands] = np.einsum("bmp,mp->bm", light, counts)
        error[index, :, bands] = np.einsum("bmp,mp->bm", noise, counts * counts)
        for place, members in enumerate(spoilt):
            usable = middle(theirs[members] & used[place, members], aperture.half)
            counts = _flat(Aperture(aperture.share[members]).effective(usable))
            flux[index, members, bands[place]] = np.einsum("mp,mp->m", light[place, members], counts)
            error[index, members, bands[place]] = np.einsum("mp,mp->m", noise[place, members], counts * counts)
    missing = np.ones(flux.shape[1:], dtype=bool)
    missing[:, bands] = ~used[:, :, half, half].T
    flux[:, missing] = error[:, missing] = np.nan
    return flux, np.sqrt(error)


def _flat(stamps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lay the pixels of each stamp in a row."""
    return stamps.reshape(*stamps.shape[:-2], stamps.shape[-1] ** 2)
