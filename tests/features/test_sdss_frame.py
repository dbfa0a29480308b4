"""A real frame in five bands on five grids, through the reader and the segmentation catalogue, beside SDSS's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS
from measured_tiles import measured_tiles
from scipy.spatial import cKDTree

from skymill.config import SurveyConfig
from skymill.config.images import ImageFile, MeasureSettings
from skymill.config.load import load_survey

REPOSITORY = Path(__file__).resolve().parents[2]
NANOMAGGY = 3630.78
"""nJy."""
BANDS = "ugriz"


@pytest.fixture(scope="module")
def folder(data: Path) -> Path:
    return data / "images/sdss_stripe82_94_1_12"


@pytest.fixture(scope="module")
def config(folder: Path) -> SurveyConfig:
    """The example survey."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDSS_FRAMES", str(folder))
        return load_survey(REPOSITORY / "config" / "surveys" / "sdss_frames.yaml")


def measured(config: SurveyConfig, output: Path) -> dict[str, np.ndarray]:
    """The table of sources of the one tile, as it stands in the catalogue; and its WCS."""
    settings = MeasureSettings(apertures_arcsec=[0.8, 1.5, 3.0, 7.4])
    [tile] = measured_tiles(config, settings, output).values()
    rows = tile.rows(0, tile.n_rows)
    names = [str(name) for name in tile.arrays["values"].attrs["columns"]]
    return {**rows, **dict(zip(names, rows["values"].T, strict=True)), "wcs": WCS(tile.attrs["wcs"])}


@pytest.fixture(scope="module")
def found(config: SurveyConfig, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """With point-spread functions made of the tile's own stars."""
    return measured(config, tmp_path_factory.mktemp("sdss"))


@pytest.fixture(scope="module")
def found_with_models(config: SurveyConfig, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """With the point-spread functions that SDSS ships."""
    assert config.images is not None
    psf = {"psf": ImageFile(file="psField-{tile}.fit"), "psf_fwhm_arcsec": None}
    images = config.images.model_copy(update=psf)
    return measured(config.model_copy(update={"images": images}), tmp_path_factory.mktemp("psfield"))


@pytest.fixture(scope="module")
def coadd(folder: Path, found: dict[str, np.ndarray]) -> Table:
    """Sources of a coadd two magnitudes deeper, inside the frame."""
    table = Table.read(folder / "coadd_field_catalog_runjing_liu.fit")
    x, y = found["wcs"].all_world2pix(table["ra"], table["dec"], 0)
    table["mag"] = np.where(table["probpsf"] == 1, table["psfmag_r"], table["expmag_r"])
    return table[(x > 5) & (x < 2042) & (y > 5) & (y < 1483)]


def nearest(found: dict[str, np.ndarray], ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance (arcsec) of the nearest detection on this field on the equator, and which it is."""
    flat = np.array([np.cos(np.deg2rad(np.mean(dec))), 1.0]) * 3600
    tree = cKDTree(np.column_stack([found["coord_ra"], found["coord_dec"]]) * flat)
    return tree.query(np.column_stack([ra, dec]) * flat)


def test_as_complete_as_asked_against_the_deeper_catalogue(found, coadd):
    distance, _ = nearest(found, coadd["ra"], coadd["dec"])
    for low, high, least in [(17, 19, 0.99), (19, 20, 0.96), (20, 21, 0.97), (21, 22, 0.93), (22, 23, 0.8)]:
        some = np.asarray((coadd["mag"] >= low) & (coadd["mag"] < high))
        assert np.mean(distance[some] < 1.2) >= least, (low, high)


def test_positions_are_the_deeper_catalogue_s(found, coadd):
    distance, index = nearest(found, coadd["ra"], coadd["dec"])
    good = (distance < 1.2) & np.asarray(coadd["mag"] < 21)
    for axis, theirs in (("coord_ra", "ra"), ("coord_dec", "dec")):
        assert abs(np.median(found[axis][index[good]] - coadd[theirs][good])) * 3600 < 0.1 * 0.396


def psf_offset(found: dict[str, np.ndarray], folder: Path, band: str) -> float:
    """The median difference of the PSF magnitudes of stars from SDSS's."""
    photo = Table.read(folder / "photoObj-000094-1-0012.fits.gz")["RA", "DEC", "OBJC_TYPE", "PSFFLUX"]
    distance, index = nearest(found, photo["RA"], photo["DEC"])
    flux = np.asarray(photo["PSFFLUX"])
    magnitude = 22.5 - 2.5 * np.log10(np.maximum(flux, 1e-3))
    star = (distance < 0.4) & np.asarray(photo["OBJC_TYPE"] == 6) & (magnitude[:, 2] > 17) & (magnitude[:, 2] < 20)
    star &= (found["n_blended"][index] == 1) & (magnitude[:, BANDS.index(band)] < 21)
    ours = found["psfFlux"][index[star], BANDS.index(band)] / NANOMAGGY
    assert star.sum() >= 40
    return float(np.median(-2.5 * np.log10(ours / flux[star, BANDS.index(band)])))


@pytest.mark.parametrize("band", BANDS)
def test_psf_magnitudes_of_stars_are_sdss_s_in_every_band(found, folder, band):
    assert abs(psf_offset(found, folder, band)) < 0.02


@pytest.mark.parametrize(("band", "most"), [("u", 0.045), ("g", 0.02), ("r", 0.02), ("i", 0.02), ("z", 0.02)])
def test_psf_magnitudes_by_sdss_s_models_are_sdss_s(found_with_models, folder, band, most):
    """In u, apertures of 3 arcsec hold 0.04 mag less than PSFFLUX says, too; the coadd's magnitudes agree with ours."""
    assert abs(psf_offset(found_with_models, folder, band)) < most


def test_stars_and_galaxies_by_magnitude(found, coadd):
    """Of stars that is: complete and pure; the coadd tells them apart two magnitudes deeper."""
    distance, index = nearest(found, coadd["ra"], coadd["dec"])
    called_star = found["extendedness"][index] < 0.5
    star = np.asarray(coadd["probpsf"] == 1)
    for low, high, complete, pure in [(16, 18, 0.97, 0.97), (18, 20, 0.97, 0.95), (20, 21, 0.9, 0.85)]:
        some = (distance < 0.6) & np.asarray((coadd["mag"] >= low) & (coadd["mag"] < high))
        assert np.mean(called_star[some & star]) >= complete, (low, high)
        assert np.mean(star[some & called_star]) >= pure, (low, high)
