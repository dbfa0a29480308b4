"""Depth from the errors of faint sources is the depth the simulated survey was given, whatever its tiles."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits

from skymill.report import properties
from skymill.report.properties import FINEST_ORDER, derive_depths, point_flux, properties_of, shown, tile_depths
from skymill.sky import at_order
from skymill.store import open_catalogue
from skymill.survey.simulated import footprint
from skymill.survey.simulated.observe import noise


@pytest.fixture(scope="module")
def sources(made):
    return open_catalogue(made.output / "catalogues" / "sources")


@pytest.fixture(scope="module")
def depths(sources):
    return derive_depths(sources, "psfFlux")


def true_depth(settings, sky, band):
    """5 sigma of the sky's noise behind the PSF of each patch: what the simulation adds, without the source's own."""
    patches = sky.pixels >> 2 * (sky.order - 8) if sky.order >= 8 else sky.pixels << 2 * (8 - sky.order)
    seeing = footprint.patches(settings, patches).seeing  # the same in all patches of a pixel of order 7
    return 31.4 - 2.5 * np.log10(5 * np.sqrt(noise().sky[band]) * seeing)


def test_depth_is_that_of_the_simulated_patches(made, depths):
    for band, sky in enumerate(depths):
        assert sky.order >= 7  # the seeing varies by pixels of this order
        solid = sky.weights >= 20
        error = (sky.values - true_depth(made.survey.simulation, sky, band))[solid]
        assert solid.sum() > 15
        assert abs(np.median(error)) < 0.005 and error.std() < 0.003
        assert np.ptp(true_depth(made.survey.simulation, sky, band)) > 0.1  # so that a constant would not pass


def test_each_pixel_has_the_median_of_its_faint_sources(sources, monkeypatch):
    monkeypatch.setattr(properties, "FEWEST_FAINT", 200)  # so that pixels are put together
    depths = derive_depths(sources, "psfFlux")
    rows = sources.to_xarray(["_healpix_29", "psfFlux", "psfFluxErr"]).compute()
    flux, error = (rows[name].to_numpy().astype(np.float64) for name in ("psfFlux", "psfFluxErr"))
    for band in (0, 3):
        sky = depths[band]
        assert sky.order < FINEST_ORDER
        finest = at_order(rows["_healpix_29"].to_numpy(), FINEST_ORDER)
        faint = np.isfinite(error[:, band]) & (flux[:, band] < 10 * error[:, band])
        depth = 31.4 - 2.5 * np.log10(5 * error[:, band])
        for pixel, value, weight in list(zip(sky.pixels, sky.values, sky.weights, strict=True))[:10]:
            inside = faint & (finest >> 2 * (FINEST_ORDER - sky.order) == pixel)
            fine, n = np.unique(finest[inside], return_counts=True)
            medians = [np.median(depth[inside & (finest == one)]) for one in fine]
            assert weight == n.sum()
            assert value == pytest.approx(np.average(medians, weights=n), abs=1e-6)


def test_a_source_that_is_bright_or_has_no_error_says_nothing():
    error = np.array([1.0, 1.0, 2.0, np.nan, 0.0], np.float32)
    flux = np.array([-3.0, 10.0, 19.0, 1.0, 1.0], np.float32)
    sky = tile_depths(np.full(5, 77), flux, error)
    assert (sky.pixels.tolist(), sky.weights.tolist()) == ([77], [2.0])
    assert sky.values[0] == pytest.approx(31.4 - 2.5 * np.log10(5) - 1.25 * np.log10(2))


def test_a_part_of_a_dense_tile_tells_as_much(made, sources, monkeypatch, depths):
    monkeypatch.setattr(properties, "MOST_ROWS", 7)
    few = derive_depths(sources, "psfFlux")[5]  # in y most sources are faint
    assert few.weights.sum() < 0.4 * depths[5].weights.sum()
    error = few.values - true_depth(made.survey.simulation, few, 5)
    assert few.order >= 7 and len(few.pixels) > 15 and np.abs(error).max() < 0.02


def test_tiles_deeper_than_the_map_are_put_together(sources, monkeypatch, depths):
    monkeypatch.setattr(properties, "FINEST_ORDER", 2)
    monkeypatch.setattr(properties, "MOST_ROWS", 10**6)
    assert sources.tiles["order"].max() > 2
    sky = derive_depths(sources, "psfFlux")[3]
    assert sky.order == 2 and len(np.unique(sky.pixels)) == len(sky.pixels)
    assert sky.weights.sum() == depths[3].weights.sum()


def test_the_flux_of_point_sources_is_the_psfs_and_needs_errors(sources):
    assert point_flux(sources) == "psfFlux"
    assert point_flux(SimpleNamespace(columns=("cModelFlux", "cModelFluxErr", "psfFlux"))) is None


def test_a_declared_depth_takes_the_place_of_the_derived_ones(made, sources, tmp_path):
    bands = list("ugrizy")
    derived = properties_of(made.survey, sources, bands)
    assert [each.name for each in derived] == [f"depth_{band}" for band in bands]
    assert [each.name for each in shown(derived, "i")] == ["depth_i"]
    for name, value in (("depth", 25.5), ("seeing", 0.7)):
        table = fits.BinTableHDU.from_columns([fits.Column("V", "E", array=np.full(12, value))])
        table.header.update({"PIXTYPE": "HEALPIX", "NSIDE": 1, "ORDERING": "RING", "COORDSYS": "C"})
        table.writeto(tmp_path / f"{name}.fits")
    maps = {f"{name}_i": {"path": str(tmp_path / f"{name}.fits"), "unit": unit} for name, unit in UNITS.items()}
    seeing = {"seeing_i": maps["seeing_i"]}
    with_both, with_seeing = (
        type(made.survey).model_validate(made.survey.model_dump() | {"maps": each}) for each in (maps, seeing)
    )
    declared = properties_of(with_both, sources, bands)
    assert [(each.name, each.sky.values[0]) for each in declared] == [
        ("depth_i", 25.5),
        ("seeing_i", pytest.approx(0.7)),
    ]
    both = properties_of(with_seeing, sources, bands)
    assert [each.name for each in shown(both, "r")] == ["depth_r", "seeing_i"]
    assert both[-1].label == "seeing (FWHM) in i (arcsec)"


UNITS = {"depth": "mag", "seeing": "arcsec"}
