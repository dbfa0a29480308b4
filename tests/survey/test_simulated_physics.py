"""The physics below the embedded survey, against closed forms, photerr, astropy and GalSim."""

from __future__ import annotations

import galsim
import numpy as np
import pandas as pd
import pytest
from astropy.cosmology import FlatLambdaCDM
from photerr import LsstErrorModelV1

from skymill.survey.simulated import bands, cosmology, observe, population, spectra, tables

RNG = np.random.default_rng(5)


class TestBands:
    def test_pivot_wavelengths_are_those_galsim_finds(self):
        for band, pivot in zip(bands.BANDS, bands.pivots()):
            bandpass = galsim.Bandpass(f"LSST_{band}.dat", wave_type="nm")
            wave = np.linspace(bandpass.blue_limit, bandpass.red_limit, 20_000)
            response = np.array([bandpass(w) for w in wave])
            exact = 10 * np.sqrt(np.sum(response * wave) / np.sum(response / wave))
            assert pivot == pytest.approx(exact, rel=1e-3)

    def test_flat_spectrum_has_zero_colours(self):
        flat = spectra.rest_wavelengths() ** -2.0
        magnitudes = spectra.magnitudes_by_redshift(flat)[0]
        np.testing.assert_allclose(magnitudes - magnitudes[0], 0, atol=1e-9)

    def test_magnitudes_and_fluxes_are_inverse(self):
        np.testing.assert_allclose(bands.magnitude_of(bands.flux_of(np.array([15.0, 31.4]))), [15, 31.4])
        assert bands.flux_of(np.array([31.4]))[0] == pytest.approx(1)


class TestSpectra:
    def test_a_power_law_is_shifted_and_diluted_as_it_must_be(self):
        """F_lambda ~ lambda^-2 at redshift z is brighter by 2.5 log10(1 + z), redwards of Lyman alpha."""
        magnitudes = spectra.magnitudes_by_redshift(spectra.rest_wavelengths() ** -2.0)
        z = spectra.redshift_grid()
        near = z < 1.4
        expected = magnitudes[0, 0] - 2.5 * np.log10(1 + z[near])
        np.testing.assert_allclose(magnitudes[near, 0], expected, atol=1e-6)
        assert magnitudes[np.searchsorted(z, 4.0), 0] > magnitudes[0, 0] + 3  # u is absorbed at redshift 4

    def test_forest_between_lyman_alpha_and_beta_is_a_power_of_the_absorbers_redshift(self):
        observed = np.array([1150.0, 1215.0, 1216.5, 3000.0]) * 4
        seen = spectra.transmission(np.array(3.0), observed)
        expected = np.exp(-0.0036 * (observed[:2] / 1215.67) ** 3.46)
        np.testing.assert_allclose(seen[:2], expected)
        np.testing.assert_array_equal(seen[2:], 1)

    def test_more_is_absorbed_the_farther_the_source(self):
        u_band = np.array([3000.0, 3600.0, 4000.0])
        seen = spectra.transmission(np.array([[0.0], [1.5], [2.5], [4.0]]), u_band)
        assert np.all(np.diff(seen, axis=0) <= 0)
        assert seen[0].min() == 1
        assert seen[-1].max() < 0.05

    def test_calzetti_has_its_published_total_to_selective_ratio(self):
        assert spectra.calzetti(np.array([5500.0]))[0] == pytest.approx(4.05, abs=0.03)
        difference = spectra.calzetti(np.array([4400.0]))[0] - spectra.calzetti(np.array([5500.0]))[0]
        assert difference == pytest.approx(1, abs=0.05)

    def test_table_gives_its_nodes_and_is_linear_between_them(self):
        table = tables.galaxy_magnitudes()
        z = spectra.redshift_grid()[[10, 400]]
        np.testing.assert_allclose(table(z, table.types[[3, 7]]), table.magnitudes[[10, 400], [3, 7]])
        halfway = table(z, (table.types[[3, 7]] + table.types[[4, 8]]) / 2)
        mean = (table.magnitudes[[10, 400], [3, 7]] + table.magnitudes[[10, 400], [4, 8]]) / 2
        np.testing.assert_allclose(halfway, mean)

    def test_ellipticals_are_red_and_the_break_passes_through_the_bands(self):
        colours = -np.diff(tables.galaxy_magnitudes()(np.array([0.1, 0.35, 0.7, 1.0]), np.zeros(4)), axis=1)
        assert np.all(colours[:3, 1:].max(1) > 0.7)
        assert np.argmax(np.diff(colours[:2], axis=0)[0, 1:]) == 0  # g - r reddens towards 0.35
        assert colours[2, 2] > colours[1, 2] + 0.3  # r - i at 0.7
        assert colours[3, 3] > colours[1, 3] + 0.3  # i - z at 1.0


class TestDraws:
    def test_quantiles_equal_plain_interpolation(self):
        values = np.sort(RNG.random((4, 5)), axis=1)
        one = tables.Quantiles(np.linspace(0, 1, 5), (np.arange(4.0),), values)
        u, x = RNG.random(50), RNG.uniform(-1, 4, 50)
        expected = []
        for uniform, coordinate in zip(u, x):
            row = np.array([np.interp(coordinate, np.arange(4.0), column) for column in values.T])
            expected.append(np.interp(uniform, np.linspace(0, 1, 5), row))
        np.testing.assert_allclose(one(u, x), expected)

    def test_comoving_distance_is_astropys(self):
        z = np.array([0.05, 0.5, 1, 3, 6])
        exact = FlatLambdaCDM(70, 0.3, Tcmb0=0).comoving_distance(z).value
        np.testing.assert_allclose(cosmology.comoving_distance(z), exact, rtol=1e-5)

    def test_black_body_is_plancks_law(self):
        frequency = 299792458 / (bands.pivots() * 1e-10)
        planck = frequency**3 / np.expm1(6.62607015e-34 * frequency / (1.380649e-23 * 10_000))
        magnitudes = population.black_body(np.array([10_000.0]))[0]
        expected = -2.5 * np.log10(planck)
        np.testing.assert_allclose(magnitudes - magnitudes[0], expected - expected[0], atol=1e-9)

    def test_counts_rise_as_declared(self):
        stars = population.draw_stars(np.random.default_rng(1), 100_000).magnitudes[:, 3]
        counts, _ = np.histogram(stars, np.arange(17, 26.5, 1))
        slope = np.polyfit(np.arange(9), np.log10(counts), 1)[0]
        assert slope == pytest.approx(0.13, abs=0.01)

    def test_stars_lie_on_the_published_locus(self):
        """At g - i = 0.8, u - g = 1.56 and g - r = 0.58 (Covey et al. 2007); AB u is 0.04 brighter."""
        sources = population.draw_stars(np.random.default_rng(2), 100_000)
        m = sources.magnitudes
        near = np.abs(m[:, 1] - m[:, 3] - 0.8) < 0.02
        assert np.median((m[:, 0] - m[:, 1])[near]) == pytest.approx(1.52, abs=0.03)
        assert np.median((m[:, 1] - m[:, 2])[near]) == pytest.approx(0.58, abs=0.02)

    def test_quasars_have_an_ultraviolet_excess_until_the_forest_enters_g(self):
        sources = population.draw_quasars(np.random.default_rng(3), 50_000)
        u_g = sources.magnitudes[:, 0] - sources.magnitudes[:, 1]
        nuclear = sources.point_fraction > 0.9
        assert np.median(u_g[nuclear & (np.abs(sources.redshift - 1.5) < 0.2)]) < 0.4
        assert np.median(u_g[nuclear & (sources.redshift > 3.2)]) > 1.5

    def test_faint_hosts_outshine_low_redshift_nuclei_more_often(self):
        sources = population.draw_quasars(np.random.default_rng(4), 50_000)
        near, far = sources.redshift < 0.8, sources.redshift > 2.5
        assert np.median(sources.point_fraction[near]) < np.median(sources.point_fraction[far])
        assert np.all((sources.point_fraction > 0) & (sources.point_fraction <= 1))


def sources_of(half_light: float, *, axis_ratio: float = 1.0, angle: float = 0.0, n: int = 1) -> population.Sources:
    """Give n pure discs of one size."""
    constant = {
        "redshift": 0.5,
        "spectral_type": 1.0,
        "bulge_fraction": 0.0,
        "bulge_radius": 0.0,
        "disc_radius": half_light,
        "axis_ratio": axis_ratio,
        "position_angle": angle,
        "point_fraction": 0.0,
    }
    arrays = {name: np.full(n, value) for name, value in constant.items()}
    return population.Sources(kind=np.zeros(n, dtype=np.int8), magnitudes=np.full((n, 6), 22.0), **arrays)


class TestObservation:
    @pytest.mark.parametrize("extended", [False, True])
    def test_errors_are_photerrs(self, extended):
        """photerr takes half-light radii as half interquartile ranges of a Gaussian, we as half-light radii of one."""
        magnitudes = RNG.uniform(16, 27, (200, 6))
        radius = np.full(200, 0.4 if extended else 0.0)
        catalogue = pd.DataFrame(magnitudes, columns=list(bands.BANDS))
        catalogue["major"] = catalogue["minor"] = radius * 0.6744897501960817 * observe.HALF_LIGHT_TO_SIGMA
        visits = {"u": observe.U_VISITS_PER_YEAR, "g": 8.0, "r": 18.4, "i": 18.4, "z": 16.0, "y": 16.0}
        model = LsstErrorModelV1(nVisYr=visits, decorrelate=False, extendedType="gaap", aMin=0, aMax=1e9)
        errors = model(catalogue, random_state=0)[[f"{band}_err" for band in bands.BANDS]].to_numpy()
        flux = bands.flux_of(magnitudes)
        psf = observe.noise().psf_sigma_px * observe.PIXEL_ARCSEC
        area = 1 + (radius[:, None] * observe.HALF_LIGHT_TO_SIGMA / psf) ** 2
        ours = 2.5 * np.log10(1 + observe.noise().sigma(flux, area) / flux)
        seen = np.isfinite(errors)
        assert seen.mean() > 0.9
        np.testing.assert_allclose(ours[seen], errors[seen], rtol=2e-4)

    def test_psf_flux_of_a_star_is_its_flux_and_of_a_galaxy_what_a_psf_fit_finds(self):
        seeing = np.ones(40_000)
        flux = np.full((40_000, 6), 1e5)
        psf = galsim.Gaussian(sigma=observe.noise().psf_sigma_px[3] * 0.2)
        for radius in (0.0, 0.5):
            measured = observe.measure(sources_of(radius, n=40_000), flux, seeing, np.random.default_rng(0))
            found = np.median(measured["i_psfFlux"]) / 1e5
            template = psf.drawImage(nx=101, ny=101, scale=0.2, method="no_pixel").array
            profile = galsim.Convolve(psf, galsim.Gaussian(half_light_radius=radius)) if radius else psf
            image = profile.drawImage(nx=101, ny=101, scale=0.2, method="no_pixel").array
            fitted = (image * template).sum() / (template**2).sum()
            assert found == pytest.approx(fitted, rel=2e-3)
            assert np.median(measured["i_cModelFlux"]) == pytest.approx(1e5, rel=1e-3)

    def test_moments_are_those_of_a_sheared_gaussian_behind_the_psf(self):
        sigma_px = observe.noise().psf_sigma_px[3]
        sources = sources_of(0.6, axis_ratio=0.5, angle=30.0, n=2000)
        measured = observe.measure(sources, np.full((2000, 6), 1e7), np.ones(2000), np.random.default_rng(0))
        major = 0.6 * observe.HALF_LIGHT_TO_SIGMA
        galaxy = galsim.Gaussian(sigma=np.sqrt(major * major * 0.5)).shear(q=0.5, beta=30 * galsim.degrees)
        image = galsim.Convolve(galaxy, galsim.Gaussian(sigma=sigma_px * 0.2)).drawImage(
            nx=141, ny=141, scale=0.2, method="no_pixel"
        )
        moments = galsim.hsm.FindAdaptiveMom(image)
        trace = 2 * moments.moments_sigma**2 / np.sqrt(1 - moments.observed_shape.e**2)
        expected = {
            "shape_xx": trace * (1 + moments.observed_shape.e1) / 2,
            "shape_yy": trace * (1 - moments.observed_shape.e1) / 2,
            "shape_xy": trace * moments.observed_shape.e2 / 2,
        }
        for name, value in expected.items():
            assert np.median(measured[name]) == pytest.approx(value, rel=5e-3)

    def test_size_noise_grows_as_signal_falls(self):
        def spread(flux: float) -> float:
            measured = observe.measure(
                sources_of(0.0, n=20_000), np.full((20_000, 6), flux), np.ones(20_000), np.random.default_rng(0)
            )
            return float(np.std(measured["shape_xx"] + measured["shape_yy"]))

        assert spread(300) > 10 * spread(30_000)
