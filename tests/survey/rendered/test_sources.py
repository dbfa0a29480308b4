"""The population laid on the mosaic."""

from __future__ import annotations

import galsim
import numpy as np
import pytest
from scipy.stats import ks_2samp

from skymill.config.images import RenderSettings
from skymill.survey.rendered import profiles, sources
from skymill.survey.rendered.grid import Window
from skymill.survey.rendered.sources import CELL_PX, catalogue, galaxies_per_arcmin2
from skymill.survey.simulated.bands import magnitude_of
from skymill.survey.simulated.observe import PIXEL_ARCSEC
from skymill.survey.simulated.population import draw_galaxies, galaxy_log_counts, magnitude_grid

WIDE = Window(0, 0, 4 * CELL_PX, 4 * CELL_PX)
AREA = (WIDE.nx * PIXEL_ARCSEC / 60) ** 2
I_BAND = 3


@pytest.fixture(scope="module")
def wide() -> sources.Catalogue:
    return catalogue(RenderSettings(seed=5), WIDE, 0)


def i_of(found: sources.Catalogue, kind: int) -> np.ndarray:
    return magnitude_of(found.flux[found.sources.kind == kind, I_BAND])


def test_galaxies_are_as_many_as_lsst_expects(wide):
    found = np.sum(i_of(wide, 0) < 25)
    assert abs(found - 46 * AREA) < 4 * np.sqrt(46 * AREA)
    assert galaxies_per_arcmin2(25.3) == pytest.approx(46 * 10 ** (0.31 * 0.3), rel=0.03)  # LSST Science Book


def test_counts_per_magnitude_follow_the_population(wide):
    magnitudes = magnitude_grid(15.5, 27)
    shape = 10 ** galaxy_log_counts(magnitudes)
    edges = np.arange(20, 27.01, 0.5)
    expected, _ = np.histogram(magnitudes, edges, weights=shape / shape.sum() * galaxies_per_arcmin2(27) * AREA)
    found, _ = np.histogram(i_of(wide, 0), edges)
    assert np.all(np.abs(found - expected) < 4 * np.sqrt(expected) + 1)


def test_colours_and_redshifts_are_the_populations(wide):
    ours = wide.take(wide.sources.kind == 0)
    theirs = draw_galaxies(np.random.default_rng(0), 40_000)
    bright = magnitude_of(ours.flux[:, I_BAND]) < 25
    reference = theirs.take(theirs.magnitudes[:, I_BAND] < 25)
    assert ks_2samp(ours.sources.redshift[bright], reference.redshift).pvalue > 1e-3
    colours = (m[:, 1] - m[:, 2] for m in (magnitude_of(ours.flux[bright]), reference.magnitudes))
    assert ks_2samp(*colours).pvalue > 1e-3


def test_density_changes_galaxies_alone(wide):
    denser = catalogue(RenderSettings(seed=5, density=3), WIDE, 0)
    assert np.sum(denser.sources.kind == 0) == pytest.approx(3 * np.sum(wide.sources.kind == 0), rel=0.05)
    assert abs(np.sum(denser.sources.kind == 1) - 10 * AREA) < 4 * np.sqrt(10 * AREA)


def test_no_source_is_fainter_than_asked():
    found = catalogue(RenderSettings(faintest=24), WIDE, 0)
    assert magnitude_of(found.flux[:, I_BAND]).max() < 24.01


def test_ids_are_unique_above_2_to_53_and_the_cells_own(wide):
    assert len(np.unique(wide.object_id)) == len(wide)
    assert wide.object_id.min() > 2**53
    shifted = catalogue(RenderSettings(seed=5), Window(CELL_PX, CELL_PX, CELL_PX, CELL_PX), 0)
    both = np.isin(wide.object_id, shifted.object_id)
    assert both.sum() == len(shifted)
    assert np.array_equal(wide.take(both).x, shifted.x)


def test_positions_fill_their_cells_evenly(wide):
    edges = np.arange(5) * CELL_PX - 0.5
    counts, _, _ = np.histogram2d(wide.x, wide.y, [edges, edges])
    assert counts.sum() == len(wide)
    assert np.all(np.abs(counts - counts.mean()) < 4.5 * np.sqrt(counts.mean()))


def test_extra_pairs_are_close_and_not_much_fainter(wide):
    with_pairs = catalogue(RenderSettings(seed=5, pairs=20), WIDE, 0)
    assert len(with_pairs) - len(wide) == pytest.approx(20 * AREA, abs=4 * np.sqrt(20 * AREA))
    old = np.isin(with_pairs.object_id, wide.object_id)
    companion = with_pairs.take(~old)
    host = with_pairs.take(old & (with_pairs.sources.kind == 0))
    away = np.hypot(companion.x[:, None] - host.x, companion.y[:, None] - host.y) * PIXEL_ARCSEC
    fainter = magnitude_of(companion.flux[:, None, I_BAND]) - magnitude_of(host.flux[:, I_BAND])
    assert np.all(np.any((away > 0.299) & (away < 2.501) & (fainter > -1e-9) & (fainter < 1.5 + 1e-9), axis=1))


def test_half_the_photons_galsim_shoots_fall_within_the_half_light_radius(wide):
    galaxies = wide.take(wide.sources.kind == 0)
    for row in range(10):
        photons = profiles.bulge_and_disc(galaxies.sources, row).makePhot(n_photons=50_000, rng=galsim.BaseDeviate(1))
        angle = np.radians(galaxies.sources.position_angle[row])
        along = photons.x * np.cos(angle) + photons.y * np.sin(angle)
        across = photons.y * np.cos(angle) - photons.x * np.sin(angle)
        radius = np.hypot(along, across / galaxies.sources.axis_ratio[row])
        assert np.mean(radius < galaxies.radius[row]) == pytest.approx(0.5, abs=0.01)
