"""Fluxes of point sources, fitted together."""

from __future__ import annotations

import galsim
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import atmosphere, draw, psf_image

from skymill.features.measuring.fitting import fit_points
from skymill.features.measuring.psf import profiles, shifted
from skymill.survey.images.tile import Psf

MOFFAT = Psf(3.6, psf_image(atmosphere(0.7)))
GAUSSIAN = Psf(3.5)


def scene(psf: Psf, x: np.ndarray, y: np.ndarray, flux: np.ndarray, shape: tuple[int, int] = (80, 90)) -> np.ndarray:
    image = np.zeros(shape, dtype=np.float64)
    column, row = np.rint(x).astype(int), np.rint(y).astype(int)
    reach = 20
    for stamp, c, r, f in zip(profiles(psf, x - column, y - row, reach), column, row, flux):
        rows, columns = np.arange(r - reach, r + reach + 1), np.arange(c - reach, c + reach + 1)
        inside = np.ix_((rows >= 0) & (rows < shape[0]), (columns >= 0) & (columns < shape[1]))
        image[np.ix_(rows[(rows >= 0) & (rows < shape[0])], columns[(columns >= 0) & (columns < shape[1])])] += (
            f * stamp[inside]
        )
    return image.astype(np.float32)


@pytest.mark.parametrize("psf", [MOFFAT, GAUSSIAN], ids=["image", "width"])
@given(data=st.data())
def test_blended_stars_have_their_own_fluxes(psf: Psf, data: st.DataObject):
    n = data.draw(st.integers(1, 6))
    places = st.lists(st.floats(25, 55), min_size=n, max_size=n)
    x, y = (np.array(data.draw(places)) for _ in range(2))
    distance = np.hypot(x[:, None] - x, y[:, None] - y) + 1e3 * np.eye(n)
    if distance.min() < 2.5:
        return
    flux = np.array(data.draw(st.lists(st.floats(10, 1e4), min_size=n, max_size=n)))
    image = scene(psf, x, y, flux)
    # a Gaussian has no light beyond the pixels that are fitted; the Moffat's wings of one lie under the others
    found = fit_points(image, np.ones_like(image), x, y, psf)
    wings = 2e-5 if psf.image is None else 2e-2
    assert found.flux == pytest.approx(flux, abs=wings * flux.sum() + 1e-4 * flux.max())


def test_a_star_drawn_by_galsim_has_its_flux_at_any_place_between_pixels():
    generator = np.random.default_rng(5)
    x, y = (40.0 * (1 + np.arange(16) % 4), 40.0 * (1 + np.arange(16) // 4))
    x, y = x + generator.uniform(-0.5, 0.5, 16), y + generator.uniform(-0.5, 0.5, 16)
    made = draw(
        x, y, np.full((16, 1), 1e4), np.zeros(16), shape=(200, 200), noise=[1.0], fwhm_arcsec=[0.7], bands="r", seed=1
    )
    image = made.clean[0].astype(np.float32)
    found = fit_points(image, np.ones_like(image), x, y, made.tile.psf["r"])
    assert found.flux == pytest.approx(np.full(16, 1e4), rel=1e-3)


def test_errors_are_the_scatter_alone_and_in_a_blend():
    x, y, flux = np.array([30.0, 32.5, 60.3]), np.array([40.0, 41.0, 40.2]), np.array([500.0, 300.0, 400.0])
    image = scene(GAUSSIAN, x, y, flux)
    generator = np.random.default_rng(6)
    weight = np.full_like(image, 1 / 4.0)
    found = [
        fit_points(image + generator.normal(0, 2, image.shape).astype(np.float32), weight, x, y, GAUSSIAN)
        for _ in range(400)
    ]
    scatter = np.std([one.flux for one in found], axis=0)
    assert found[0].error == pytest.approx(scatter, rel=0.12)
    assert found[0].error[0] > 1.05 * found[0].error[2]
    alone = 2.0 * np.sqrt(4 * np.pi) * 3.5 / 2.3548  # sigma times the square root of the noise-equivalent area
    assert found[0].error[2] == pytest.approx(alone, rel=0.02)


def test_pixels_without_weight_do_not_count():
    x, y = np.array([40.2, 45.0]), np.array([40.1, 44.0])
    image = scene(GAUSSIAN, x, y, np.array([1000.0, 700.0]))
    weight = np.ones_like(image)
    weight[38:40] = 0
    image[38:40] = 1e6
    found = fit_points(image, weight, x, y, GAUSSIAN)
    assert found.flux == pytest.approx([1000.0, 700.0], rel=1e-3)
    assert found.error[0] > fit_points(image, np.ones_like(image), x, y, GAUSSIAN).error[0]


def test_sources_off_the_pixels_have_no_flux():
    image = scene(GAUSSIAN, np.array([40.0]), np.array([40.0]), np.array([100.0]))
    weight = np.ones_like(image)
    weight[60:, 60:] = 0
    x, y = np.array([40.0, -20.0, 1e6, 75.0]), np.array([40.0, 30.0, -1e6, 72.0])
    found = fit_points(image, weight, x, y, GAUSSIAN)
    assert np.isnan(found.flux).tolist() == np.isnan(found.error).tolist() == [False, True, True, True]
    assert found.flux[0] == pytest.approx(100.0, rel=1e-4)


def test_two_sources_at_one_place_share_the_light():
    image = scene(GAUSSIAN, np.array([40.0]), np.array([40.0]), np.array([100.0]))
    found = fit_points(image, np.ones_like(image), np.array([40.0, 40.0]), np.array([40.0, 40.0]), GAUSSIAN)
    assert found.flux.sum() == pytest.approx(100.0, rel=1e-3)
    assert (found.error > 100).all()


def test_a_field_too_crowded_for_one_block_still_has_its_fluxes():
    generator = np.random.default_rng(8)
    x, y = (axis.ravel() + generator.uniform(-0.8, 0.8, 900) for axis in np.meshgrid(*[6.0 * np.arange(1, 31)] * 2))
    flux = generator.uniform(50, 500, 900)
    image = scene(GAUSSIAN, x, y, flux, (190, 190))
    found = fit_points(image, np.ones_like(image), x, y, GAUSSIAN)
    assert found.flux == pytest.approx(flux, rel=5e-3)
    assert (found.error > 0).all()


def test_images_move_by_parts_of_a_pixel_as_galsim_moves_them():
    profile = atmosphere(0.7)
    still, dx, dy = psf_image(profile), 0.37, -0.21
    there = galsim.ImageD(41, 41, scale=0.2)
    profile.drawImage(there, offset=(dx, dy))
    moved = shifted(still[None], np.array([dx]), np.array([dy]))[0]
    assert np.abs(moved - there.array).max() < 1e-3 * still.max()
