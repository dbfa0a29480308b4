"""PSF models of PSFEx and SDSS: known polynomials, other readers' answers, real stars, and what is refused."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import galsim.des
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from image_tiles import header, image_settings, noise, read, tan_wcs, write_exposure, write_fits

from skymill.features.measuring.psf import profiles
from skymill.survey.images.files import list_tiles, tile_digest
from skymill.survey.images.fits_files import FitsFile
from skymill.survey.images.psf_models import model_image, model_table
from skymill.survey.images.tile import ImageError, Psf, TilePixels

LINEAR = {"POLNAXIS": 2, "POLNGRP": 1, "POLGRP1": 1, "POLGRP2": 1, "POLNAME1": "X_IMAGE", "POLNAME2": "Y_IMAGE",
          "POLZERO1": 100.0, "POLZERO2": 200.0, "POLSCAL1": 50.0, "POLSCAL2": 400.0, "POLDEG1": 1}  # fmt: skip
PLACES = np.array([[10.0, 20.0], [30.0, 60.0]])
"""Rows and columns."""


def gaussian(size: int = 25, sigma: float = 2.0) -> np.ndarray:
    offset = np.arange(size) - size // 2
    return np.exp(-(offset[:, None] ** 2 + offset**2) / 2 / sigma**2)


def psfex_table(masks: np.ndarray, **cards: Any) -> fits.BinTableHDU:
    """A model as PSFEx writes it; None takes a card out."""
    column = fits.Column("PSF_MASK", f"{masks.size}E", dim=str(masks.shape[::-1]), array=masks[None])
    table = fits.BinTableHDU.from_columns([column], name="PSF_DATA")
    axes = {"PSFNAXIS": 3, **{f"PSFAXIS{3 - axis}": length for axis, length in enumerate(masks.shape)}}
    shown = {"POLNAXIS": 0, "PSF_SAMP": 1.0, **axes, **cards}
    table.header.update({card: value for card, value in shown.items() if value is not None})
    return table


def write_psfex(path: Path, masks: np.ndarray, **cards: Any) -> Path:
    fits.HDUList([fits.PrimaryHDU(), psfex_table(masks, **cards)]).writeto(path)
    return path


def evaluated(path: Path, places: np.ndarray = PLACES, *, hdu: str | int | None = None, band: str = "g") -> np.ndarray:
    """What a model file gives, of sum 1."""
    file = FitsFile(path)
    unit = model_table(file, hdu, band)
    assert unit is not None
    image = model_image(file, unit, places)
    return image / image.sum()


# PSFEx


def test_a_constant_psf_is_its_image(tmp_path: Path) -> None:
    image = evaluated(write_psfex(tmp_path / "a.psf", gaussian()[None]))
    np.testing.assert_allclose(image, gaussian() / gaussian().sum(), atol=1e-7)


@pytest.mark.parametrize("turned", [False, True])
def test_a_linear_psf_is_that_of_the_mean_place(tmp_path: Path, turned: bool) -> None:
    masks = np.stack([gaussian(sigma=sigma) for sigma in (2.0, 3.0, 1.5)])
    cards = LINEAR
    if turned:
        swap = {**LINEAR, **{f"POL{each}1": LINEAR[f"POL{each}2"] for each in ("NAME", "ZERO", "SCAL")}}
        cards = swap | {f"POL{each}2": LINEAR[f"POL{each}1"] for each in ("NAME", "ZERO", "SCAL")}
    image = evaluated(write_psfex(tmp_path / "a.psf", masks[[0, 2, 1]] if turned else masks, **cards))
    expected = masks[0] + (41.0 - 100) / 50 * masks[1] + (21.0 - 200) / 400 * masks[2]  # pixels are counted from 1
    np.testing.assert_allclose(image, expected / expected.sum(), atol=1e-6)


@pytest.mark.parametrize("step", [1.0, 0.5, 0.7, 1.3])
def test_a_quadratic_psf_is_the_sum_of_its_terms_and_galsim_s(tmp_path: Path, step: float) -> None:
    """Steps that are no pixels are interpolated, less well by galsim's Lanczos windows."""
    widths, shares = (2.2, 2.3, 2.5, 2.8, 3.2, 3.7), (1, 0.1, 0.1, 0.1, 0.1, 0.1)
    masks = np.stack([share * gaussian(41, width / step) for share, width in zip(shares, widths)])
    path = write_psfex(tmp_path / "a.psf", masks, **{**LINEAR, "POLDEG1": 2, "PSF_SAMP": step})
    image = evaluated(path, np.array([[80.0, 60.0]]))
    x, y = (61.0 - 100) / 50, (81.0 - 200) / 400
    terms = np.multiply(shares, (1, x, x**2, y, x * y, y**2))
    exact = sum(term * gaussian(len(image), width) for term, width in zip(terms, widths))
    np.testing.assert_allclose(image, exact / exact.sum(), rtol=0, atol=2e-3 * image.max())
    psf = galsim.des.DES_PSFEx(str(path)).getPSF(galsim.PositionD(61.0, 81.0))
    theirs = psf.drawImage(nx=len(image), ny=len(image), scale=1.0, method="no_pixel").array
    np.testing.assert_allclose(image, theirs / theirs.sum(), rtol=0, atol=5e-3 * image.max())


@pytest.mark.parametrize(("size", "step"), [(25, 1.0), (25, 0.7), (24, 1.0), (30, 1.3), (51, 0.45)])
def test_a_tile_s_psf_is_odd_centred_and_of_sum_1(tmp_path: Path, size: int, step: float) -> None:
    write_fits(tmp_path / "g.fits", noise())
    write_psfex(tmp_path / "g.psf", 3 * gaussian(size, 1.7 / step)[None], PSF_SAMP=step)
    psf = read(tmp_path, image_settings(psf={"file": "{band}.psf"})).psf["g"]
    assert psf.image is not None and len(psf.image) % 2 == 1 and psf.image.sum() == pytest.approx(1, abs=1e-6)
    assert psf.fwhm_px == pytest.approx(2.3548 * 1.7, rel=0.02)
    for axis in (0, 1):
        offset = np.arange(len(psf.image)) - len(psf.image) // 2
        assert abs(psf.image.sum(axis=axis) @ offset) < 0.01


def test_the_real_models_of_decam_are_galsim_s(data: Path) -> None:
    """The Legacy Surveys keep the cards as columns; galsim wants them in the header."""
    paths = sorted((data / "images" / "decam_legacypipe").glob("**/*-psfex.fits"))
    assert len(paths) == 11
    for path in paths:
        with fits.open(path) as stored:
            table = stored[1]
            for name in table.columns.names:
                if name[:3] in ("pol", "psf") and len(name) <= 8 and name != "psf_mask":
                    table.header[name.upper()] = table.data[name][0]
            theirs = galsim.des.DES_PSFEx(table).getPSFArray(galsim.PositionD(51.0, 31.0))
            fwhm = float(table.data["psf_fwhm"][0])  # twice the half-light radius, which wings widen
        image = evaluated(path, np.array([[30.0, 50.0]]))
        np.testing.assert_allclose(image, theirs / theirs.sum(), rtol=0, atol=1e-6 * image.max())
        place = np.arange(63) - 31
        window = image * gaussian(63, 2.0)
        assert abs(window.sum(axis=0) @ place / window.sum()) < 0.03
        assert 0.7 * fwhm < 2 * np.sqrt((image > image.max() / 2).sum() / np.pi) < fwhm


def test_exposures_may_have_a_model_beside_them(tmp_path: Path) -> None:
    write_exposure(tmp_path / "g.fits")
    write_psfex(tmp_path / "g.psf", gaussian(25, 1.5)[None])
    tile = read(tmp_path, image_settings("exposure", unit=None, psf={"file": "{band}.psf"}))
    assert tile.psf["g"].fwhm_px == pytest.approx(2.3548 * 1.5, rel=0.02)


def test_the_model_of_a_band_is_taken_where_the_tile_is_on_its_own_pixels(tmp_path: Path) -> None:
    shape, wide = (24, 30), (24, 90)
    write_fits(tmp_path / "i.fits", noise(shape))
    write_fits(tmp_path / "g.fits", noise(wide), header(tan_wcs(wide, shift=(-30, 0))))  # column 0 of i is 0 of g
    masks = np.stack([gaussian(sigma=2.0), gaussian(sigma=3.0), 0 * gaussian()])
    cards = {**LINEAR, "POLZERO1": 1.0, "POLSCAL1": 30.0, "POLZERO2": 0.0}
    for band in "gi":
        write_psfex(tmp_path / f"{band}.psf", masks, **cards)
    tile = read(tmp_path, image_settings(psf={"file": "{band}.psf"}), ["g", "i"])
    assert tile.resampled == ()
    np.testing.assert_allclose(tile.psf["g"].image, tile.psf["i"].image, atol=1e-6)
    expected = masks[0] + 15 / 30 * masks[1]
    np.testing.assert_allclose(tile.psf["g"].image, expected / expected.sum(), atol=1e-4)


# SDSS


@pytest.fixture(scope="module")
def folder(data: Path) -> Path:
    return data / "images" / "sdss_stripe82_94_1_12"


@pytest.fixture(scope="module")
def sdss_r(folder: Path) -> TilePixels:
    settings = image_settings(
        image={"file": "frame-{band}-{tile}.fits.bz2"}, unit=None, psf={"file": "psField-{tile}.fit"}
    )
    return read(folder, settings, ["r"])


@pytest.mark.parametrize("band", "ugriz")
def test_a_real_psf_of_sdss_is_the_sum_of_its_images(folder: Path, band: str) -> None:
    """Within 3 arcsec, term by term; all of it by the profile that SDSS measured."""
    path = folder / "psField-000094-1-0012.fit"
    image = evaluated(path, np.array([[400.0, 1500.0]]), band=band)
    expected = np.zeros((51, 51))
    number = "ugriz".index(band)
    with fits.open(path) as stored:
        for row in stored[number + 1].data:
            powers = product(range(row["nrow_b"]), range(row["ncol_b"]))
            weight = sum(row["c"][i, j] * 0.4**i * 1.5**j for i, j in powers)
            expected += weight * row["RROWS"].reshape(51, 51)
        brightness = stored[6].data["prof_mean"][0].reshape(5, 15)[number]
    offset = np.arange(51) - 25
    radius = np.hypot(offset[:, None], offset)
    core = radius <= 7.5
    np.testing.assert_allclose(image[core] / image[core].sum(), expected[core] / expected[core].sum(), atol=1e-6)
    edges = np.array([0, 0.564, 1.693, 2.585, 4.406, 7.506, 11.576, 18.584])  # px, of the rings of PHOTO's profiles
    light = np.cumsum(brightness[:7] * np.diff(edges**2))
    assert image[core].sum() == pytest.approx(light[4] / light[6], abs=0.012)


def test_bright_stars_leave_less_than_half_of_what_a_gaussian_leaves(folder: Path, sdss_r: TilePixels) -> None:
    photo = Table.read(folder / "photoObj-000094-1-0012.fits.gz")
    x, y, flux = photo["COLC"][:, 2] - 0.5, photo["ROWC"][:, 2] - 0.5, photo["PSFFLUX"][:, 2]
    apart = np.hypot(x[:, None] - x, y[:, None] - y)
    lone = ~((apart > 1.5) & (apart < 20) & (flux > 0.02 * flux[:, None])).any(axis=1)
    star = lone & (photo["OBJC_TYPE"] == 6) & (flux > 100) & (flux < 1000)  # r of 15 to 17.5: none is saturated
    star &= (x > 20) & (x < 2027) & (y > 20) & (y < 1468)
    column, row = np.rint(x[star]).astype(int), np.rint(y[star]).astype(int)
    assert star.sum() > 40
    stamps = np.stack([sdss_r.pixels[0, i - 8 : i + 9, j - 8 : j + 9] for i, j in zip(row, column)])
    model = sdss_r.psf["r"]
    left = {}
    for name, psf in (("model", model), ("gaussian", Psf(model.fwhm_px))):
        shapes = profiles(psf, np.asarray(x[star] - column), np.asarray(y[star] - row), 8)
        fitted = (stamps * shapes).sum(axis=(1, 2)) / np.square(shapes).sum(axis=(1, 2))
        residual = stamps - fitted[:, None, None] * shapes
        left[name] = np.median(np.abs(residual).sum(axis=(1, 2)) / stamps.sum(axis=(1, 2)))
    assert left["model"] < 0.5 * left["gaussian"], left


def test_the_extensions_of_sdss_are_those_of_filters(tmp_path: Path, folder: Path) -> None:
    with fits.open(folder / "psField-000094-1-0012.fit") as stored:
        wanted = evaluated(folder / "psField-000094-1-0012.fit", band="r")
        stored[0].header["FILTERS"] = "r i u z g"
        stored.writeto(tmp_path / "a.fit")
    assert evaluated(tmp_path / "a.fit", band="u").max() == pytest.approx(wanted.max(), rel=0.02)
    with pytest.raises(ImageError, match="expected the PSF of band 'y', found those of r, i, u, z, g; correct band_na"):
        evaluated(tmp_path / "a.fit", band="y")
    with pytest.raises(
        ImageError, match="'u' in extension 3, as the order of FILTERS, r i u z g, has it, found `hdu` 1"
    ):
        evaluated(tmp_path / "a.fit", band="u", hdu=1)


def test_a_psfield_file_without_its_field_or_a_band_is_refused(tmp_path: Path, folder: Path) -> None:
    with fits.open(folder / "psField-000094-1-0012.fit") as stored:
        fits.HDUList(list(stored[:6])).writeto(tmp_path / "a.fit")
        fits.HDUList(list(stored[:2])).writeto(tmp_path / "b.fit")
    with pytest.raises(ImageError, match=r"a.fit: expected an extension 6, found 0 .*fetch the file again"):
        evaluated(tmp_path / "a.fit", band="r")
    with pytest.raises(ImageError, match=r"b.fit: expected an extension 3, found 0 .*fetch the file again"):
        evaluated(tmp_path / "b.fit", band="r")


# What is refused

FLAT = np.stack([gaussian()] * 3)


@pytest.mark.parametrize(
    ("masks", "cards", "message"),
    [
        (FLAT, {"POLDEG1": 2}, "3 images for a polynomial of 6 terms"),
        (FLAT, {"POLDEG1": None}, "Keyword 'POLDEG1' not found"),
        (FLAT, {"POLDEG1": 10**6}, "POLDEG1 = 1000000, not 1 and at most 10"),
        (FLAT, {"POLNAXIS": 3, "POLNAME3": "X_IMAGE"}, "a polynomial in X_IMAGE, Y_IMAGE, X_IMAGE"),
        (FLAT, {"PSFAXIS1": 26}, "cannot reshape"),
        (FLAT, {"PSF_SAMP": 0.0}, "PSF_SAMP = 0, not within 0.05 and 5"),
        (FLAT, {"POLNAME2": "MAG_AUTO"}, "a polynomial in X_IMAGE, MAG_AUTO, where only x and y are known"),
        (FLAT, {"POLNGRP": 2}, "POLNGRP = 2, POLDEG1 = 1, not 1 and at most 10"),
    ],
)
def test_a_table_that_psfex_would_not_write_is_refused(
    tmp_path: Path, masks: np.ndarray, cards: dict[str, Any], message: str
) -> None:
    path = write_psfex(tmp_path / "a.psf", masks, **{**LINEAR, **cards})
    with pytest.raises(ImageError, match=rf"a.psf\[1\]: expected a PSF model as PSFEx writes it.*{message}.*fetch"):
        evaluated(path)


def test_a_model_with_nan_is_refused_with_file_and_band(tmp_path: Path) -> None:
    write_fits(tmp_path / "g.fits", noise())
    write_psfex(tmp_path / "g.psf", np.full((1, 25, 25), np.nan))
    with pytest.raises(ImageError, match=r"g.psf \(PSF of band 'g'\): expected a PSF of finite values"):
        read(tmp_path, image_settings(psf={"file": "{band}.psf"}))


def test_a_file_that_is_no_model_and_no_image_is_refused(tmp_path: Path) -> None:
    fits.BinTableHDU.from_columns([fits.Column("FLUX", "E", array=[1.0])]).writeto(tmp_path / "a.psf")
    message = (
        r"a.psf: expected an image of the PSF, or a table with the column PSF_MASK .*found 0 \(empty\), 1 \(table\)"
    )
    with pytest.raises(ImageError, match=message):
        evaluated(tmp_path / "a.psf")


def test_of_several_detectors_one_is_to_be_named(tmp_path: Path) -> None:
    tables = [psfex_table(gaussian(sigma=sigma)[None]) for sigma in (1.0, 2.0)]
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(tmp_path / "a.psf")
    with pytest.raises(
        ImageError, match="expected the PSF model of one detector, found 2, in the extensions 1, 2; name"
    ):
        evaluated(tmp_path / "a.psf")
    assert evaluated(tmp_path / "a.psf", hdu=2).max() < evaluated(tmp_path / "a.psf", hdu=1).max()


def test_a_new_model_is_a_new_tile(tmp_path: Path) -> None:
    write_fits(tmp_path / "g.fits", noise())
    [tile] = list_tiles(write_psfex(tmp_path / "g.psf", FLAT).parent, image_settings(psf={"file": "{band}.psf"}), ["g"])
    before = tile_digest(tile, tmp_path)
    (tmp_path / "g.psf").unlink()
    write_psfex(tmp_path / "g.psf", 2 * FLAT)
    assert tile_digest(tile, tmp_path) != before
