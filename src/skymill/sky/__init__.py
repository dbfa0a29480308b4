"""Positions on the sphere: HEALPix indices, cones and separations."""

from skymill.sky.border import border_ranges
from skymill.sky.cone import cone_ranges, in_cone
from skymill.sky.healpix import ORDER, AnyTile, ImageTile, Tile, at_order, order29, tile_centres, tile_range
from skymill.sky.pixel_map import PixelMap, look_up
from skymill.sky.sphere import separation_arcsec, unit_vectors

__all__ = [
    "ORDER",
    "PixelMap",
    "AnyTile",
    "ImageTile",
    "Tile",
    "at_order",
    "border_ranges",
    "cone_ranges",
    "in_cone",
    "look_up",
    "order29",
    "separation_arcsec",
    "tile_centres",
    "tile_range",
    "unit_vectors",
]
