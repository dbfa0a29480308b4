"""The images of PSFs that go to a model beside stamps."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from skymill.config.model import PSF_PX, StampSettings
from skymill.features.source_tile import SourceTile
from skymill.survey.images.psf import fwhm_px
from skymill.survey.images.tile import Psf


def images(**psf: Psf) -> np.ndarray:
    """Those of a tile with some PSFs, of the bands g, r, i."""
    tile = SourceTile(None, "", "", None, ("g", "r", "i"), {})  # type: ignore[arg-type]  # none of it is read
    return tile.psf(SimpleNamespace(psf=psf), StampSettings())  # type: ignore[arg-type]


def test_a_width_alone_is_a_gaussian_of_it() -> None:
    found = images(g=Psf(4.0))
    assert found.shape == (3, PSF_PX, PSF_PX) and found.dtype == np.float32
    assert found[0].sum() == pytest.approx(1, abs=1e-6)
    assert fwhm_px(found[0].astype(float)) == pytest.approx(4.0, abs=0.1)


@pytest.mark.parametrize("side", [7, 41])
def test_a_larger_image_is_cut_and_a_smaller_one_padded_about_its_middle(side: int) -> None:
    own = np.random.default_rng(1).random((side, side)).astype(np.float32)
    found = images(r=Psf(3.0, own / own.sum()))[1]
    half, middle = min(side, PSF_PX) // 2, side // 2
    there = slice(PSF_PX // 2 - half, PSF_PX // 2 + half + 1)
    inner = own[middle - half : middle + half + 1, middle - half : middle + half + 1]
    np.testing.assert_allclose(found[there, there], inner / inner.sum(), rtol=1e-5)
    assert found.sum() == pytest.approx(1, abs=1e-6)


def test_a_band_without_a_psf_has_nothing() -> None:
    assert not images(g=Psf(3.0))[1:].any()
