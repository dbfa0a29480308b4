"""Rendered sky that a segmenter learns from and is judged by, with what is true of each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skymill.config.images import MeasureSettings, RenderSettings
from skymill.features.measuring.background import Sky, subtract_background
from skymill.features.measuring.detection import bright_pixels
from skymill.features.segmentation import ARTEFACT, GALAXY, SKY, STAR
from skymill.models import Scenes
from skymill.survey.images.tile import TilePixels
from skymill.survey.rendered import TruthMasks, render_tile, tile_names, truth, truth_masks

if TYPE_CHECKING:
    from skymill.models.unet import UnetSettings

SPLITS = ("train", "validation", "test")
CENTRE_SIGMA_PX = 1.0
"""Width of the peaks that stand for centres."""
COMPANION = 0.1
"""Least flux of a companion, relative to the brighter source's, that makes a blend of two."""


@dataclass(frozen=True)
class Scene:
    """A rendered tile, as it is measured, and its truth."""

    tile: TilePixels
    sky: Sky
    fwhm_px: float
    true: dict[str, NDArray[Any]]
    """As `rendered.truth` gives it."""
    masks: TruthMasks

    @property
    def instances(self) -> NDArray[np.int32]:
        """Source of each pixel, (ny, nx): row of `true` from 1; 0 where none shows, or one from beyond the tile."""
        order = np.argsort(self.true["objectId"])
        ids = self.true["objectId"][order]
        place = np.searchsorted(ids, self.masks.instances).clip(max=len(ids) - 1)
        return np.where(ids[place] == self.masks.instances, order[place] + 1, 0).astype(np.int32)


def scene_settings(settings: UnetSettings, split: str) -> list[RenderSettings]:
    """Say what is rendered for a split: each scene has a seed of its own, and a depth that follows from it."""
    places = {
        "train": slice(settings.scenes),
        "validation": slice(settings.scenes, settings.scenes + settings.held_out),
        "test": slice(settings.scenes + settings.held_out, None),
    }
    return [_rendering(settings, seed) for seed in settings.seeds[places[split]]]


def _rendering(settings: UnetSettings, seed: int) -> RenderSettings:
    least, most = np.log(settings.years)
    years = float(np.exp(np.random.default_rng(seed).uniform(least, most)))
    return RenderSettings(
        seed=seed,
        tiles=(1, 1),
        tile_px=settings.scene_px,
        overlap_px=0,
        years=years,
        density=settings.density,
        pairs=settings.pairs,
        stars=settings.stars,
    )


def render_scene(settings: RenderSettings) -> Scene:
    """Render a scene and subtract its background as a survey's is."""
    [name] = tile_names(settings)
    tile = render_tile(settings, name)
    fwhm = float(np.median([psf.fwhm_px for psf in tile.psf.values()]))
    mesh = MeasureSettings().background_px
    sky = subtract_background(tile, mesh, fwhm, bright_pixels(tile, mesh, fwhm))
    return Scene(tile, sky, fwhm, truth(settings, name), truth_masks(settings, name))


def examples(scenes: Sequence[Scene], bands: Sequence[str]) -> Scenes:
    """Make of scenes what a network learns from."""
    rows = [_example(scene, bands) for scene in scenes]
    return Scenes(**{name: np.stack([row[name] for row in rows]) for name in rows[0]})


def _example(scene: Scene, bands: Sequence[str]) -> dict[str, NDArray[Any]]:
    chosen = [scene.tile.bands.index(band) for band in bands]
    true, owner = scene.true, scene.instances
    known = owner > 0
    source, (y, x) = owner[known] - 1, np.nonzero(known)
    offset = np.full((2, *owner.shape), np.nan, np.float32)
    offset[:, known] = true["y"][source] - y, true["x"][source] - x
    companion = np.full(owner.shape, np.nan, np.float32)
    companion[known] = has_companion(true, scene.fwhm_px)[source]
    return {
        "flux": scene.sky.pixels[chosen],
        "inverse_variance": scene.sky.weight[chosen],
        "classes": true_classes(scene),
        "centre": _peaks(scene),
        "offset": offset,
        "companion": companion,
    }


def true_classes(scene: Scene) -> NDArray[np.uint8]:
    """Give the class of each pixel, (ny, nx): of the source that it shows; of the others, artefact where none is seen.

    What shows from beyond the tile counts as a galaxy, as most of it is.
    """
    owner, shows = scene.instances, scene.masks.instances > 0
    kind = np.where(scene.true["class"] == "GALAXY", GALAXY, STAR)
    classes = np.where((scene.sky.weight == 0).all(axis=0), ARTEFACT, SKY)
    classes[shows] = GALAXY
    classes[owner > 0] = kind[owner[owner > 0] - 1]
    return classes.astype(np.uint8)


def _peaks(scene: Scene) -> NDArray[np.float32]:
    """Peaks of height 1 and `CENTRE_SIGMA_PX` at the centres of the visible sources, the highest where they overlap."""
    peaks = np.zeros(scene.tile.shape, np.float32)
    reach = int(np.ceil(4 * CENTRE_SIGMA_PX))
    visible = scene.true["visible"]
    for x, y in zip(scene.true["x"][visible], scene.true["y"][visible], strict=True):
        rows = slice(max(round(y) - reach, 0), round(y) + reach + 1)
        columns = slice(max(round(x) - reach, 0), round(x) + reach + 1)
        place = peaks[rows, columns]
        dy, dx = np.ogrid[rows.start : rows.start + place.shape[0], columns.start : columns.start + place.shape[1]]
        # As high at the pixel of the centre, wherever in it the centre lies.
        distance2 = np.square(dy - round(y)) + np.square(dx - round(x))
        np.maximum(place, np.exp(-0.5 * distance2 / CENTRE_SIGMA_PX**2), out=place)
    return peaks


def has_companion(true: dict[str, NDArray[Any]], within_px: float) -> NDArray[np.bool_]:
    """Say which sources have another visible one within a radius whose i flux is `COMPANION` of theirs or more."""
    from scipy.spatial import cKDTree

    rows = np.flatnonzero(true["visible"])
    flux = true["i_flux"]
    found = np.zeros(len(flux), bool)
    if len(rows) > 1:
        pairs = rows[
            cKDTree(np.stack([true["x"], true["y"]], axis=1)[rows]).query_pairs(within_px, output_type="ndarray")
        ]
        for one, other in (pairs.T, pairs.T[::-1]):
            np.logical_or.at(found, one, flux[other] >= COMPANION * flux[one])
    return found
