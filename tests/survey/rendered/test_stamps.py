"""A source's light against GalSim's own drawing."""

from __future__ import annotations

import galsim
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymill.config.images import RenderSettings
from skymill.survey.images.tile import ImageError
from skymill.survey.rendered import stamps
from skymill.survey.rendered.bleeding import bleed
from skymill.survey.rendered.grid import Window
from skymill.survey.rendered.optics import optics
from skymill.survey.rendered.sources import catalogue
from skymill.survey.simulated.bands import magnitude_of
from skymill.survey.simulated.observe import PIXEL_ARCSEC

BANDS = (0, 2, 5)
SETTINGS = RenderSettings(stars=20, quasars=10)
FOUND = catalogue(SETTINGS, Window(0, 0, 512, 512), 0)
PLAN = stamps.layout(SETTINGS, FOUND)
REFERENCE = galsim.GSParams(maxk_threshold=1e-5)
I_MAGNITUDE = magnitude_of(FOUND.flux[:, 3])


def rows_of(kind: int, low: float, high: float, number: int = 2) -> list[int]:
    within = np.abs(I_MAGNITUDE - (low + high) / 2) < (high - low) / 2
    return np.flatnonzero((FOUND.sources.kind == kind) & within & (PLAN.trail == 0))[:number].tolist()


def drawn_by_galsim(row: int, band: int, size: int) -> np.ndarray:
    point = FOUND.sources.point_fraction[row]
    psf = optics(SETTINGS).psf[band].withGSParams(REFERENCE)
    parts = [point * psf] if point > 0 else []
    if point < 1:
        parts.append((1 - point) * galsim.Convolve(stamps.resolved(SETTINGS, FOUND, row), psf))
    image = galsim.ImageD(galsim.BoundsI(-size // 2, size // 2 - 1, -size // 2, size // 2 - 1), scale=PIXEL_ARCSEC)
    x, y = FOUND.x[row], FOUND.y[row]
    light = galsim.Sum(parts) * FOUND.flux[row, band]
    light.drawImage(image, center=galsim.PositionD(x - round(x), y - round(y)))
    return image.array


@pytest.mark.parametrize("kind", [0, 1, 2], ids=["galaxy", "star", "quasar"])
@pytest.mark.parametrize(("low", "high"), [(16, 20.5), (20.5, 23), (23, 25), (25, 27)])
def test_stamp_equals_galsims_drawing(kind, low, high):
    rows = rows_of(kind, low, high)
    assert rows or kind == 2
    for row in rows:
        stamp = stamps.draw(SETTINGS, FOUND, PLAN, row, BANDS)
        for plane, band in zip(stamp.pixels, BANDS):
            reference = drawn_by_galsim(row, band, plane.shape[0])
            assert plane.sum() == pytest.approx(FOUND.flux[row, band], rel=5e-4)
            assert reference.sum() == pytest.approx(FOUND.flux[row, band], rel=2e-3)
            assert np.abs(plane - reference).max() < max(3e-4 * reference.max(), 1e-4 * optics(SETTINGS).sigma[band])


def test_stamp_is_as_bright_in_a_band_whichever_others_are_drawn():
    row = rows_of(0, 22, 24)[0]
    alone, together = (stamps.draw(SETTINGS, FOUND, PLAN, row, bands).pixels for bands in ((3,), tuple(range(6))))
    assert np.allclose(alone[0], together[3], rtol=1e-5, atol=1e-6 * alone.max())


def test_light_fades_before_the_stamp_ends():
    sigma = optics(SETTINGS).sigma
    for row in (*rows_of(0, 15, 19, 5), *rows_of(1, 15, 19, 5)):
        pixels = stamps.draw(SETTINGS, FOUND, PLAN, row, tuple(range(6))).pixels
        edge = np.maximum(np.abs(pixels[:, [0, -1]]).max(axis=(1, 2)), np.abs(pixels[:, :, [0, -1]]).max(axis=(1, 2)))
        assert np.all(edge < 0.1 * sigma)


def test_saturated_star_keeps_its_light_below_the_full_well():
    settings = RenderSettings(stars=50, brightest_star=13)
    found = catalogue(settings, Window(0, 0, 512, 512), 0)
    row = int(np.argmax(found.flux[:, 3] * (found.sources.kind == 1)))
    plan, full_well = stamps.layout(settings, found), optics(settings).full_well
    assert plan.trail[row] > 10
    stamp = stamps.draw(settings, found, plan, row, tuple(range(6)))
    assert np.all(stamp.pixels.max(axis=(1, 2)) <= full_well * (1 + 1e-6))
    assert np.allclose(stamp.pixels.sum(axis=(1, 2), dtype=float), found.flux[row], rtol=2e-3)
    full = stamp.pixels[3] >= 0.999 * full_well[3]
    assert np.ptp(np.flatnonzero(full.any(1))) > np.ptp(np.flatnonzero(full.any(0)))  # a trail along the column


@given(peak=st.floats(0.1, 40), width=st.floats(0.5, 3), seed=st.integers(0, 99))
def test_bleeding_moves_charge_along_columns_and_loses_none(peak, width, seed):
    y, x = np.indices((21, 21)) - 10
    rng = np.random.default_rng(seed)
    star = peak * np.exp(-0.5 * (x**2 + y**2) / width**2) + 0.01 * rng.random((21, 21))
    bled = bleed(star.astype(np.float32)[None], np.array([1.0]), 150)
    assert bled.max() <= 1 + 1e-6
    assert np.allclose(bled[0].sum(0, dtype=float), star.sum(0), rtol=1e-4)
    assert bled.min() >= 0


@pytest.fixture(scope="module")
def real_settings(data) -> RenderSettings:
    folder = data / "images" / "hst_cosmos_stamps"
    if not folder.is_dir():
        pytest.skip(f"no HST stamps at {folder}")
    return RenderSettings(shapes=str(folder), shapes_share=0.5)


@pytest.fixture(scope="module")
def real(real_settings):
    return catalogue(real_settings, Window(0, 0, 512, 512), 0)


class TestRealShapes:
    """HST galaxies in place of bulges and discs."""

    def test_half_of_the_galaxies_in_reach_have_one(self, real):
        i = magnitude_of(real.flux[:, 3])
        in_reach = (real.sources.kind == 0) & (i > 20) & (i < 25.5)
        assert not np.any(real.stamp[~in_reach] >= 0)
        assert np.mean(real.stamp[in_reach] >= 0) == pytest.approx(0.5, abs=0.12)

    def test_flux_place_and_size_are_those_of_the_source(self, real_settings, real):
        plan = stamps.layout(real_settings, real)
        rows = np.flatnonzero(real.stamp >= 0)[:25].tolist()
        away = []
        for row in rows:
            stamp = stamps.draw(real_settings, real, plan, row, (3,))
            assert stamp.pixels[0].sum() == pytest.approx(real.flux[row, 3], rel=5e-3)
            shape = galsim.hsm.FindAdaptiveMom(galsim.Image(stamp.pixels[0].copy(), xmin=stamp.x0, ymin=stamp.y0))
            away.append(np.hypot(shape.moments_centroid.x - real.x[row], shape.moments_centroid.y - real.y[row]))
        assert np.median(away) < 0.15
        assert max(away) < 1.5

    def test_other_sources_stay_as_they_are(self, real):
        plain = catalogue(RenderSettings(), Window(0, 0, 512, 512), 0)
        assert np.array_equal(plain.object_id, real.object_id)
        assert np.array_equal(plain.flux, real.flux)

    def test_folder_without_galaxies_is_refused(self, tmp_path):
        with pytest.raises(ImageError, match=r"expected real_galaxy_catalog\*\.fits .* found none"):
            catalogue(RenderSettings(shapes=str(tmp_path)), Window(0, 0, 512, 512), 0)
