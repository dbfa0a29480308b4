"""The rendered survey as files."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from skymill.config.images import RenderSettings
from skymill.survey import rendered

SETTINGS = RenderSettings(tiles=(2, 1), tile_px=128, overlap_px=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rendered") / "new"
    written = rendered.write_tiles(SETTINGS, folder)
    assert sorted(written) == sorted(folder.iterdir())
    return folder


@pytest.fixture(scope="module")
def tile():
    return rendered.render_tile(SETTINGS, "x1y0")


def test_pixels_masks_and_variances_come_back_bit_for_bit(folder, tile):
    for k, band in enumerate(tile.bands):
        with fits.open(folder / f"coadd-x1y0-{band}.fits") as hdus:
            assert hdus["IMAGE"].data.astype(np.float32).tobytes() == tile.pixels[k].tobytes()
            assert np.array_equal(hdus["MASK"].data, tile.mask[k])
            assert np.allclose(1 / hdus["VARIANCE"].data, tile.inverse_variance[k], rtol=1e-6)
            assert np.array_equal(hdus["PSF"].data, tile.psf[band].image)
            assert hdus["IMAGE"].header["BUNIT"] == "nJy"
            assert hdus[0].header["FILTER"] == band


def test_planes_are_named_as_in_lsst_files(folder, tile):
    header = fits.getheader(folder / "coadd-x1y0-r.fits", "MASK")
    named = {key.removeprefix("MP_"): value for key, value in header.items() if key.startswith("MP_")}
    assert named == dict(tile.planes)


def test_place_on_sky_and_mosaic_is_in_every_header(folder, tile):
    step = SETTINGS.tile_px - SETTINGS.overlap_px
    for extension in ("IMAGE", "MASK", "VARIANCE"):
        header = fits.getheader(folder / "coadd-x1y0-g.fits", extension)
        assert np.allclose(WCS(header).wcs_pix2world(3, 4, 0), tile.wcs.wcs_pix2world(3, 4, 0), rtol=0, atol=1e-10)
        assert header["LTV1"] == -step
        assert header["CRVAL1A"] == step


def test_images_are_compressed(folder):
    with fits.open(folder / "coadd-x0y0-i.fits", disable_image_compression=True) as hdus:
        assert [hdus[name].header["ZCMPTYPE"] for name in ("IMAGE", "MASK", "VARIANCE")] == ["GZIP_2"] * 3


def test_truth_comes_back_with_its_types(folder):
    table = pq.read_table(folder / "truth-x0y0.parquet")
    expected = rendered.truth(SETTINGS, "x0y0")
    assert table.column_names == list(expected)
    for name, values in expected.items():
        read = table[name].to_numpy(zero_copy_only=False)
        assert np.array_equal(read, values, equal_nan=values.dtype.kind == "f"), name
        assert values.dtype.kind == "U" or read.dtype == values.dtype


def test_settings_name_the_files(folder):
    settings = rendered.image_settings()
    assert settings.layout == "exposure"
    for file in (settings.image.file, settings.psf.file):
        assert (folder / file.format(tile="x0y0", band="z")).is_file()
    assert "STREAK" in settings.planes["bad"]
