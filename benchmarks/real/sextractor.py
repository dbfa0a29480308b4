"""The NTT image that SEP comes with, beside SExtractor's own catalogue, background and noise of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from real.numbers import Array, by_bin, save
from real.tiles import image_of, sextractor_reference

from skymill.config.images import MeasureSettings
from skymill.features.measuring import Measured, measure
from skymill.features.measuring.background import CLIPPED_RMS, subtract_background
from skymill.features.measuring.detection import bright_pixels
from skymill.features.measuring.measured import KRON_FLUX
from skymill.report.figures import style_of
from skymill.survey.images import TilePixels
from skymill.training.matching import NONE, match

MESH_PX, FWHM_PX = 64, 2.6
SETTINGS = MeasureSettings(apertures_arcsec=[3.0, 5.0, 10.0], background_px=MESH_PX)
X, Y, APERTURE, APERTURE_ERR, AUTO, FLAGS = 3, 4, 12, 13, 15, 20
"""Columns of SExtractor's catalogue; its aperture has a radius of 5 pixels."""
RATIOS = {
    "aperture": ("ap5p0Flux", APERTURE),
    "aperture_error": ("ap5p0FluxErr", APERTURE_ERR),
    "auto": (KRON_FLUX, AUTO),
}
"""Our columns over theirs."""
RADIUS_PX = 1.5
EDGES = (-15.0, -11.0, -10.0, -9.0, -8.0)
"""Of bins, -2.5 log10 of SExtractor's counts."""


@dataclass(frozen=True)
class Beside:
    """Two catalogues of one image."""

    tile: TilePixels
    theirs: Array
    found: Measured

    @property
    def places(self) -> Array:
        """Their positions, (n, 2), counted from 0."""
        return self.theirs[:, [X, Y]] - 1

    @property
    def ours(self) -> Array:
        """Our positions, (m, 2)."""
        return np.column_stack([self.found.x, self.found.y])

    @cached_property
    def partner(self) -> NDArray[np.int64]:
        """Our source of each of theirs, (n,)."""
        return match(self.places, self.theirs[:, AUTO], self.ours, RADIUS_PX)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which of theirs we have."""
        return self.partner != NONE

    @property
    def clean(self) -> NDArray[np.bool_]:
        """Which of these SExtractor measures without a flag."""
        return self.seen & (self.theirs[:, FLAGS] == 0)

    @property
    def brightness(self) -> Array:
        """Their instrumental magnitudes; NaN where their flux is none."""
        flux = self.theirs[:, AUTO]
        return -2.5 * np.log10(np.where(flux > 0, flux, np.nan))

    def ratio(self, name: str) -> Array:
        """Give ours over theirs of one of `RATIOS`, (n,); NaN for sources that we lack."""
        ours, theirs = RATIOS[name]
        known = self.seen & (self.theirs[:, theirs] > 0)
        values = np.full(len(known), np.nan)
        values[known] = self.found.photometry[ours][self.partner[known], 0] / self.theirs[known, theirs]
        return values


def compare(data: Path, out: Path) -> dict[str, Any]:
    """Measure the image, draw it beside SExtractor's catalogue, give the numbers."""
    folder, tile = data / "images/small_references", sextractor_reference(data)
    beside = Beside(tile, np.loadtxt(folder / "image.cat"), measure(tile, SETTINGS))
    sky = {"as_sextractor": sky_difference(tile, folder)}
    sky["sources_left_out"] = sky_difference(tile, folder, bright_pixels(tile, MESH_PX, FWHM_PX))
    draw(beside, sky["sources_left_out"][0], out)
    unflagged = beside.theirs[:, FLAGS] == 0
    apart = np.hypot(*(beside.ours[beside.partner] - beside.places)[beside.seen].T)
    return {
        "theirs": len(beside.theirs),
        "ours": beside.found.n,
        "matched": int(beside.seen.sum()),
        "unflagged": int(unflagged.sum()),
        "unflagged_matched": int(beside.clean.sum()),
        "median_distance_px": float(np.median(apart)),
        "flux_ratio": {
            name: by_bin(np.where(beside.clean, beside.ratio(name), np.nan), beside.brightness, EDGES)
            for name in RATIOS
        },
        "sky": {
            name: {
                "background_in_rms": np.percentile(background, [0, 50, 100]).tolist(),
                "rms_ratio": np.percentile(rms, [0, 50, 100]).tolist(),
            }
            for name, (background, rms) in sky.items()
        },
    }


def sky_difference(tile: TilePixels, folder: Path, sources: NDArray[np.bool_] | None = None) -> tuple[Array, Array]:
    """Give our background less theirs in units of their noise, and our noise over theirs, both (ny, nx)."""
    sky = subtract_background(tile, MESH_PX, FWHM_PX, sources)
    noise = CLIPPED_RMS / (np.sqrt(sky.weight[0]) * sky.correlation["r"])
    theirs = {name: image_of(folder / f"{name}.fits") for name in ("back", "rms")}
    return (tile.pixels[0] - sky.pixels[0] - theirs["back"]) / theirs["rms"], noise / theirs["rms"]


def draw(beside: Beside, background: Array, out: Path) -> None:
    """Draw the image with both catalogues, the ratios of fluxes, and the difference of the backgrounds."""
    figure = Figure(figsize=(15, 4.8), layout="constrained")
    image, fluxes, sky = figure.subplots(1, 3)
    _draw_image(image, beside)
    _draw_fluxes(fluxes, beside)
    drawn = sky.imshow(background, origin="lower", cmap="RdBu_r", vmin=-0.2, vmax=0.2)
    figure.colorbar(drawn, ax=sky, label="(ours − SExtractor's) / rms")
    sky.set_title("background, sources left out of ours")
    save(figure, out, "sextractor")


def _draw_image(axes: Axes, beside: Beside) -> None:
    pixels = beside.tile.pixels[0]
    low, high = np.percentile(pixels, [1, 99.5])
    axes.imshow(np.arcsinh((pixels - low) / (high - low) * 10), origin="lower", cmap="gray_r", vmax=np.arcsinh(10))
    axes.scatter(*beside.places.T, s=90, facecolors="none", edgecolors="#0072b2", label="SExtractor")
    axes.scatter(*beside.ours.T, s=24, marker="x", color="#d55e00", linewidths=1, label="skymill")
    axes.set_xlim(-0.5, pixels.shape[1] - 0.5)
    axes.set_ylim(-0.5, pixels.shape[0] - 0.5)
    axes.set_title(f"{int(beside.seen.sum())} of SExtractor's {len(beside.theirs)} matched, ours {beside.found.n}")
    axes.legend(loc="upper right", framealpha=0.9)


def _draw_fluxes(axes: Axes, beside: Beside) -> None:
    axes.axhline(1, color="0.6", linewidth=1)
    for number, (name, label) in enumerate({"aperture": "circle of 5 px", "auto": "Kron / AUTO"}.items()):
        style = style_of(number) | {"linestyle": "", "markersize": 4}
        axes.plot(beside.brightness[beside.clean], beside.ratio(name)[beside.clean], label=label, **style)
        flagged = beside.seen & ~beside.clean
        axes.plot(beside.brightness[flagged], beside.ratio(name)[flagged], **style | {"markerfacecolor": "none"})
    axes.set_ylim(0.4, 1.6)
    axes.set_xlabel("−2.5 log10 of SExtractor's AUTO counts")
    axes.set_ylabel("flux, ours / SExtractor's")
    axes.set_title("hollow: flagged by SExtractor")
    axes.legend(frameon=False)
