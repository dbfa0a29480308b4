"""The point-spread function: its width, and what becomes of it on another grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_tiles import header, image_settings, noise, read, tan_wcs, write_fits
from pydantic import ValidationError

from skymill.survey.images.psf import on_grid, psf_of
from skymill.survey.images.tile import ImageError


def gaussian(size: int = 41, sigma_y: float = 2.0, sigma_x: float | None = None) -> np.ndarray:
    offset = np.arange(size) - size // 2
    sigma_x = sigma_y if sigma_x is None else sigma_x
    return np.exp(-(offset[:, None] ** 2) / 2 / sigma_y**2 - offset**2 / 2 / sigma_x**2)


@pytest.mark.parametrize("sigma", [1.2, 2.0, 4.5])
def test_the_width_of_a_gaussian_and_the_sum_are_right(sigma: float) -> None:
    psf = psf_of(7 * gaussian(sigma_y=sigma).astype(">f8"), "here")
    assert psf.fwhm_px == pytest.approx(2.3548 * sigma, rel=0.02)
    assert psf.image is not None and psf.image.sum() == pytest.approx(1) and psf.image.dtype == np.dtype("=f4")


def test_the_width_of_a_moffat_is_right() -> None:
    offset = np.arange(51) - 25
    moffat = (1 + (offset[:, None] ** 2 + offset**2) / 3.0**2) ** -2.5
    assert psf_of(moffat, "here").fwhm_px == pytest.approx(2 * 3.0 * np.sqrt(2 ** (1 / 2.5) - 1), rel=0.02)


def test_a_psf_turns_and_shrinks_with_its_band() -> None:
    psf = psf_of(gaussian(sigma_y=2.0, sigma_x=4.0), "here")
    turned = on_grid(psf, np.array([[0.0, 1.0], [-1.0, 0.0]]))
    np.testing.assert_allclose(turned.image, psf.image.T, atol=1e-6)
    coarser = on_grid(psf, 2 * np.eye(2))
    assert coarser.image.shape == (21, 21) and coarser.image.sum() == pytest.approx(1)
    assert coarser.fwhm_px == pytest.approx(psf.fwhm_px / 2, rel=0.02)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (gaussian()[:40, :40], "expected the image of a PSF of odd size, k x k, found 40 x 40; cut or pad"),
        (gaussian()[:, :39], "found 41 x 39"),
        (gaussian() * np.nan, "expected a PSF of finite values and positive sum"),
        (np.zeros((5, 5)), "found sum 0"),
        (np.roll(gaussian(), 3, axis=1), "found the peak 3 px off; centre it"),
    ],
)
def test_an_image_that_is_no_psf_is_refused(image: Any, message: str) -> None:
    with pytest.raises(ImageError, match=f"here: .*{message}"):
        psf_of(image, "here")


def test_psfs_come_from_files_or_from_a_declared_width_by_band(tmp_path: Path) -> None:
    for band in "gr":
        write_fits(tmp_path / f"{band}.fits", noise())
        write_fits(tmp_path / f"psf_{band}.fits", gaussian(sigma_y=2.0))
    tile = read(tmp_path, image_settings(psf={"file": "psf_{band}.fits"}), ["g", "r"])
    assert tile.psf["r"].fwhm_px == pytest.approx(4.71, rel=0.02) and tile.psf["r"].image.shape == (41, 41)
    tile = read(tmp_path, image_settings(psf_fwhm_arcsec={"g": 1.0}), ["g", "r"])
    assert set(tile.psf) == {"g"} and tile.psf["g"].fwhm_px == pytest.approx(5) and tile.psf["g"].image is None


def test_the_psf_of_a_band_with_other_pixels_is_brought_to_the_common_ones(tmp_path: Path) -> None:
    write_fits(tmp_path / "i.fits", noise())
    write_fits(tmp_path / "g.fits", noise((60, 60)), header(tan_wcs((60, 60), scale_arcsec=0.1)))
    write_fits(tmp_path / "psf.fits", gaussian(sigma_y=4.0))
    tile = read(tmp_path, image_settings(psf={"file": "psf.fits"}), ["g", "i"])
    assert tile.resampled == ("g",)
    assert tile.psf["g"].fwhm_px == pytest.approx(tile.psf["i"].fwhm_px / 2, rel=0.02)


@pytest.mark.parametrize("width", [0, -0.7, {"g": 0.7, "r": 0}, {"g": float("nan")}])
def test_a_declared_width_of_zero_or_less_is_refused(width: Any) -> None:
    with pytest.raises(ValidationError, match=r"psf_fwhm_arcsec.*\n.*greater than 0"):
        image_settings(psf_fwhm_arcsec=width)
