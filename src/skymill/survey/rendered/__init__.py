"""The embedded survey in pixels: the simulated population rendered with GalSim, tile by tile, and its truth."""

from skymill.survey.rendered.files import image_settings, write_tiles
from skymill.survey.rendered.grid import Geometry, tile_geometry, tile_names
from skymill.survey.rendered.tile import render_tile
from skymill.survey.rendered.truth import Mask, TruthMasks, truth, truth_masks

__all__ = [
    "Geometry",
    "Mask",
    "TruthMasks",
    "image_settings",
    "render_tile",
    "tile_geometry",
    "tile_names",
    "truth",
    "truth_masks",
    "write_tiles",
]
