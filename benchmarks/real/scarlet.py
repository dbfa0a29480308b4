"""Simulated blends of the scarlet deblender, whose every source is known, and pairs made of the same sources.

A pair is two sources of a blend at a chosen distance, on a field with the blend's noise that holds all of its pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import fields as fields_of
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from real.numbers import Array, by_bin, plot_medians, save
from real.peer import extract
from real.tiles import HSC_PIXEL, Scene, rows_of, scarlet_scenes, tile_of
from scipy.spatial import cKDTree

from skymill.config.images import MeasureSettings
from skymill.features.measuring import Measured, measure
from skymill.features.measuring.measured import KRON_FLUX, PSF_FLUX
from skymill.report.figures import style_of
from skymill.report.images.figures import plot_shares
from skymill.report.images.pictures import Look, outlined
from skymill.report.images.residuals import centre, shares
from skymill.report.images.statistics import histogram
from skymill.report.images.tile_figures import label_colours
from skymill.survey.images import TilePixels
from skymill.training.matching import NONE, match

RADIUS_PX = 2.0
CELL_PX, ZOOM = 128, 8
DISTANCES = (2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 18)
EDGES = np.array([0.4, 0.8, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0])
"""Of bins of separations, in units of the PSF's width in `BAND`."""
GOLDEN = np.pi * (3 - np.sqrt(5))
"""Between the directions of one pair and the next."""
BAND = "i"
KINDS = {"stars, PSF flux": True, "galaxies, Kron flux": False}


@dataclass(frozen=True)
class Field:
    """An image of known sources: where they are (n, 2), their true flux in `BAND` (n,), and whether they are stars."""

    tile: TilePixels
    places: Array
    flux: Array
    star: NDArray[np.bool_]


@dataclass(frozen=True)
class Compared:
    """True sources and what was measured of them.

    Attributes
    ----------
    seen, by_sep : ndarray of bool, (n,)
        Whether they are found by ours and by SEP.
    star : ndarray of bool, (n,)
    apart : ndarray of float64, (n,)
        Distance to the nearest other, in units of the PSF's width in `BAND`.
    ratio : ndarray of float64, (n,)
        Measured over true flux in `BAND`, PSF flux of stars and Kron flux of galaxies; NaN for those not found.
    """

    seen: NDArray[np.bool_]
    by_sep: NDArray[np.bool_]
    star: NDArray[np.bool_]
    apart: Array
    ratio: Array


def compare(data: Path, out: Path) -> dict[str, Any]:
    """Measure both blends and the pairs, draw them, give the numbers."""
    scenes = list(scarlet_scenes(data))
    blends = [Field(scene.tile, scene.places, flux_of(scene), scene.star) for scene in scenes]
    found = [measure(blend.tile, MeasureSettings()) for blend in blends]
    compared = [hold_against(blend, one) for blend, one in zip(blends, found, strict=True)]
    alone = measured([field_of(scene, [[(one, 0.0, 0.0)] for one in range(len(scene.star))]) for scene in scenes])
    pairs = measured([field_of(scene, pairs_of(scene, distance)) for distance in DISTANCES for scene in scenes])
    facts = pair_facts(pairs)
    draw(blends, found, compared, facts, out)
    return {
        "blends": {blend.tile.name: source_facts(blend, one) for blend, one in zip(blends, compared, strict=True)},
        "alone": {name: centre(alone.ratio[alone.star == star]) for name, star in KINDS.items()},
        "pairs": {"edges": EDGES.tolist(), **facts},
    }


def flux_of(scene: Scene) -> Array:
    """Give the true fluxes in `BAND`, (n,)."""
    return np.asarray(scene.light[:, scene.tile.bands.index(BAND)].sum(axis=(1, 2)), np.float64)


def pairs_of(scene: Scene, distance: float) -> list[list[tuple[int, float, float]]]:
    """Give every pair of a scene's sources: which, and how far to the right and up."""
    pairs = []
    for number, (first, second) in enumerate(combinations(range(len(scene.star)), 2)):
        x, y = distance / 2 * np.cos(number * GOLDEN), distance / 2 * np.sin(number * GOLDEN)
        pairs.append([(first, x, y), (second, -x, -y)])
    return pairs


def field_of(scene: Scene, cells: list[list[tuple[int, float, float]]]) -> Field:
    """Lay a scene's sources out, cell by cell, moved by whole pixels, with noise of the scene's own size."""
    columns = int(np.ceil(np.sqrt(len(cells))))
    shape = (len(scene.tile.bands), -(-len(cells) // columns) * CELL_PX, columns * CELL_PX)
    pixels, places, sources = np.zeros(shape), [], []
    for cell, members in enumerate(cells):
        middle = CELL_PX * (np.array([cell % columns, cell // columns]) + 0.5)
        for source, x, y in members:
            move = np.rint(middle + [x, y] - scene.places[source]).astype(int)
            _, ny, nx = scene.light[source].shape
            pixels[:, move[1] : move[1] + ny, move[0] : move[0] + nx] += scene.light[source]
            places.append(scene.places[source] + move)
            sources.append(source)
    variance = 1 / scene.tile.inverse_variance[:, :1, :1]
    pixels += np.random.default_rng(1).normal(0, np.sqrt(variance), shape)
    weight = np.broadcast_to(1 / variance, shape)
    tile = tile_of(scene.tile.name, scene.tile.bands, pixels, weight, scene.tile.psf, HSC_PIXEL)
    return Field(tile, np.array(places), flux_of(scene)[sources], scene.star[sources])


def hold_against(field: Field, found: Measured) -> Compared:
    """Match what was found with the truth, the brightest first."""
    partner = match(field.places, field.flux, np.column_stack([found.x, found.y]), RADIUS_PX)
    band, seen = field.tile.bands.index(BAND), partner != NONE
    objects, *_ = extract(field.tile)
    by_sep = match(field.places, field.flux, np.column_stack([objects["x"], objects["y"]]), RADIUS_PX) != NONE
    psf, kron = (found.photometry[kind][partner, band] for kind in (PSF_FLUX, KRON_FLUX))
    apart, _ = cKDTree(field.places).query(field.places, k=2)
    ratio = np.where(seen, np.where(field.star, psf, kron) / field.flux, np.nan)
    return Compared(seen, by_sep, field.star, apart[:, 1] / field.tile.psf[BAND].fwhm_px, ratio)


def measured(fields: list[Field]) -> Compared:
    """Measure fields and put their sources together."""
    compared = [hold_against(field, measure(field.tile, MeasureSettings())) for field in fields]
    names = [column.name for column in fields_of(Compared)]
    return Compared(**{name: np.concatenate([getattr(one, name) for one in compared]) for name in names})


def source_facts(blend: Field, compared: Compared) -> list[dict[str, Any]]:
    """Give a blend's sources one by one."""
    return [
        {
            "kind": "star" if blend.star[one] else "galaxy",
            "x": float(blend.places[one, 0]),
            "y": float(blend.places[one, 1]),
            "apart": float(compared.apart[one]),
            "flux": float(blend.flux[one]),
            "found": bool(compared.seen[one]),
            "found_by_sep": bool(compared.by_sep[one]),
            "measured_over_true": float(compared.ratio[one]) if compared.seen[one] else None,
        }
        for one in range(len(blend.star))
    ]


def pair_facts(pairs: Compared) -> dict[str, Any]:
    """Give by separation how many pairs are found as two, and our fluxes of the members of these."""
    apart = pairs.apart[::2]
    every = histogram(apart, EDGES)
    both = {"skymill": pairs.seen.reshape(-1, 2).all(axis=1), "SEP": pairs.by_sep.reshape(-1, 2).all(axis=1)}
    told: dict[str, Any] = {
        "both_found": {name: shares(histogram(apart[hit], EDGES), every) for name, hit in both.items()}
    }
    for name, star in KINDS.items():
        chosen = np.repeat(both["skymill"], 2) & (pairs.star == star)
        told[name] = by_bin(pairs.ratio[chosen], pairs.apart[chosen], EDGES)
    return told


def draw(
    blends: list[Field], found: list[Measured], compared: list[Compared], facts: dict[str, Any], out: Path
) -> None:
    """Draw both blends taken apart, the share of pairs found, and their fluxes."""
    figure = Figure(figsize=(12, 10.5), layout="constrained")
    panels = figure.subplots(2, 2)
    for axes, blend, one, seen in zip(panels[0], blends, found, compared, strict=True):
        _draw_blend(axes, blend, one, seen)
    plot_shares(
        panels[1, 0],
        EDGES.tolist(),
        facts["both_found"],
        "separation / FWHM of the PSF",
        "share of pairs found as two",
    )
    panels[1, 1].axhline(1, color="0.6", linewidth=1)
    for number, name in enumerate(KINDS):
        plot_medians(panels[1, 1], facts[name], EDGES.tolist(), label=name, **style_of(number))
    panels[1, 1].set_xlabel("separation / FWHM of the PSF")
    panels[1, 1].set_ylabel("i flux of pairs found as two, measured / true")
    panels[1, 1].legend(frameon=False)
    save(figure, out, "scarlet")


def _draw_blend(axes: Axes, blend: Field, found: Measured, compared: Compared) -> None:
    tile = blend.tile
    ny, nx = tile.shape
    picture = outlined(
        Look.of(tile).draw(tile.pixels), found.labels, label_colours(rows_of(tile, found), found.n), ZOOM
    )
    axes.imshow(picture, origin="lower", interpolation="none", extent=(-0.5, nx - 0.5, -0.5, ny - 0.5))
    for seen, colour in ((True, "white"), (False, "red")):
        for star, marker in ((True, "*"), (False, "+")):
            chosen = (compared.seen == seen) & (blend.star == star)
            axes.scatter(*blend.places[chosen].T, marker=marker, s=70, color=colour, linewidths=1.2)
    axes.set_title(
        f"{tile.name}: {int(compared.seen.sum())} of {len(compared.seen)} found (red: not); * star, + galaxy"
    )
    axes.set_axis_off()
