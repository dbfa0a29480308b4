"""The SDSS frame, read once: it takes seconds to unpack."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_tiles import image_settings, read

from skymill.survey.images.tile import TilePixels


@pytest.fixture(scope="session")
def sdss(data: Path) -> TilePixels:
    """Four bands of the real frame 94-1-12, each on a grid of its own, on that of i."""
    settings = image_settings(image={"file": "frame-{band}-{tile}.fits.bz2"}, unit=None, psf_fwhm_arcsec=1.3)
    return read(data / "images" / "sdss_stripe82_94_1_12", settings, list("griz"))
