"""The whole measurement of a tile: what it gives, and what it does with bad pixels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scenes import isolated
from tiles import make_tile

from skymill.config.images import MeasureSettings
from skymill.features.measuring import (
    MEASURE_FLAGS,
    Measured,
    MeasureError,
    Positions,
    flux_names,
    measure,
    value_units,
)
from skymill.survey.images.tile import Psf, TilePixels

FLAG = {flag.name: flag.mask for flag in MEASURE_FLAGS}
STAR = Psf(3.5)


def stars(
    *places: tuple[float, float, float],
    shape: tuple[int, int] = (160, 200),
    bands: int = 1,
    noise: float = 1.0,
    seed: int = 0,
) -> np.ndarray:
    """Gaussian stars (x, y, flux) on noise, the same in each band, (bands, ny, nx)."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    variance = (3.5 / 2.3548) ** 2
    clean = sum(
        flux * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * variance)) / (2 * np.pi * variance)
        for cx, cy, flux in places
    )
    return np.stack([clean + generator.normal(0, noise, shape) for _ in range(bands)])


def field(bands: int = 1, **more) -> np.ndarray:
    return stars((40.2, 50.4, 800), (100.7, 80.1, 2000), (106.0, 81.0, 1500), (150, 120, 500), bands=bands, **more)


def nearest(found: Measured, x: float, y: float) -> int:
    distance = np.hypot(found.x - x, found.y - y)
    assert distance.min() < 1.0
    return int(distance.argmin())


def check_form(found: Measured, tile: TilePixels, settings: MeasureSettings) -> None:
    """Whatever was measured has the promised arrays."""
    n, bands = found.n, len(tile.bands)
    for name, dtype, shape in [
        ("label", "i4", (n,)),
        ("x", "f8", (n,)),
        ("y", "f8", (n,)),
        ("peak_x", "i4", (n,)),
        ("peak_y", "i4", (n,)),
        ("flags", "i4", (n,)),
        ("parent", "i4", (n,)),
        ("n_blended", "i4", (n,)),
        ("bbox", "i4", (n, 4)),
        ("labels", "i4", tile.shape),
        ("parents", "i4", tile.shape),
    ]:
        array = getattr(found, name)
        assert (array.dtype, array.shape) == (np.dtype(dtype), shape), name
        assert array.flags.c_contiguous, name
    names = flux_names(settings.apertures_arcsec)
    assert set(found.photometry) == {*names, *(f"{name}Err" for name in names)}
    assert all((flux.dtype, flux.shape) == (np.float32, (n, bands)) for flux in found.photometry.values())
    assert list(found.values) == list(value_units(tile.bands))
    assert all((value.dtype, value.shape) == (np.float32, (n,)) for value in found.values.values())
    assert not any(np.isinf(array).any() for array in [*found.photometry.values(), *found.values.values()])
    assert set(found.background) == set(found.noise) == set(tile.bands)
    assert (found.flags & ~sum(FLAG.values()) == 0).all()


def test_four_stars(settings: MeasureSettings):
    tile = make_tile(field(3), bands="gri")
    found = measure(tile, settings)
    check_form(found, tile, settings)
    for x, y, flux in [(40.2, 50.4, 800), (100.7, 80.1, 2000), (106.0, 81.0, 1500), (150, 120, 500)]:
        index = nearest(found, x, y)
        pull = (found.photometry["psfFlux"][index] - flux) / found.photometry["psfFluxErr"][index]
        assert np.abs(pull).max() < 4
        assert np.hypot(found.x[index] - x, found.y[index] - y) < 0.3
    blended = [nearest(found, 100.7, 80.1), nearest(found, 106.0, 81.0)]
    assert found.n_blended[blended].tolist() == [2, 2]
    assert len(set(found.parent[blended])) == 1
    assert (found.flags[blended] & FLAG["deblended"] != 0).all()
    assert found.flags[nearest(found, 150, 120)] == 0
    assert found.noise == pytest.approx(dict.fromkeys("gri", 1.0), rel=0.02)
    assert found.background == pytest.approx(dict.fromkeys("gri", 0.0), abs=0.1)


def test_the_maps_and_the_table_say_the_same(settings: MeasureSettings):
    found = measure(make_tile(field(2), bands="gr"), settings)
    assert np.array_equal(found.label, np.arange(1, found.n + 1))
    assert np.array_equal(found.labels > 0, found.parents > 0)
    assert np.array_equal(found.values["area"], np.bincount(found.labels.ravel())[1:])
    for index in range(found.n):
        rows, columns = np.nonzero(found.labels == index + 1)
        assert found.bbox[index].tolist() == [rows.min(), rows.max() + 1, columns.min(), columns.max() + 1]
        assert set(found.parents[rows, columns]) == {found.parent[index]}
        assert found.labels[found.peak_y[index], found.peak_x[index]] == index + 1
    assert np.array_equal(found.n_blended, np.bincount(found.parent)[found.parent])


def test_the_same_pixels_give_the_same_bytes(settings: MeasureSettings):
    tile = make_tile(field(2), bands="gr", psf={"g": STAR})
    first, again = measure(tile, settings), measure(dataclasses.replace(tile, pixels=tile.pixels.copy()), settings)
    for name in ("x", "y", "flags", "labels", "parents", "bbox"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
    for name, flux in first.photometry.items():
        assert flux.tobytes() == again.photometry[name].tobytes()
    for name, value in first.values.items():
        assert value.tobytes() == again.values[name].tobytes()


@pytest.mark.parametrize("scale", [1e-12, 1e9])
def test_units_do_not_matter(settings: MeasureSettings, scale: float):
    pixels = field(2)
    plain = measure(make_tile(pixels, bands="gr"), settings)
    scaled = measure(make_tile(pixels * scale, 1 / scale**2, bands="gr"), settings)
    assert scaled.n == plain.n
    assert scaled.x == pytest.approx(plain.x, abs=1e-2)
    for name in ("psfFlux", "kronFluxErr", "ap1p0Flux"):
        assert scaled.photometry[name] / scale == pytest.approx(plain.photometry[name], rel=2e-3, abs=0.05)


def test_pixels_of_1e_minus_12_without_noise_given(settings: MeasureSettings):
    found = measure(make_tile(field() * 1e-12, noise_known=False), settings)
    assert found.noise["r"] == pytest.approx(1e-12, rel=0.05)
    assert nearest(found, 150, 120) >= 0


@pytest.mark.parametrize(
    ("tile", "reason"),
    [
        (make_tile(np.full((3, 40, 50), np.nan), bands="gri"), r"t0: .*no pixel has a value in any band \(g, r, i\)"),
        (make_tile(field(), 0.0), "t0: .*no pixel that has a value has a weight"),
        (make_tile(np.zeros((60, 60)), noise_known=False), "t0: .*all pixels of each band are alike"),
        (make_tile(np.full((60, 60), 7.0), noise_known=False), "t0: .*all pixels of each band are alike"),
        (make_tile(np.full((2, 60, 60), 7.0), bands="gr"), r"t0: .*all pixels of each band are alike \(g, r\); fetch"),
        (make_tile(np.full((2, 60, 60), np.inf), bands="gr"), "t0: .*no pixel has a value"),
        (make_tile(field() * 1e-12), "t0: expected the pixels of band 'r' to scatter as their variance says"),
    ],
    ids=["all NaN", "no weight", "zeros", "constant", "constant, with noise", "infinite", "variance in another unit"],
)
def test_where_nothing_can_be_measured_the_reason_is_told(tile: TilePixels, reason: str, settings: MeasureSettings):
    with pytest.raises(MeasureError, match=reason):
        measure(tile, settings)


@pytest.mark.parametrize("level", [0.0, 7.0, -3e5, 1e-12])
def test_an_image_without_sources_gives_empty_arrays(settings: MeasureSettings, level: float):
    tile = make_tile(level + np.random.default_rng(3).normal(size=(2, 90, 80)), bands="gr")
    found = measure(tile, settings)
    assert found.n == 0
    check_form(found, tile, settings)
    assert not found.labels.any()


@pytest.mark.parametrize("shape", [(1, 2), (1, 300), (7, 5), (33, 32), (64, 65)])
def test_images_of_any_size(settings: MeasureSettings, shape: tuple[int, int]):
    tile = make_tile(np.random.default_rng(1).normal(size=(2, *shape)), bands="gr")
    check_form(measure(tile, settings), tile, settings)


def test_a_missing_band_is_nan_throughout_and_harms_no_other(settings: MeasureSettings):
    pixels = field(3)
    whole = measure(make_tile(pixels[[0, 2]], bands="gi"), settings)
    pixels[1] = np.nan
    tile = make_tile(pixels, bands="gri")
    found = measure(tile, settings)
    check_form(found, tile, settings)
    assert found.n == whole.n
    for name, flux in found.photometry.items():
        assert np.isnan(flux[:, 1]).all()
        assert np.array_equal(flux[:, [0, 2]], whole.photometry[name])
    assert np.isnan(found.noise["r"])
    assert (found.flags & (FLAG["bad_pixel"] | FLAG["psf_failed"]) == 0).all()


def test_a_band_without_psf_has_apertures_alone(settings: MeasureSettings):
    found = measure(make_tile(field(2), bands="gr", psf={"r": STAR}), settings)
    assert np.isnan(found.photometry["psfFlux"][:, 0]).all()
    assert np.isfinite(found.photometry["psfFlux"][:, 1]).all()
    assert np.isfinite(found.photometry["kronFlux"]).all()
    assert (found.flags & FLAG["psf_failed"] != 0).all()


@pytest.mark.parametrize("psf", [{}, {"r": Psf(np.nan)}, {"r": Psf(3.5, np.full((9, 9), np.nan, dtype=np.float32))}])
def test_a_psf_that_cannot_be_used_counts_as_none(settings: MeasureSettings, psf: dict[str, Psf]):
    tile = make_tile(field(), psf=psf)
    found = measure(tile, settings)
    check_form(found, tile, settings)
    assert found.n >= 4
    assert np.isnan(found.photometry["psfFlux"]).all()
    assert np.isnan(found.values["r_ixxPSF"]).all()
    assert np.isnan(found.values["extendedness"]).all()
    assert np.isfinite(found.photometry["ap1p0Flux"]).all()


def test_sources_on_the_edge(settings: MeasureSettings):
    shape = (160, 200)
    places = [(0, 60), (199.3, 100), (100, 0.2), (60, 159.4), (-1.5, 120), (0, 0)]
    tile = make_tile(stars(*[(x, y, 3000) for x, y in places], shape=shape))
    found = measure(tile, settings)
    check_form(found, tile, settings)
    for x, y in places[:4]:
        index = nearest(found, x, y)
        assert found.flags[index] & FLAG["edge"]
        assert found.values["coverage_frac"][index] < 0.8
        assert found.photometry["psfFlux"][index, 0] == pytest.approx(3000, rel=0.15)
        assert found.photometry["ap3p4Flux"][index, 0] == pytest.approx(3000, rel=0.25)  # mirrored
    middle = measure(make_tile(field()), settings)
    assert (middle.values["coverage_frac"] == 1).all()


def test_too_many_sources_are_counted_and_refused():
    settings = MeasureSettings(max_sources=3)
    with pytest.raises(
        MeasureError, match=r"t0: found \d+ sources above 3.5 sigma, expected at most 3; raise max_sources"
    ):
        measure(make_tile(field()), settings)


def test_bad_pixels_are_flagged_and_stand_for_nothing(settings: MeasureSettings):
    pixels, weight = field(2), np.ones((2, 160, 200))
    pixels[0, 45:56, 42:44], weight[0, 45:56, 42:44] = 1e7, 0
    pixels[1, 121, 151] = np.nan
    found = measure(make_tile(pixels, weight, bands="gr"), settings)
    first, fourth = nearest(found, 40.2, 50.4), nearest(found, 150, 120)
    assert found.flags[[first, fourth]].tolist() == [FLAG["bad_pixel"]] * 2
    assert 0 < found.values["masked_frac"][fourth] < found.values["masked_frac"][first] < 1
    for name in ("psfFlux", "kronFlux", "ap1p4Flux", "ap3p4Flux"):
        assert np.abs(found.photometry[name][first, 0] - found.photometry[name][first, 1]) < 120
    assert found.values["masked_frac"][nearest(found, 100.7, 80.1)] == 0


def test_where_the_middle_pixel_is_lost_there_is_no_aperture_flux(settings: MeasureSettings):
    pixels, weight = field(2), np.ones((2, 160, 200))
    weight[0, 119:122, 149:152] = 0
    found = measure(make_tile(pixels, weight, bands="gr"), settings)
    index = nearest(found, 150, 120)
    assert np.isnan(found.photometry["kronFlux"][index]).tolist() == [True, False]
    assert np.isnan(found.photometry["ap0p6FluxErr"][index]).tolist() == [True, False]
    assert found.photometry["psfFlux"][index] == pytest.approx([500, 500], abs=80)


@pytest.mark.parametrize("plane", ["saturated", "bad", "edge", "interpolated", "cosmic_ray", "no_data"])
def test_mask_planes_become_flags(settings: MeasureSettings, plane: str):
    mask = np.zeros((2, 160, 200), dtype=np.uint32)
    bit = ("no_data", "bad", "saturated", "edge", "interpolated", "cosmic_ray").index(plane)
    mask[1, 50, 41] = 1 << bit
    found = measure(make_tile(field(2), bands="gr", mask=mask), settings)
    name = "bad_pixel" if plane in ("bad", "no_data") else plane
    expected = np.zeros(found.n, dtype=int)
    expected[nearest(found, 40.2, 50.4)] = FLAG[name]
    assert (found.flags & FLAG[name]).tolist() == expected.tolist()


def test_a_star_without_its_saturated_core_is_one_source(settings: MeasureSettings):
    pixels = stars((100, 80, 5e6), (150, 40, 800))
    core = pixels > 3e4
    mask = np.where(core, 1 << 2, 0)
    pixels[core] = 3e4
    found = measure(make_tile(pixels, np.where(core, 0.0, 1.0), mask=mask), settings)
    near = np.hypot(found.x - 100, found.y - 80) < 15
    assert near.sum() == 1
    assert found.flags[near][0] & FLAG["saturated"]
    assert np.isnan(found.photometry["kronFlux"][near]).all()
    assert found.labels[80, 100] == found.label[near][0]
    assert nearest(found, 150, 40) >= 0


def test_forced_mode_measures_where_it_is_told(settings: MeasureSettings):
    tile = make_tile(field(2), bands="gr")
    positions = Positions(
        np.array([40.2, 100.7, 106.0, 20.0, -500.0, np.nan]), np.array([50.4, 80.1, 81.0, 130.0, 30.0, 5.0])
    )
    found = measure(tile, settings, positions=positions)
    check_form(found, tile, settings)
    assert found.n == 6
    assert not found.labels.any() and not found.parents.any()
    assert found.x[:4].tolist() == positions.x[:4].tolist()
    pull = (found.photometry["psfFlux"][:4] - np.array([[800], [2000], [1500], [0]])) / found.photometry["psfFluxErr"][
        :4
    ]
    assert np.abs(pull).max() < 4
    assert np.isnan(found.photometry["psfFlux"][4:]).all()
    assert np.isnan(found.photometry["ap1p0Flux"][4:]).all()
    assert (found.flags[4:] & FLAG["edge"] != 0).all()
    assert found.values["coverage_frac"][4:].tolist() == [0, 0]
    assert found.n_blended.tolist() == [1] * 6


def test_forced_mode_without_positions(settings: MeasureSettings):
    tile = make_tile(field())
    found = measure(tile, settings, positions=Positions(np.empty(0), np.empty(0)))
    check_form(found, tile, settings)
    assert found.n == 0


def test_forced_fluxes_at_detected_positions_are_the_same(settings: MeasureSettings):
    tile = isolated("stars", [22, 23, 24], per_side=5, seed=4).tile
    found = measure(tile, settings)
    forced = measure(tile, settings, positions=Positions(found.x, found.y))
    alone = found.n_blended == 1
    assert alone.sum() >= 20
    difference = (forced.photometry["psfFlux"] - found.photometry["psfFlux"])[alone] / found.photometry["psfFluxErr"][
        alone
    ]
    assert np.abs(difference).max() < 0.05


def test_aperture_names():
    assert flux_names([0.6, 1, 2.45]) == ("psfFlux", "kronFlux", "ap0p6Flux", "ap1p0Flux", "ap2p45Flux")


def test_apertures_grow():
    with pytest.raises(ValueError, match=r"expected radii that grow, found 1, 0\.6"):
        MeasureSettings(apertures_arcsec=[1.0, 0.6])


def test_noise_that_is_not_known_is_measured_and_scales_relative_weights(settings: MeasureSettings):
    generator = np.random.default_rng(2)
    relative = np.where(np.arange(200) < 100, 1.0, 4.0) * np.ones((160, 1))
    pixels = stars((40, 50, 3000), (150, 100, 3000), noise=0.0)[0] + generator.normal(0, 5 / np.sqrt(relative))
    found = measure(make_tile(pixels, relative, noise_known=False), settings)
    errors = [found.photometry["psfFluxErr"][nearest(found, x, y), 0] for x, y in ((40, 50), (150, 100))]
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.1)
    assert errors[0] == pytest.approx(5 * np.sqrt(4 * np.pi) * 3.5 / 2.3548, rel=0.1)


def test_correlated_noise_makes_errors_larger(settings: MeasureSettings):
    from scipy.ndimage import uniform_filter

    generator = np.random.default_rng(3)
    noise = uniform_filter(generator.normal(0, 3, (400, 400)), 3)
    noise /= noise.std()
    plain = measure(
        make_tile(stars((200, 200, 2000), shape=(400, 400), noise=0)[0] + generator.normal(0, 1, (400, 400))), settings
    )
    smooth = measure(make_tile(stars((200, 200, 2000), shape=(400, 400), noise=0)[0] + noise), settings)
    ratio = (
        smooth.photometry["psfFluxErr"][nearest(smooth, 200, 200), 0]
        / plain.photometry["psfFluxErr"][nearest(plain, 200, 200), 0]
    )
    assert 1.8 < ratio < 2.8  # 3 in the limit of large apertures
    assert smooth.n < 20
