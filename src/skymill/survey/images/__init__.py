"""Images of a survey, tile by tile: which files make one, and its pixels on one grid in nJy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lazy_loader import attach

if TYPE_CHECKING:
    from skymill.survey.images.cutting import CutoutBatch, cutouts
    from skymill.survey.images.files import TileFiles, image_files, list_tiles, tile_digest, tile_digests
    from skymill.survey.images.layout import read_geometry, read_tile
    from skymill.survey.images.tile import ImageError, Psf, TileGeometry, TilePixels

__all__ = [
    "CutoutBatch",
    "ImageError",
    "Psf",
    "TileFiles",
    "TileGeometry",
    "TilePixels",
    "cutouts",
    "image_files",
    "list_tiles",
    "read_geometry",
    "read_tile",
    "tile_digest",
    "tile_digests",
]

# Imported when used: listing files needs no pixels.
__getattr__ = attach(
    __name__,
    submod_attrs={
        "cutting": ["CutoutBatch", "cutouts"],
        "files": ["TileFiles", "image_files", "list_tiles", "tile_digest", "tile_digests"],
        "layout": ["read_geometry", "read_tile"],
        "tile": ["ImageError", "Psf", "TileGeometry", "TilePixels"],
    },
)[0]
