"""Tiles of the simulated survey, which are rendered whenever they are read: there is no file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.config.images import RenderSettings
from skymill.survey.images.tile import ImageError, TileGeometry, TilePixels

PREFIX = "tile="
FAINTEST_LABEL = 25.0
"""The i magnitude down to which sources are labelled."""
SHAPES = ("half_light_radius", "axis_ratio", "sersic_index", "bulge_fraction")
TARGETS = (*(f"mag_{band}" for band in "ugrizy"), *SHAPES)
"""True quantities of galaxies in the label table: total AB magnitudes without noise; the half-light radius along the
major axis, arcsec; the ratio of the axes; the index of the Sersic profile that is as concentrated; the bulge's share of
the light."""
VOTES = ("smooth_or_featured_smooth", "smooth_or_featured_featured", "edge_on_yes", "edge_on_no")
"""Answers of simulated volunteers in the label table, counted: `survey.rendered.volunteers`."""


def rendered_tiles(settings: RenderSettings) -> list[str]:
    """Name the tiles, sorted."""
    from skymill.survey.rendered import tile_names

    return sorted(PREFIX + name for name in tile_names(settings))


def rendered_geometry(settings: RenderSettings, name: str) -> TileGeometry:
    """Tell where a tile lies."""
    from skymill.survey.rendered import tile_geometry
    from skymill.survey.simulated.bands import BANDS

    found = tile_geometry(settings, name.removeprefix(PREFIX))
    return TileGeometry(name, found.header, found.shape, BANDS)


def rendered_pixels(settings: RenderSettings, name: str, bands: Sequence[str]) -> TilePixels:
    """Render a tile in some of the bands.

    Raises
    ------
    ImageError
        If a band is none of the simulation's.
    """
    from skymill.survey.rendered import render_tile

    tile = render_tile(settings, name.removeprefix(PREFIX))
    unknown = sorted(set(bands) - set(tile.bands))
    if unknown:
        raise ImageError(
            f"{name}: the simulated survey has the bands {', '.join(tile.bands)}, not {', '.join(unknown)}"
        )
    chosen = [tile.bands.index(band) for band in bands]
    return replace(
        tile,
        name=name,
        bands=tuple(bands),
        pixels=tile.pixels[chosen],
        inverse_variance=tile.inverse_variance[chosen],
        mask=tile.mask[chosen],
        psf={band: tile.psf[band] for band in bands},
    )


def rendered_labels(settings: RenderSettings) -> Iterator[dict[str, NDArray[np.generic]]]:
    """Give the classes of the visible sources brighter than `FAINTEST_LABEL`, each once.

    Yields
    ------
    dict of ndarray, (n,)
        `objectId` (of the simulation, not of what is detected), `ra`, `dec` (deg), `class`, `redshift`, `TARGETS`
        (NaN but for galaxies) and `VOTES` (0 where nobody was asked).
    """
    from skymill.survey.rendered import tile_names, truth
    from skymill.survey.rendered.volunteers import ask

    seen = np.empty(0, np.int64)
    for name in tile_names(settings):
        table = truth(settings, name)
        bright = table["i_flux"] > 10 ** (0.4 * (31.4 - FAINTEST_LABEL))
        rows = np.flatnonzero(table["visible"] & bright & ~np.isin(table["objectId"], seen))
        seen = np.concatenate([seen, table["objectId"][rows]])
        some = {column: values[rows] for column, values in table.items()}
        told = {column: some[column] for column in ("objectId", "ra", "dec", "class", "redshift")}
        yield told | _targets(some) | dict(zip(VOTES, ask(some, settings.seed).T, strict=True))


def _targets(table: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.generic]]:
    """Give what is true of galaxies, (n,) each."""
    with np.errstate(divide="ignore"):
        magnitudes = {f"mag_{band}": 31.4 - 2.5 * np.log10(table[f"{band}_flux"]) for band in "ugrizy"}
    known = magnitudes | {name: table[name] for name in SHAPES}
    return {name: np.where(table["class"] == "GALAXY", known[name], np.nan) for name in TARGETS}
