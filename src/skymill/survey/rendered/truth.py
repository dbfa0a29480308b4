"""What is true of a tile: its sources, which pixels show them, and which of them blend."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from skymill.config.images import RenderSettings
from skymill.survey.rendered.grid import Array, mosaic, sky_positions, tile_window
from skymill.survey.rendered.optics import optics
from skymill.survey.rendered.profiles import sersic_index
from skymill.survey.rendered.sources import Catalogue
from skymill.survey.rendered.stamps import lights, near
from skymill.survey.simulated.bands import BANDS
from skymill.survey.simulated.observe import PIXEL_ARCSEC
from skymill.survey.simulated.population import CLASSES

MASK_BAND = BANDS.index("i")
Table = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Mask:
    """Where a source shows in a tile: the tile's pixel at the mask's lower left, and its pixels, bool, (ny, nx)."""

    x0: int
    y0: int
    pixels: NDArray[np.bool_]


@dataclass(frozen=True)
class TruthMasks:
    """The sources that show in a tile, wherever their centres lie.

    Attributes
    ----------
    instances : ndarray of int64, (ny, nx)
        `objectId` of the brightest of the sources whose masks hold a pixel; 0 where there is none.
    masks : dict of int to Mask
        By `objectId`: pixels where the source's noise-free i flux exceeds `mask_share` of a pixel's noise.
    """

    instances: NDArray[np.int64]
    masks: dict[int, Mask]


@dataclass(frozen=True)
class _Scene:
    """What holds of the sources in and around the whole mosaic, row by row."""

    sources: Catalogue
    visible: NDArray[np.bool_]
    blend: NDArray[np.int64]
    own_share: Array
    neighbour: Array  # arcsec


def truth(settings: RenderSettings, name: str) -> Table:
    """Give the sources whose centres lie on a tile's pixels.

    Parameters
    ----------
    settings : RenderSettings
    name : str
        One of `tile_names`.

    Returns
    -------
    dict of ndarray, (n,)
        `objectId` (int64); `ra`, `dec` (deg); `x`, `y` (pixels of the tile, from 0); `class`; `redshift`; `{b}_flux`
        (nJy, total, without noise); `half_light_radius` (arcsec, of the resolved light, along the major axis),
        `bulge_fraction`, `sersic_index` (`profiles.sersic_index`), `axis_ratio` (all three NaN for a real shape),
        `position_angle` (degrees from +x to +y), `point_fraction` (share of the light that is unresolved);
        `real_shape`; `saturated` (in any band); `visible`: whether any pixel shows it (see `truth_masks`); `blend`:
        the least `objectId` of the sources whose masks touch, directly or through others (of an invisible source its
        own); `neighbour_distance` (arcsec) of the nearest other visible source; `own_share`: its part of the i light
        in its mask (NaN where invisible).
    """
    window = tile_window(settings, name)
    scene = _scene(settings)
    x, y = scene.sources.x - window.x0, scene.sources.y - window.y0
    rows = np.flatnonzero((x >= -0.5) & (x < window.nx - 0.5) & (y >= -0.5) & (y < window.ny - 0.5))
    found = scene.sources.take(rows)
    ra, dec = sky_positions(settings, found.x, found.y)
    return {
        "objectId": found.object_id,
        "ra": ra,
        "dec": dec,
        "x": x[rows],
        "y": y[rows],
        "class": np.array(CLASSES)[found.sources.kind],
        "redshift": found.sources.redshift,
        **{f"{band}_flux": found.flux[:, k] for k, band in enumerate(BANDS)},
        **_shapes(found),
        "saturated": _saturated(settings, found),
        "visible": scene.visible[rows],
        "blend": scene.blend[rows],
        "neighbour_distance": scene.neighbour[rows],
        "own_share": scene.own_share[rows],
    }


def _shapes(found: Catalogue) -> Table:
    real = found.stamp >= 0
    return {
        "half_light_radius": np.where(real, found.round_radius, found.radius),
        "bulge_fraction": np.where(real, np.nan, found.sources.bulge_fraction),
        "sersic_index": np.where(real, np.nan, sersic_index(found.sources)),
        "axis_ratio": np.where(real, np.nan, found.sources.axis_ratio),
        "position_angle": found.sources.position_angle,
        "point_fraction": found.sources.point_fraction,
        "real_shape": real,
    }


def _saturated(settings: RenderSettings, found: Catalogue) -> NDArray[np.bool_]:
    optical = optics(settings)
    point = found.flux * found.sources.point_fraction[:, None]
    return np.asarray((point * optical.peak > optical.full_well).any(1))


def truth_masks(settings: RenderSettings, name: str) -> TruthMasks:
    """Give the pixels in which each source shows in a tile, from the noise-free i image of each."""
    window = tile_window(settings, name)
    instances = np.zeros((window.ny, window.nx), dtype=np.int64)
    brightest = np.zeros((window.ny, window.nx), dtype=np.float32)
    masks = {}
    sources = near(settings, window)
    for row, there, (light,) in lights(settings, sources, window, (MASK_BAND,)):
        shows = light > _threshold(settings)
        if not shows.any():
            continue
        identity = int(sources.object_id[row])
        masks[identity] = _cropped(shows, there)
        wins = shows & (light > brightest[there])
        instances[there][wins] = identity
        brightest[there][wins] = light[wins]
    return TruthMasks(instances, masks)


def _threshold(settings: RenderSettings) -> float:
    return settings.mask_share * float(optics(settings).sigma[MASK_BAND])


def _cropped(shows: NDArray[np.bool_], there: tuple[slice, slice]) -> Mask:
    rows, columns = np.flatnonzero(shows.any(1)), np.flatnonzero(shows.any(0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return Mask(int(there[1].start + columns[0]), int(there[0].start + rows[0]), shows[box].copy())


@lru_cache(maxsize=4)
def _scene(settings: RenderSettings) -> _Scene:
    """Find out which sources of the whole mosaic show and blend, so that tiles agree on the groups they share."""
    whole = mosaic(settings)
    sources = near(settings, whole)
    total = np.zeros((whole.ny, whole.nx), dtype=np.float32)
    shown: dict[int, tuple[NDArray[np.int64], float]] = {}
    for row, there, (light,) in lights(settings, sources, whole, (MASK_BAND,)):
        total[there] += light
        shows = light > _threshold(settings)
        if shows.any():
            y, x = np.nonzero(shows)
            pixels = (y + there[0].start) * whole.nx + x + there[1].start
            shown[row] = pixels, float(light[shows].sum(dtype=np.float64))
    visible = np.zeros(len(sources), dtype=bool)
    visible[list(shown)] = True
    own_share = np.full(len(sources), np.nan)
    for row, (pixels, own) in shown.items():
        own_share[row] = own / total.ravel()[pixels].sum(dtype=np.float64)
    blend = _groups(sources.object_id, {row: pixels for row, (pixels, _) in shown.items()}, total.shape)
    return _Scene(sources, visible, blend, own_share, _neighbour(sources, visible))


def _groups(
    object_id: NDArray[np.int64], shown: dict[int, NDArray[np.int64]], shape: tuple[int, ...]
) -> NDArray[np.int64]:
    """Give each source the least id of its group: the pixels that show any source, joined where they touch."""
    painted = np.zeros(shape, dtype=bool)
    for pixels in shown.values():
        painted.ravel()[pixels] = True
    islands, number = ndimage.label(painted, structure=np.ones((3, 3)))
    island = np.array([islands.ravel()[pixels[0]] for pixels in shown.values()], dtype=np.int64)
    rows = np.array(list(shown), dtype=np.int64)
    least = np.full(number + 1, np.iinfo(np.int64).max)
    np.minimum.at(least, island, object_id[rows])
    blend = object_id.copy()
    blend[rows] = least[island]
    return blend


def _neighbour(sources: Catalogue, visible: NDArray[np.bool_]) -> Array:
    """Give the distance to the nearest other visible source in arcsec; infinite where there is none."""
    places = np.stack([sources.x, sources.y], axis=1)
    if not visible.any():
        return np.full(len(places), np.inf)
    distance, _ = cKDTree(places[visible]).query(places, k=2)
    return np.where(visible, distance[:, 1], distance[:, 0]) * PIXEL_ARCSEC
