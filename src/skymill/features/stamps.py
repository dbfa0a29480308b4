"""Stamps of sources for models that look at pixels: which image tile a source was measured on, and its square of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skymill.config import SurveyConfig
from skymill.features.source_tile import PixelScaleError, SourceTile, StampBatch
from skymill.store.keys import digest
from skymill.survey import Survey
from skymill.survey.images.tile import ImageError
from skymill.tiling.image_group import LABEL_BITS, ImageGroup, tile_number
from skymill.tiling.imaging import image_tiles

__all__ = ["PixelScaleError", "SourceImages", "SourceTile", "StampBatch"]


@dataclass(frozen=True)
class SourceImages:
    """All image tiles of a survey, by the number that ids of their sources begin with."""

    tiles: dict[int, SourceTile]
    survey: SurveyConfig

    @classmethod
    def open(cls, survey: Survey, group_files: Iterable[str | Path]) -> SourceImages:
        """Find the tiles of a plan (files written by `tiling.plan_images`) among the survey's files.

        Raises
        ------
        ImageError
            If a planned tile is gone.
        """
        config = survey.config
        assert config.images is not None
        files = {tile.name: tile for tile in image_tiles(survey)}
        planned = [tile for path in group_files for tile in ImageGroup.read(path).tiles]
        gone = [tile.name for tile in planned if tile.name not in files]
        if gone:
            raise ImageError(
                f"survey '{config.name}': the images of {', '.join(gone[:10])} are gone; run the workflow again"
            )
        shared = (str(survey.folder), config.images, tuple(config.bands), dict(config.band_names))
        return cls(
            {
                tile_number(config.name, each.name): SourceTile(files[each.name], each.sha256, *shared)
                for each in planned
            },
            config,
        )

    def numbers(self, object_id: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the number of each source's tile, (n,).

        Raises
        ------
        ImageError
            If an id belongs to no tile.
        """
        numbers = object_id >> LABEL_BITS
        strange = ~np.isin(numbers, np.fromiter(self.tiles, np.int64, len(self.tiles)))
        if strange.any():
            raise ImageError(
                f"objectId {object_id[strange][0]}: was measured on no image tile of this survey; stamps are cut of "
                "sources that skymill has measured itself"
            )
        return numbers

    def digest(self, numbers: Sequence[int]) -> str:
        """Digest the images of some tiles: what the pixels of their sources depend on."""
        return digest({self.tiles[number].files.name: self.tiles[number].sha256 for number in sorted(set(numbers))})
