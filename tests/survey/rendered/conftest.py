"""A small field of the rendered survey."""

from __future__ import annotations

import pytest

from skymill.config.images import RenderSettings
from skymill.survey import rendered
from skymill.survey.images.tile import TilePixels

SMALL = RenderSettings(tiles=(2, 2), tile_px=320, overlap_px=64, stars=30, brightest_star=14)


@pytest.fixture(scope="session")
def small() -> RenderSettings:
    """Four tiles of 320 pixels; more stars than in the sky."""
    return SMALL


@pytest.fixture(scope="session")
def tiles(small: RenderSettings) -> dict[str, TilePixels]:
    return {name: rendered.render_tile(small, name) for name in rendered.tile_names(small)}
