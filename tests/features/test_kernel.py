"""The features of a block of sources."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from skymill.features.kernel import compute_features
from skymill.features.recipe import Recipe
from skymill.features.registry import features_of

RECIPE = Recipe(
    bands=("g", "r", "i"),
    colour_flux="psfFlux",
    size_flux="cModelFlux",
    has_errors=True,
    softening_nJy=(10.0, 12.0, 15.0),
    extinction=(3.65, 2.70, 2.06),
    radius_unit="pix",
    psf_band="i",
    values=(
        ("ebv", "mag"),
        ("shape_xx", "pix2"),
        ("shape_yy", "pix2"),
        ("shape_xy", "pix2"),
        ("redshift", ""),
        ("i_ixxPSF", "pix2"),
        ("i_iyyPSF", "pix2"),
    ),
)


def block(n: int, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    generator = np.random.default_rng(seed)
    flux = generator.lognormal(6, 2, (n, 3)).astype("f4")
    photometry = {
        "psfFlux": flux,
        "psfFluxErr": generator.uniform(1, 20, (n, 3)).astype("f4"),
        "cModelFlux": (flux * generator.uniform(1, 2, (n, 3))).astype("f4"),
    }
    values = generator.uniform(0.01, 0.2, (n, 7)).astype("f4")
    return photometry, values


def table(photometry: dict[str, np.ndarray], values: np.ndarray, recipe: Recipe = RECIPE) -> dict[str, np.ndarray]:
    features, _ = compute_features(photometry, values, recipe)
    return dict(zip([feature.name for feature in features_of(recipe)], features.T, strict=True))


def test_every_feature_of_one_source_computed_by_hand():
    photometry = {
        "psfFlux": np.array([[1000.0, 2000.0, 3000.0]], "f4"),
        "psfFluxErr": np.array([[10.0, 20.0, 30.0]], "f4"),
        "cModelFlux": np.array([[1100.0, 2000.0, 6000.0]], "f4"),
    }
    found = table(photometry, np.array([[0.1, 5.0, 3.0, 1.0, 1.5, 0.9, 1.1]], "f4"))

    def mag(flux: float, b: float) -> float:
        return 31.4 - 2.5 / np.log(10) * (np.arcsinh(flux / 2 / b) + np.log(b))

    g, r, i = 1000 * 10**0.146, 2000 * 10**0.108, 3000 * 10**0.0824
    error_g = 1.0857362 * 10 * 10**0.146 / np.hypot(g, 20)
    error_r = 1.0857362 * 20 * 10**0.108 / np.hypot(r, 24)
    error_i = 1.0857362 * 30 * 10**0.0824 / np.hypot(i, 30)
    expected = {
        "g_asinh_mag": mag(g, 10),
        "r_asinh_mag": mag(r, 12),
        "i_asinh_mag": mag(i, 15),
        "g_minus_r": mag(g, 10) - mag(r, 12),
        "r_minus_i": mag(r, 12) - mag(i, 15),
        "g_asinh_mag_err": error_g,
        "r_asinh_mag_err": error_r,
        "i_asinh_mag_err": error_i,
        "g_minus_r_err": np.hypot(error_g, error_r),
        "r_minus_i_err": np.hypot(error_r, error_i),
        "g_cModelFlux_minus_psfFlux": mag(1100, 10) - mag(1000, 10),
        "r_cModelFlux_minus_psfFlux": 0.0,
        "i_cModelFlux_minus_psfFlux": mag(6000, 15) - mag(3000, 15),
        "log_trace_radius": np.log10(2.0),
        "log_size_over_psf": np.log10(2.0),
        "ellipticity": np.hypot(2 / 8, 2 / 8),
        "g_missing": 0.0,
        "r_missing": 0.0,
        "i_missing": 0.0,
        "ebv": 0.1,
        "shape_xx": 5.0,
        "shape_yy": 3.0,
        "shape_xy": 1.0,
        "redshift": 1.5,
        "i_ixxPSF": 0.9,
        "i_iyyPSF": 1.1,
    }
    assert set(expected) == {feature.name for feature in features_of(RECIPE)}
    assert {name: float(found[name][0]) for name in expected} == pytest.approx(expected, abs=2e-6)


def test_colour_errors_agree_with_monte_carlo():
    generator = np.random.default_rng(1)
    truth, error = np.array([60.0, 90.0, 300.0]), np.array([6.0, 8.0, 5.0])
    photometry = {
        "psfFlux": generator.normal(truth, error, (100_000, 3)).astype("f4"),
        "psfFluxErr": np.broadcast_to(error, (100_000, 3)).astype("f4"),
        "cModelFlux": np.ones((100_000, 3), "f4"),
    }
    found = table(photometry, np.full((100_000, 7), 0.1, "f4"))
    assert np.std(found["g_minus_r"]) == pytest.approx(np.median(found["g_minus_r_err"]), rel=0.02)


def test_nan_in_nan_out_and_no_infinity_ever():
    photometry, values = block(6)
    photometry["psfFlux"][0] = np.nan
    photometry["psfFlux"][1] = np.inf
    photometry["psfFlux"][2] = -3e38
    photometry["psfFluxErr"][3] = 0.0
    values[4, 0] = np.nan  # no E(B-V): the colours are unknown
    values[5, 1:4] = -1.0  # moments of nothing
    found = table(photometry, values)
    assert not np.isinf(np.stack(list(found.values()))).any()
    for row in (0, 1):
        assert np.isnan([found["r_asinh_mag"][row], found["g_minus_r"][row], found["r_asinh_mag_err"][row]]).all()
        assert found["r_missing"][row] == 1.0
    assert np.isfinite(found["r_asinh_mag"][2]) and found["r_missing"][2] == 0.0
    assert np.isnan(found["r_asinh_mag_err"][3]) and np.isfinite(found["r_asinh_mag"][3])
    assert np.isnan(found["g_minus_r"][4]) and np.isfinite(found["g_cModelFlux_minus_psfFlux"][4])
    assert np.isnan([found[name][5] for name in ("log_trace_radius", "ellipticity", "log_size_over_psf")]).all()


def test_a_row_does_not_depend_on_its_block():
    photometry, values = block(1000)
    order = np.random.default_rng(2).permutation(1000)
    whole, _ = compute_features(photometry, values, RECIPE)
    shuffled, _ = compute_features({name: array[order] for name, array in photometry.items()}, values[order], RECIPE)
    halves = [
        compute_features({name: array[part] for name, array in photometry.items()}, values[part], RECIPE)[0]
        for part in (slice(0, 7), slice(7, None))
    ]
    assert np.array_equal(shuffled, whole[order])
    assert np.array_equal(np.concatenate(halves), whole)


def test_an_empty_block_gives_an_empty_matrix():
    photometry, values = block(0)
    assert compute_features(photometry, values, RECIPE)[0].shape == (0, len(features_of(RECIPE)))


def test_rotating_a_source_keeps_its_ellipticity_and_size():
    angle = np.radians(np.arange(0, 180, 10))
    xx = 4 * np.cos(angle) ** 2 + np.sin(angle) ** 2
    yy = 4 * np.sin(angle) ** 2 + np.cos(angle) ** 2
    xy = 3 * np.sin(angle) * np.cos(angle)
    values = np.stack([np.zeros(18), xx, yy, xy, *np.ones((3, 18))], axis=1).astype("f4")
    photometry, _ = block(18)
    found = table(photometry, values)
    assert found["ellipticity"] == pytest.approx(np.full(18, 0.6), abs=1e-6)
    assert np.ptp(found["log_trace_radius"]) < 1e-6


def test_without_errors_second_photometry_moments_or_extinction_their_features_are_absent():
    plain = replace(
        RECIPE,
        size_flux=None,
        has_errors=False,
        extinction=None,
        radius_unit=None,
        psf_band=None,
        values=(("redshift", ""),),
    )
    photometry, _ = block(4)
    found = table(photometry, np.ones((4, 1), "f4"), plain)
    assert list(found) == [
        "g_asinh_mag", "r_asinh_mag", "i_asinh_mag", "g_minus_r", "r_minus_i",
        "g_missing", "r_missing", "i_missing", "redshift",
    ]  # fmt: skip


def test_a_survey_without_photometry_passes_its_values_through():
    bare = replace(
        RECIPE, colour_flux=None, size_flux=None, has_errors=False, extinction=None, radius_unit=None, psf_band=None,
        values=(("parallax", "mas"), ("g_mag", "mag")),
    )  # fmt: skip
    values = np.array([[1.5, np.inf], [np.nan, 12.0]], "f4")
    found, flags = compute_features({}, values, bare)
    assert not flags.any()
    assert np.array_equal(found, np.array([[1.5, np.nan], [np.nan, 12.0]], "f4"), equal_nan=True)


def test_a_value_named_like_a_feature_is_refused():
    with pytest.raises(ValueError, match=r"survey\.values: 'g_minus_r' is also the name of a feature"):
        features_of(replace(RECIPE, values=(("g_minus_r", "mag"),)))
