"""An SDSS frame in five bands, beside the catalogue of a coadd two magnitudes deeper and SDSS's own of the frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from real.numbers import Array, by_bin, plot_medians, save
from real.tiles import rows_of, stripe82_frame
from scipy import ndimage

from skymill.config.images import MeasureSettings
from skymill.features.measuring import Measured, Positions, measure
from skymill.features.segmentation import EXTENDED
from skymill.report.images.figures import BAND_COLOURS, plot_shares
from skymill.report.images.pictures import Look, outlined
from skymill.report.images.residuals import shares
from skymill.report.images.statistics import histogram
from skymill.report.images.tile_figures import crowded_window, label_colours
from skymill.survey.images import TilePixels
from skymill.survey.images.celestial import pixel_scale_arcsec
from skymill.training.matching import NONE, match

SETTINGS = MeasureSettings(apertures_arcsec=[0.8, 1.5, 3.0, 7.4])
NANOMAGGY = 3630.78
"""nJy."""
STAR_TYPE = 6
RADIUS_ARCSEC = 1.2
BORDER_PX, HALO_PX = 5, 160.0
EMPTY, EMPTY_PX = 6000, 8
"""Places tried for empty sky, and how far from sources' pixels they are."""
COMPLETENESS = np.arange(16, 24.1, 0.5)
KINDS = np.arange(16, 23.1, 1.0)
"""Edges of bins, r mag of the coadd."""
PHOTOMETRY = np.arange(15, 22.1, 1.0)
"""The same of SDSS's PSF magnitude in the band."""
ZOOM = 4


@dataclass(frozen=True)
class Matched:
    """Another catalogue's sources on the frame: positions (n, 2) in pixels, and our source of each, (n,)."""

    table: Table
    places: Array
    partner: NDArray[np.int64]

    @classmethod
    def of(cls, table: Table, tile: TilePixels, found: Measured, ra: str, dec: str, brightness: Array) -> Matched:
        """Match the sources that lie on the frame, the brightest first."""
        places = np.column_stack(tile.wcs.all_world2pix(table[ra], table[dec], 0))
        ny, nx = tile.shape
        inside = ((places > BORDER_PX) & (places < np.array([nx, ny]) - 1 - BORDER_PX)).all(axis=1)
        ours = np.column_stack([found.x, found.y])
        radius = RADIUS_ARCSEC / pixel_scale_arcsec(tile.wcs)
        return cls(table[inside], places[inside], match(places[inside], brightness[inside], ours, radius))

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which of them we have."""
        return self.partner != NONE


@dataclass(frozen=True)
class Frame:
    """The frame, what is found on it, and what others have of it."""

    tile: TilePixels
    found: Measured
    coadd: Matched
    photo: Matched

    @property
    def magnitude(self) -> Array:
        """Of the coadd's sources in r."""
        return np.asarray(self.coadd.table["mag"], np.float64)

    @cached_property
    def completeness(self) -> dict[str, Any]:
        """Shares of the coadd's sources, all and by kind, that we have, in bins of `COMPLETENESS`."""
        star = np.asarray(self.coadd.table["probpsf"] == 1)
        every = np.ones(len(star), bool)
        return {
            name: shares(
                histogram(self.magnitude[kind & self.coadd.seen], COMPLETENESS),
                histogram(self.magnitude[kind], COMPLETENESS),
            )
            for name, kind in (("all", every), ("stars", star), ("galaxies", ~star))
        }

    @cached_property
    def kinds(self) -> dict[str, Any]:
        """Completeness and purity of what we call stars and galaxies, of matched sources, in bins of `KINDS`."""
        extendedness = self.found.values["extendedness"][self.coadd.partner]
        known = self.coadd.seen & np.isfinite(extendedness)
        told = {}
        for kind, true, called in (
            ("stars", self.coadd.table["probpsf"] == 1, extendedness < EXTENDED),
            ("galaxies", self.coadd.table["probpsf"] == 0, extendedness >= EXTENDED),
        ):
            both = histogram(self.magnitude[known & true & called], KINDS)
            told[f"{kind}, completeness"] = shares(both, histogram(self.magnitude[known & true], KINDS))
            told[f"{kind}, purity"] = shares(both, histogram(self.magnitude[known & called], KINDS))
        return told

    @cached_property
    def photometry(self) -> dict[str, Any]:
        """PSF magnitudes of stars that stand alone, ours less SDSS's, by band in bins of `PHOTOMETRY`."""
        star = self.photo.seen & np.asarray(self.photo.table["OBJC_TYPE"] == STAR_TYPE)
        star &= self.found.n_blended[self.photo.partner] == 1
        theirs = np.asarray(self.photo.table["PSFFLUX"], np.float64)[star]
        ours = self.found.photometry["psfFlux"][self.photo.partner[star]] / NANOMAGGY
        return {
            band: by_bin(
                sdss_magnitude(ours[:, row]) - sdss_magnitude(theirs[:, row]),
                sdss_magnitude(theirs[:, row]),
                PHOTOMETRY,
            )
            for row, band in enumerate(self.tile.bands)
        }

    @property
    def offsets(self) -> Array:
        """Our positions less the coadd's, of its sources brighter than 21, arcsec, (n, 2)."""
        bright = self.coadd.seen & (self.magnitude < 21)
        ours = self.coadd.partner[bright]
        pixels = np.column_stack([self.found.x[ours], self.found.y[ours]]) - self.coadd.places[bright]
        return np.asarray(pixels * pixel_scale_arcsec(self.tile.wcs))


def sdss_magnitude(nanomaggies: Array) -> Array:
    """Give AB magnitudes; NaN where a flux is not positive."""
    return np.asarray(22.5 - 2.5 * np.log10(np.where(nanomaggies > 0, nanomaggies, np.nan)))


def compare(data: Path, out: Path) -> dict[str, Any]:
    """Measure the frame, draw it beside both catalogues, give the numbers."""
    frame = read_frame(data)
    draw(frame, out)
    draw_crowded(frame, out)
    x, y = np.median(frame.offsets, axis=0)
    return {
        "ours": frame.found.n,
        "coadd": len(frame.coadd.table),
        "coadd_matched": int(frame.coadd.seen.sum()),
        "photo_obj": len(frame.photo.table),
        "photo_obj_matched": int(frame.photo.seen.sum()),
        "ours_in_neither": int(unknown(frame).sum()),
        "of_these_around_the_brightest": around_brightest(frame),
        "found_on_the_negative": measure(replace(frame.tile, pixels=-frame.tile.pixels), SETTINGS).n,
        "offset_arcsec": {
            "x": float(x),
            "y": float(y),
            "median_distance": float(np.median(np.hypot(*frame.offsets.T))),
        },
        "completeness": {"edges": COMPLETENESS.tolist(), **frame.completeness},
        "kinds": {"edges": KINDS.tolist(), **frame.kinds},
        "psf_magnitudes": frame.photometry,
        "empty_sky": empty_sky(frame),
    }


def read_frame(data: Path) -> Frame:
    """Read, measure and match."""
    folder, tile = data / "images/sdss_stripe82_94_1_12", stripe82_frame(data)
    found = measure(tile, SETTINGS)
    coadd = Table.read(folder / "coadd_field_catalog_runjing_liu.fit")
    coadd["mag"] = np.where(coadd["probpsf"] == 1, coadd["psfmag_r"], coadd["expmag_r"])
    photo = Table.read(folder / "photoObj-000094-1-0012.fits.gz")["RA", "DEC", "OBJC_TYPE", "PSFFLUX"]
    return Frame(
        tile,
        found,
        Matched.of(coadd, tile, found, "ra", "dec", -np.asarray(coadd["mag"])),
        Matched.of(photo, tile, found, "RA", "DEC", np.asarray(photo["PSFFLUX"])[:, 2]),
    )


def unknown(frame: Frame) -> NDArray[np.bool_]:
    """Tell which of our sources neither catalogue has, (n,)."""
    known = [each.partner[each.seen] for each in (frame.coadd, frame.photo)]
    return ~np.isin(np.arange(frame.found.n), np.concatenate(known))


def around_brightest(frame: Frame) -> dict[str, Any]:
    """Count those near the source with most r flux, and how many would lie there if they were everywhere as many."""
    found, extra = frame.found, unknown(frame)
    brightest = np.nanargmax(found.photometry["kronFlux"][:, frame.tile.bands.index("r")])
    near = np.hypot(found.x - found.x[brightest], found.y - found.y[brightest]) < HALO_PX
    rows, columns = np.indices(frame.tile.shape)
    area = np.hypot(columns - found.x[brightest], rows - found.y[brightest]) < HALO_PX
    return {"radius_px": HALO_PX, "n": int((near & extra).sum()), "by_chance": extra.sum() * area.mean()}


def empty_sky(frame: Frame) -> dict[str, dict[str, float]]:
    """Give, by band, median and width of the PSF fluxes at places far from sources, in units of their errors."""
    ny, nx = frame.tile.shape
    x, y = np.random.default_rng(1).uniform(EMPTY_PX, [nx - EMPTY_PX, ny - EMPTY_PX], (EMPTY, 2)).T
    apart = ndimage.distance_transform_edt(frame.found.labels == 0)
    empty = apart[y.astype(int), x.astype(int)] > EMPTY_PX
    forced = measure(frame.tile, SETTINGS, positions=Positions(x[empty], y[empty])).photometry
    pull = forced["psfFlux"] / forced["psfFluxErr"]
    low, middle, high = np.nanpercentile(pull, [16, 50, 84], axis=0)
    return {
        band: {"median": float(middle[row]), "width": float(high[row] - low[row]) / 2}
        for row, band in enumerate(frame.tile.bands)
    }


def draw(frame: Frame, out: Path) -> None:
    """Draw completeness, positions, PSF magnitudes, and stars and galaxies."""
    figure = Figure(figsize=(13, 9), layout="constrained")
    panels = figure.subplots(2, 2)
    plot_shares(panels[0, 0], COMPLETENESS.tolist(), frame.completeness, "r of the coadd (mag)", "share found")
    _draw_offsets(panels[0, 1], frame)
    _draw_photometry(panels[1, 0], frame)
    plot_shares(panels[1, 1], KINDS.tolist(), frame.kinds, "r of the coadd (mag)", "share, of matched sources")
    save(figure, out, "stripe82")


def _draw_offsets(axes: Axes, frame: Frame) -> None:
    x, y = frame.offsets.T
    axes.axhline(0, color="0.7", linewidth=1)
    axes.axvline(0, color="0.7", linewidth=1)
    axes.scatter(x, y, s=8, color="#0072b2", alpha=0.6, linewidths=0)
    axes.plot(np.median(x), np.median(y), "+", color="#d55e00", markersize=16, markeredgewidth=2, label="median")
    axes.set_xlim(-0.4, 0.4)
    axes.set_ylim(-0.4, 0.4)
    axes.set_aspect("equal")
    axes.set_xlabel("x, ours − coadd's (arcsec)")
    axes.set_ylabel("y, ours − coadd's (arcsec)")
    axes.legend(frameon=False)


def _draw_photometry(axes: Axes, frame: Frame) -> None:
    axes.axhspan(-0.02, 0.02, color="0.92")
    for band, bins in frame.photometry.items():
        plot_medians(axes, bins, PHOTOMETRY.tolist(), color=BAND_COLOURS[band], marker="o", markersize=4, label=band)
    axes.set_ylim(-0.15, 0.15)
    axes.set_xlabel("SDSS's PSF magnitude in the band")
    axes.set_ylabel("PSF magnitude, ours − SDSS's")
    axes.legend(frameon=False, ncols=5)


def draw_crowded(frame: Frame, out: Path) -> None:
    """Draw the parts with most of the coadd's sources and with most of ours, plain and taken apart."""
    in_coadd = np.isin(np.arange(frame.found.n), frame.coadd.partner[frame.coadd.seen])
    rows = rows_of(frame.tile, frame.found, in_coadd)
    colours = label_colours(rows, frame.found.n)
    look = Look.of(frame.tile)
    figure = Figure(figsize=(11, 11.6), layout="constrained")
    for pair, chosen, what in zip(
        figure.subplots(2, 2), (rows, rows_of(frame.tile, frame.found)), ("the coadd's", "our"), strict=True
    ):
        window = crowded_window(chosen, frame.tile.shape)
        labels = frame.found.labels[window]
        picture = look.draw(frame.tile.pixels[:, window[0], window[1]])
        extent = (-0.5, labels.shape[1] - 0.5, -0.5, labels.shape[0] - 0.5)
        for axes, shown in zip(pair, (picture, outlined(picture, labels, colours, ZOOM)), strict=True):
            axes.imshow(shown, origin="lower", interpolation="none", extent=extent)
            axes.set_xlim(extent[:2])
            axes.set_ylim(extent[2:])
            axes.set_axis_off()
        pair[0].set_title(f"most of {what} sources: x {window[1].start}, y {window[0].start}")
        pair[1].scatter(
            *(frame.coadd.places - [window[1].start, window[0].start]).T, s=40, marker="+", color="white", linewidths=1
        )
        pair[1].set_title("+: the coadd's; yellow: star, blue: galaxy, grey: not the coadd's")
    save(figure, out, "stripe82_crowded")
