"""Exposures and cell coadds of the LSST and HSC pipelines: every mask plane is named, units and origins are read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from image_tiles import geometry, image_settings, noise, read, tan_wcs, write_cells, write_exposure

from skymill.survey.images.tile import ImageError

WRITER = Path(__file__).parents[2] / "helpers" / "write_cell_coadd.py"


def exposure(file: str = "{band}.fits", **keys: Any) -> Any:
    return image_settings("exposure", image={"file": file}, **{"unit": None, **keys})


# Real exposures

AFW = ["BAD", "SAT", "INTRP", "CR", "EDGE", "DETECTED", "DETECTED_NEGATIVE"]
FILES = {
    "HSC-0908120-056-small.fits": [*AFW, "SUSPECT", "CROSSTALK", "NO_DATA", "UNMASKEDNAN"],
    "parent.fits": AFW,
    "exposure-version-2.fits": [*AFW, "SUSPECT", "NO_DATA"],
}


@pytest.mark.parametrize("file", FILES)
def test_every_plane_of_the_real_exposures_is_named(data: Path, file: str) -> None:
    folder = data / "images" / "lsst_fits_formats"
    tile = read(folder, exposure(file, unit="count", zero_point=27.0), ["i"])
    assert list(tile.planes) == FILES[file] and tile.noise_known
    assert "SAT" in tile.roles["saturated"] and "BAD" in tile.roles["bad"]
    with fits.open(folder / file) as stored:
        first = 0 if stored[0].data is not None else 1
        image, mask, variance = (stored[first + step].data for step in range(3))
    np.testing.assert_allclose(tile.pixels[0], image * 57.543993, rtol=1e-6)
    np.testing.assert_allclose(tile.inverse_variance[0], 1 / (variance.astype(float) * 57.543993**2), rtol=1e-6)
    np.testing.assert_array_equal(tile.mask[0], mask)
    for name, bit in tile.planes.items():
        np.testing.assert_array_equal(tile.plane(name)[0], (mask.astype(int) >> bit) & 1)


def test_the_real_hsc_exposure_lies_in_its_detector_and_on_the_sky(data: Path) -> None:
    folder = data / "images" / "lsst_fits_formats"
    found = geometry(folder, exposure("HSC-0908120-056-small.fits", unit="count", zero_point=27.0))
    assert found.origin == (100, 100) and found.shape == (200, 200)
    stored = fits.getheader(folder / "HSC-0908120-056-small.fits", 1)
    ra, dec = WCS(stored).all_pix2world(10, 20, 0)  # FK5 of J2000: within 0.03 arcsec of ICRS
    assert np.hypot(*(np.array(found.wcs.all_pix2world(10, 20, 0)) - [ra, dec])) * 3600 < 0.04
    assert found.wcs.wcs.radesys == "ICRS"


def test_a_photometric_calibration_in_the_archive_gives_the_unit(data: Path) -> None:
    tile = read(data / "images" / "lsst_fits_formats", exposure("exposure-version-2.fits"), ["i"])
    np.testing.assert_array_equal(tile.pixels[0], np.arange(100).reshape(10, 10) * 1e6)  # 1e6 nJy per count


def test_counts_of_unknown_flux_are_refused(data: Path) -> None:
    with pytest.raises(
        ImageError, match=r"HSC-0908120-056-small.fits\[1\]: expected the unit of the pixels.*zero_point"
    ):
        geometry(data / "images" / "lsst_fits_formats", exposure("HSC-0908120-056-small.fits"))


# Exposures made here


def test_extensions_are_found_by_name_in_any_order_and_compressed(tmp_path: Path) -> None:
    write_exposure(
        tmp_path / "g.fits", order=("VARIANCE", "IMAGE", "MASK"), compression_type="RICE_1", quantize_level=64
    )
    tile = read(tmp_path, exposure())
    np.testing.assert_allclose(tile.pixels[0], noise(), atol=0.05)
    np.testing.assert_allclose(tile.inverse_variance, 0.25, rtol=1e-6)
    assert np.argwhere(tile.plane("SAT")).tolist() == [[0, 3, 4]]


def test_the_three_are_taken_in_order_where_nothing_names_them(tmp_path: Path) -> None:
    write_exposure(tmp_path / "g.fits", named=False)
    tile = read(tmp_path, exposure())
    np.testing.assert_array_equal(tile.pixels[0], noise())
    assert np.argwhere(tile.plane("SAT")).tolist() == [[0, 3, 4]] and tile.noise_known


def test_an_exposure_without_variance_has_unknown_noise(tmp_path: Path) -> None:
    write_exposure(tmp_path / "g.fits", order=("IMAGE",))
    tile = read(tmp_path, exposure())
    assert not tile.noise_known and tile.planes == {} and not tile.mask.any()


def test_the_origin_is_read_from_ltv_where_there_is_no_linear_wcs(tmp_path: Path) -> None:
    write_exposure(tmp_path / "g.fits", LTV1=-3000, LTV2=-6000.0)
    assert geometry(tmp_path, exposure()).origin == (3000, 6000)


def test_patches_of_a_tract_differ_by_whole_pixels(tmp_path: Path) -> None:
    """A band whose file reaches further is shifted, not interpolated."""
    write_exposure(tmp_path / "i.fits")
    write_exposure(tmp_path / "g.fits", wcs=tan_wcs(shift=(5, -3)))
    tile = read(tmp_path, exposure(), ["g", "i"])
    assert tile.resampled == ()
    np.testing.assert_array_equal(tile.pixels[0, 3:, :-5], noise()[:-3, 5:])


def test_a_file_without_an_image_is_refused(tmp_path: Path) -> None:
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(noise(), name="MASK")]).writeto(tmp_path / "g.fits")
    with pytest.raises(ImageError, match=r"an extension IMAGE, found 0 \(empty\), 1 'MASK' \(image 24x30\)"):
        geometry(tmp_path, exposure())


# Cell coadds


def cells(**keys: Any) -> Any:
    return image_settings("cells", unit=None, **keys)


def test_a_cell_coadd_gives_planes_origin_inner_region_and_psf(tmp_path: Path) -> None:
    write_cells(tmp_path / "i.fits", band="i")
    tile = read(tmp_path, cells(), ["i"])
    np.testing.assert_array_equal(tile.pixels[0], noise())
    assert tile.planes == {"NO_DATA": 0, "INTERPOLATED": 1, "SATURATED": 3}
    assert np.argwhere(tile.having("saturated")).tolist() == [[0, 3, 4]] and tile.noise_known
    assert tile.metadata["origin"] == (6000, 3000) and tile.metadata["inner"] == (2, 3, 28, 21)
    assert tile.metadata["bands"]["i"] | {"tract": 5063, "patch": 4} == tile.metadata["bands"]["i"]
    assert tile.psf["i"].fwhm_px == pytest.approx(2.3548 * 2, rel=0.01)
    found = geometry(tmp_path, cells(), ["i"])
    assert (found.origin, found.inner) == ((6000, 3000), (2, 3, 28, 21))


def test_a_cell_coadd_of_another_band_than_its_name_says_is_refused(tmp_path: Path) -> None:
    write_cells(tmp_path / "g.fits", band="i")
    with pytest.raises(ImageError, match=r"g.fits: expected band 'g', found 'i'; correct the pattern"):
        geometry(tmp_path, cells())


def test_a_declared_psf_goes_before_that_of_the_cells(tmp_path: Path) -> None:
    write_cells(tmp_path / "i.fits", band="i", psf=False)
    assert read(tmp_path, cells(psf_fwhm_arcsec=0.7), ["i"]).psf["i"].fwhm_px == pytest.approx(3.5)


def test_files_of_lsst_images_itself_are_read(tmp_path: Path) -> None:
    python = os.environ.get("SKYMILL_LSST_IMAGES")
    if python is None:
        pytest.skip("set SKYMILL_LSST_IMAGES to a Python (3.12 or later) that has the package lsst-images")
    subprocess.run([python, WRITER, tmp_path], check=True, timeout=120)
    tile = read(tmp_path, cells(image={"file": "{tract}_{band}.fits"}), ["g", "i"])
    truth = np.load(tmp_path / "truth.npz")
    np.testing.assert_array_equal(tile.pixels, truth["pixels"])
    np.testing.assert_allclose(tile.inverse_variance[:, 1:], 0.01)
    assert tile.having("saturated").sum() == 2 and tile.plane("SATURATED")[:, 5, 7].all()
    assert {"NO_DATA", "INTERPOLATED", "COSMIC_RAY", "SATURATED", "DETECTION_EDGE", "INEXACT_PSF"} < set(tile.planes)
    assert tile.metadata["inner"] == (10, 10, 140, 90) and tile.metadata["bands"]["g"]["tract"] == 5063
    np.testing.assert_allclose(tile.wcs.all_pix2world([[0, 0]], 0), truth["corner"], rtol=0, atol=1e-9)
    assert tile.psf["i"].image.shape == (25, 25) and tile.psf["i"].fwhm_px == pytest.approx(2.3548 * 2, rel=0.1)
