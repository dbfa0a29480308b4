"""Measuring real images, beside the catalogues that others made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from real.tiles import hsc_blends, sextractor_reference
from scipy.spatial import cKDTree
from tiles import NANOMAGGY, make_tile, sdss_frame, sdss_group

from skymill.config.images import MeasureSettings
from skymill.features.measuring import Measured, measure
from skymill.features.measuring.background import CLIPPED_RMS, subtract_background
from skymill.survey.images.tile import TilePixels


def matched(found: Measured, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance of the nearest source, and which it is."""
    return cKDTree(np.column_stack([found.x, found.y])).query(np.column_stack([x, y]))


class TestSExtractorReference:
    """The NTT image that SEP comes with; SExtractor used meshes of 64 pixels and an aperture of 5 pixels radius."""

    @pytest.fixture(scope="class")
    def tile(self, data: Path) -> TilePixels:
        return sextractor_reference(data)

    @pytest.fixture(scope="class")
    def theirs(self, data: Path) -> np.ndarray:
        return np.loadtxt(data / "images/small_references/image.cat")

    @pytest.fixture(scope="class")
    def found(self, tile: TilePixels) -> Measured:
        return measure(tile, MeasureSettings(apertures_arcsec=[3.0, 5.0, 10.0], background_px=64))

    def test_background_and_noise(self, tile: TilePixels, data: Path):
        folder = data / "images/small_references"
        sky = subtract_background(tile, 64, 2.6)
        assert tile.pixels[0] - sky.pixels[0] == pytest.approx(fits.getdata(folder / "back.fits"), rel=1e-5)
        rms = CLIPPED_RMS / (np.sqrt(sky.weight[0]) * sky.correlation["r"])
        assert rms == pytest.approx(fits.getdata(folder / "rms.fits"), rel=0.01)

    def test_sources(self, found: Measured, theirs: np.ndarray):
        distance, _ = matched(found, theirs[:, 3] - 1, theirs[:, 4] - 1)
        assert np.mean(distance < 1.5) > 0.95
        assert np.median(distance) < 0.1

    def test_fluxes(self, found: Measured, theirs: np.ndarray):
        distance, index = matched(found, theirs[:, 3] - 1, theirs[:, 4] - 1)
        clear = (distance < 1) & (theirs[:, 20] == 0) & (theirs[:, 15] > 10 * theirs[:, 16]) & (theirs[:, 16] > 0)
        assert clear.sum() >= 20
        aperture = found.photometry["ap5p0Flux"][index, 0] / theirs[:, 12]
        assert np.median(aperture[clear]) == pytest.approx(1, abs=0.04)
        kron = found.photometry["kronFlux"][index[clear], 0] / theirs[clear, 15]
        assert np.median(kron) == pytest.approx(1, abs=0.04)
        error = found.photometry["ap5p0FluxErr"][index, 0] / theirs[:, 13]
        assert np.median(error[clear]) == pytest.approx(1, abs=0.1)


class TestStripe82:
    """One r frame of 54 s against the catalogue of a coadd two magnitudes deeper, and SDSS's own of the frame."""

    @pytest.fixture(scope="class")
    def tile(self, data: Path) -> TilePixels:
        return sdss_frame(data)

    @pytest.fixture(scope="class")
    def found(self, tile: TilePixels) -> Measured:
        return measure(tile, MeasureSettings(apertures_arcsec=[0.8, 1.5, 3.0, 7.4]))

    @pytest.fixture(scope="class")
    def coadd(self, data: Path, tile: TilePixels) -> Table:
        table = Table.read(data / "images/sdss_stripe82_94_1_12/coadd_field_catalog_runjing_liu.fit")
        table["x"], table["y"] = tile.wcs.all_world2pix(table["ra"], table["dec"], 0)
        table["mag"] = np.where(table["probpsf"] == 1, table["psfmag_r"], table["expmag_r"])
        inside = (table["x"] > 5) & (table["x"] < 2042) & (table["y"] > 5) & (table["y"] < 1483)
        return table[inside]

    @pytest.fixture(scope="class")
    def photo(self, data: Path, tile: TilePixels) -> Table:
        table = Table.read(data / "images/sdss_stripe82_94_1_12/photoObj-000094-1-0012.fits.gz")
        table = table["RA", "DEC", "OBJC_TYPE", "PSFFLUX", "CMODELFLUX"]
        table["x"], table["y"] = tile.wcs.all_world2pix(table["RA"], table["DEC"], 0)
        return table

    def test_completeness(self, found: Measured, coadd: Table):
        """Down to r = 21 what is missing are entries on spikes and arms, and one star in the light of another."""
        distance, _ = matched(found, coadd["x"], coadd["y"])
        for low, high, least in [(17, 19, 0.99), (19, 20, 0.96), (20, 21, 0.97), (21, 22, 0.9)]:
            bin_ = np.asarray((coadd["mag"] >= low) & (coadd["mag"] < high))
            assert np.mean(distance[bin_] < 3) >= least, (low, high)

    def test_astrometry(self, found: Measured, coadd: Table):
        distance, index = matched(found, coadd["x"], coadd["y"])
        good = (distance < 3) & np.asarray(coadd["mag"] < 21)
        assert abs(np.median(found.x[index[good]] - coadd["x"][good])) < 0.1
        assert abs(np.median(found.y[index[good]] - coadd["y"][good])) < 0.1

    @pytest.mark.parametrize("magnitude", [16, 17, 18, 19])
    def test_psf_fluxes_of_stars_are_sdss_s(self, found: Measured, photo: Table, magnitude: int):
        distance, index = matched(found, photo["x"], photo["y"])
        flux = np.asarray(photo["PSFFLUX"])[:, 2]
        mag = 22.5 - 2.5 * np.log10(np.maximum(flux, 1e-3))
        star = (distance < 1) & np.asarray(photo["OBJC_TYPE"] == 6) & (mag >= magnitude) & (mag < magnitude + 1)
        star &= found.n_blended[index] == 1
        offset = -2.5 * np.log10(found.photometry["psfFlux"][index[star], 0] / NANOMAGGY / flux[star])
        assert star.sum() >= 10
        assert abs(np.median(offset)) < 0.02

    def test_stars_and_galaxies(self, found: Measured, coadd: Table):
        distance, index = matched(found, coadd["x"], coadd["y"])
        bright = (distance < 1.5) & np.asarray((coadd["mag"] > 16) & (coadd["mag"] < 20))
        extended = found.values["extendedness"][index] > 0.5
        star, galaxy = bright & np.asarray(coadd["probpsf"] == 1), bright & np.asarray(coadd["probpsf"] == 0)
        assert star.sum() > 80 and galaxy.sum() > 50
        assert np.mean(~extended[star]) > 0.97
        assert np.mean(extended[galaxy]) > 0.97

    def test_noise_alone_makes_hardly_a_source(self, tile: TilePixels):
        negative = make_tile(-tile.pixels[:, 700:1400, 200:900], wcs=tile.wcs, fwhm_px=3.3, noise_known=False)
        assert measure(negative, MeasureSettings()).n <= 5


def test_three_bands_of_resampled_pixels(data: Path):
    found = measure(sdss_group(data), MeasureSettings())
    assert 800 < found.n < 2000
    clean = (found.flags == 0) & (found.values["extendedness"] < 0.2)
    flux = found.photometry["psfFlux"][clean]
    colour = -2.5 * np.log10(flux[:, 0] / flux[:, 1])
    assert clean.sum() > 20
    assert 0.2 < np.nanmedian(colour) < 1.6  # g - r of stars
    for x, y in ((165, 131), (277, 190)):  # each of the large galaxies is one source, not many
        assert found.values["area"][found.labels[y, x] - 1] > 1000


def test_hsc_blends(data: Path):
    """Peaks of the LSST pipelines in real blends, with their weights and point-spread functions."""
    peaks, near, more = 0, 0, 0
    for blend in hsc_blends(data):
        found = measure(blend.tile, MeasureSettings())
        x, y = blend.peaks.T
        distance, _ = matched(found, x, y)
        back, _ = cKDTree(blend.peaks).query(np.column_stack([found.x, found.y]))
        peaks, near, more = peaks + len(x), near + np.sum(distance < 3), more + np.sum(back > 3)
        assert np.isfinite(found.photometry["psfFlux"]).mean() > 0.9
    assert peaks > 80
    assert near / peaks > 0.75
    assert more / peaks < 0.1
