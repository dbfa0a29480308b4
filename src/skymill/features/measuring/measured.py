"""What is measured on a tile: its sources, their footprints, and the units of all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from skymill.survey.reference import reference_band

PSF_FLUX = "psfFlux"
KRON_FLUX = "kronFlux"
VALUES: dict[str, str] = {
    "shape_xx": "pixel2",
    "shape_yy": "pixel2",
    "shape_xy": "pixel2",
    "kron_radius": "pixel",
    "half_light_radius": "pixel",
    "extendedness": "",
    "blendedness": "",
    "coverage_frac": "",
    "masked_frac": "",
    "area": "pixel2",
}
"""Name and unit of the values that every tile has; `value_units` adds those of the PSF."""
MORPHOLOGY: dict[str, str] = {
    "concentration": "",
    "asymmetry": "",
    "smoothness": "",
    "gini": "",
    "m20": "",
    "petrosian_radius": "pixel",
    "petrosian_radius_ellip": "pixel",
    "half_light_radius_ellip": "pixel",
    "morphology_flag": "",
}
"""The same of values that are measured where `MeasureSettings.morphology` asks for them."""


class MeasureError(ValueError):
    """A tile on which nothing can be measured: the message names it and the reason."""


@dataclass(frozen=True)
class Positions:
    """Where to measure in place of detecting.

    Attributes
    ----------
    x, y : ndarray of float64, (n,)
        Pixels of the tile, counted from 0; they may lie outside it, where nothing is measured.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """The sources of a tile, in the order of their labels.

    Attributes
    ----------
    n : int
    label : ndarray of int32, (n,)
        1 to n.
    x, y : ndarray of float64, (n,)
        Windowed positions on the detection image, in pixels counted from 0 (integer = pixel centre).
    peak_x, peak_y : ndarray of int32, (n,)
        The brightest pixel of the filtered detection image, or the centre that a segmenter found.
    photometry : dict of ndarray of float32, (n, bands)
        nJy, NaN where not measured: each name of `flux_names` and its error, `<name>Err`.
    values : dict of ndarray of float32, (n,)
        NaN where not measured; the names and units of `value_units`.
    flags : ndarray of int32, (n,)
        Bits of `flags.MEASURE_FLAGS`.
    parent : ndarray of int32, (n,)
        Label of the connected footprint; sources of one parent overlap.
    n_blended : ndarray of int32, (n,)
        Sources of the same parent, the source itself included: 1 for one that stands alone.
    bbox : ndarray of int32, (n, 4)
        y0, y1, x0, x1 of the footprint, half-open.
    labels : ndarray of int32, (ny, nx)
        Label of the source that owns the pixel, 0 for sky.
    parents : ndarray of int32, (ny, nx)
        Label of the connected footprint, 0 for sky.
    background, noise : dict of float
        By band, for the report: medians over the tile of the background that was subtracted and of a pixel's noise,
        in nJy; NaN for a band that is missing.
    classes : ndarray of uint8, (ny, nx), optional
        Semantic class of each pixel, where a learned segmenter has found the sources.
    blend_probability : ndarray of float32, (n,), optional
        That a source is a blend of several which nothing has taken apart, where a learned segmenter tells.
    """

    n: int
    label: NDArray[np.int32]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    peak_x: NDArray[np.int32]
    peak_y: NDArray[np.int32]
    photometry: dict[str, NDArray[np.float32]]
    values: dict[str, NDArray[np.float32]]
    flags: NDArray[np.int32]
    parent: NDArray[np.int32]
    n_blended: NDArray[np.int32]
    bbox: NDArray[np.int32]
    labels: NDArray[np.int32]
    parents: NDArray[np.int32]
    background: Mapping[str, float] = field(default_factory=dict)
    noise: Mapping[str, float] = field(default_factory=dict)
    classes: NDArray[np.uint8] | None = None
    blend_probability: NDArray[np.float32] | None = None


def aperture_name(radius_arcsec: float) -> str:
    """Name the flux in a circle by its radius in arcsec, with p for the point: 0.6 is `ap0p6Flux`."""
    text = f"{radius_arcsec:g}"
    return f"ap{text if '.' in text else text + '.0'}Flux".replace(".", "p")


def flux_names(apertures_arcsec: Sequence[float]) -> tuple[str, ...]:
    """Name all fluxes: PSF, Kron, and one for each circular aperture."""
    return (PSF_FLUX, KRON_FLUX, *map(aperture_name, apertures_arcsec))


def psf_names(band: str) -> tuple[str, str, str]:
    """Name the second moments of a band's PSF."""
    return (f"{band}_ixxPSF", f"{band}_iyyPSF", f"{band}_ixyPSF")


def value_units(bands: Sequence[str], *, morphology: bool = False) -> dict[str, str]:
    """Give name and unit of every value of a survey of these bands, with or without those of `MORPHOLOGY`."""
    of_psf = dict.fromkeys(psf_names(reference_band(bands)), "pixel2")
    return {**VALUES, **of_psf, **(MORPHOLOGY if morphology else {})}
