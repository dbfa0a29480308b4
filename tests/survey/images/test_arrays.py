"""NumPy and Zarr arrays: one image or all bands, described by the settings or by attributes."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from image_tiles import SHAPE, header, image_settings, noise, read, tan_wcs

from skymill.survey.images.files import list_tiles
from skymill.survey.images.layout import read_tile
from skymill.survey.images.tile import ImageError

BANDS = ["g", "r", "i"]
CUBE = noise((3, *SHAPE))
PLACED = {"centre": (150.0, 2.0), "pixel_scale_arcsec": 0.2}


def numpy_settings(file: str, **keys: Any) -> Any:
    return image_settings("numpy", image={"file": file, "hdu": keys.pop("hdu", None)}, **PLACED, **keys)


# NumPy


@pytest.mark.parametrize("dtype", ["<f4", ">f4", ">f8", "<i2", "f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_of_all_bands_in_any_order_of_bytes_and_axes(tmp_path: Path, dtype: str, order: Any) -> None:
    stored = (CUBE * 100).astype(dtype)
    np.save(tmp_path / "field.npy", np.asarray(stored, order=order))
    tile = read(tmp_path, numpy_settings("{tile}.npy"), BANDS)
    np.testing.assert_array_equal(tile.pixels, stored.astype("=f4"))
    assert tile.name == "tile=field" and tile.pixels.dtype.isnative and tile.pixels.flags.c_contiguous
    np.testing.assert_allclose(tile.wcs.all_pix2world([[14.5, 11.5]], 0), [[150, 2]], atol=1e-9)


def test_an_array_a_band(tmp_path: Path) -> None:
    for band, image in zip("gi", CUBE, strict=False):
        np.save(tmp_path / f"a_{band}.npy", image)
    tile = read(tmp_path, numpy_settings("{tile}_{band}.npy"), BANDS)
    np.testing.assert_array_equal(tile.pixels[[0, 2]], CUBE[:2])
    assert np.isnan(tile.pixels[1]).all()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_of_images_weights_masks_and_psfs(tmp_path: Path, save: Any) -> None:
    psf = np.zeros((3, 5, 5))
    psf[:, 2, 2], psf[:, 1:4, 1:4] = 2, 1
    save(tmp_path / "a.npz", peaks=np.zeros((4, 2)), images=CUBE, ivar=CUBE**2, mask=CUBE > 1, psfs=psf)
    parts = {"inverse_variance": "ivar", "mask": "mask", "psf": "psfs"}
    roles = {role: {"file": "{tile}.npz", "hdu": hdu} for role, hdu in parts.items()}
    tile = read(tmp_path, numpy_settings("{tile}.npz", hdu="images", mask_bits={"BAD": 0}, **roles), BANDS)
    np.testing.assert_array_equal(tile.pixels, CUBE)
    np.testing.assert_array_equal(tile.inverse_variance, CUBE**2)
    np.testing.assert_array_equal(tile.having("bad"), CUBE > 1)
    assert tile.noise_known and tile.psf["r"].image.sum() == pytest.approx(1)


def test_real_hsc_blends(data: Path) -> None:
    folder = data / "images" / "lsst_hsc_cosmos_blends"
    file = "{tile}.npz"
    settings = image_settings(
        "numpy", image={"file": file, "hdu": "images"}, inverse_variance={"file": file, "hdu": "weights"},
        psf={"file": file, "hdu": "psfs"}, unit="count", zero_point=27.0, centre=(150.0, 2.0), pixel_scale_arcsec=0.168,
    )  # fmt: skip
    tiles = list_tiles(folder, settings, list("grizy"))
    assert len(tiles) == 30
    for files in tiles[::10]:
        tile = read_tile(files, folder, settings, list("grizy"))
        with np.load(folder / files.paths[0]) as stored:
            np.testing.assert_allclose(tile.pixels, stored["images"] * 57.544, rtol=1e-5)
            np.testing.assert_allclose(tile.inverse_variance, stored["weights"] / 57.544**2, rtol=1e-5)
        assert all(0.4 < psf.fwhm_px * 0.168 < 1.1 for psf in tile.psf.values())


def test_a_real_array_of_six_bands(data: Path) -> None:
    settings = numpy_settings("{tract}_{patch}_{n}_images.npy", unit="count", zero_point=27.0)
    tile = read(data / "images" / "deepdisc_dc2", settings, list("ugrizy"))
    assert tile.name == "tract=3828/patch=2,2/n=12" and tile.pixels.shape == (6, 525, 525) and not tile.noise_known
    mad = np.median(np.abs(tile.pixels[3] - np.median(tile.pixels[3]))) / 57.544
    assert mad == pytest.approx(0.036, rel=0.2)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: np.save(path, np.array([[{"a": 1}] * 4] * 4, dtype=object)), "found object, which is never read"),
        (lambda path: np.save(path, np.zeros((4, 4), dtype=[("a", "f4")])), "numbers, found .*'a'"),
        (lambda path: np.save(path, np.zeros((4, 4), dtype=complex)), "found complex128"),
        (lambda path: path.write_bytes(b"not an array at all"), "expected a NumPy array .*magic string"),
        (lambda path: path.write_bytes(b""), "expected a NumPy array"),
        (lambda path: path.write_bytes(b"PK\3\4 cut off"), "expected a NumPy array .*zip"),
    ],
)  # fmt: skip
def test_what_is_no_array_of_numbers_is_refused(tmp_path: Path, write: Any, message: str) -> None:
    write(tmp_path / "a.npy")
    with pytest.raises(ImageError, match=rf"a.npy: .*{message}"):
        read(tmp_path, numpy_settings("a.npy"))


def cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


@pytest.mark.parametrize("length", [40, 200, -1])
def test_an_array_that_was_cut_off_is_refused(tmp_path: Path, length: int) -> None:
    np.save(tmp_path / "a.npy", CUBE)
    cut(tmp_path / "a.npy", length)
    with pytest.raises(ImageError, match=r"a.npy: expected"):
        read(tmp_path, numpy_settings("a.npy"), BANDS)


def test_an_archive_that_was_cut_off_or_changed_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=CUBE)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ImageError, match=r"a.npz\[images\]: expected a NumPy array .*CRC"):
        read(tmp_path, numpy_settings("a.npz"), BANDS)
    cut(tmp_path / "a.npz", 1000)
    with pytest.raises(ImageError, match=r"a.npz: expected a NumPy array"):
        read(tmp_path, numpy_settings("a.npz"), BANDS)


def npy_header(shape: tuple[int, ...]) -> bytes:
    text = str({"descr": "<f4", "fortran_order": False, "shape": shape}).ljust(117) + "\n"
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode()


def test_a_zip_bomb_is_refused_unread(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", npy_header((4, 4)) + bytes(50_000_000))
    assert (tmp_path / "a.npz").stat().st_size < 100_000
    with pytest.raises(
        ImageError, match=r"a.npz\[images\]: expected 192 bytes, as its header announces, found 50,000,128"
    ):
        read(tmp_path, numpy_settings("a.npz"))


def test_an_array_larger_than_any_tile_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(npy_header((100_000, 100_000)))
    with pytest.raises(ImageError, match=r"expected images of at most 536,870,912 pixels"):
        read(tmp_path, numpy_settings("a.npy"))


@pytest.mark.parametrize(
    ("shape", "bands", "message"),
    [((2, *SHAPE), BANDS, r"one of each of the 3 bands along the first axis, found an array of shape \(2, 24, 30\)"),
     ((30,), BANDS, r"found an array of shape \(30,\)"), ((0, 30), BANDS, r"shape \(0, 30\)")],
)  # fmt: skip
def test_an_array_of_another_shape_is_refused(tmp_path: Path, shape: Any, bands: list[str], message: str) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape))
    with pytest.raises(ImageError, match=message):
        read(tmp_path, numpy_settings("a.npy"), bands)


def test_an_array_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=CUBE, weights=CUBE)
    with pytest.raises(ImageError, match=r"a.npz: expected an array 'image', found images, weights; correct `hdu`"):
        read(tmp_path, numpy_settings("a.npz", hdu="image"), BANDS)


def test_arrays_need_a_place_on_the_sky(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", CUBE)
    with pytest.raises(ImageError, match=r"expected a WCS, found none .*declare pixel_scale_arcsec and centre"):
        read(tmp_path, image_settings("numpy", image={"file": "a.npy"}), BANDS)


# Zarr


def zarr_settings(file: str = "{tile}.zarr", **keys: Any) -> Any:
    return image_settings("zarr", image={"file": file, "hdu": keys.pop("hdu", None)}, **{"unit": None, **keys})


def wcs_text() -> str:
    return str(header(tan_wcs()).tostring(sep="\n"))


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("name", ["a.zarr", "a.zarr.zip"])
def test_a_plain_array_with_its_wcs_and_unit_in_attributes(tmp_path: Path, zarr_format: Any, name: str) -> None:
    store = zarr.storage.ZipStore(tmp_path / name, mode="w") if name.endswith("zip") else tmp_path / name
    keys: Any = {"zarr_format": zarr_format, "attributes": {"wcs": wcs_text(), "unit": "nanomaggy"}}
    zarr.create_array(store, shape=CUBE.shape, chunks=(1, 10, 10), dtype=">f4", **keys)[:] = CUBE
    if name.endswith("zip"):
        store.close()
    tile = read(tmp_path, zarr_settings(name), BANDS)
    np.testing.assert_allclose(tile.pixels, CUBE * 3631.0, rtol=1e-6)
    assert tile.name == "tile=a" and tile.pixels.dtype.isnative
    np.testing.assert_allclose(tile.wcs.all_pix2world(3, 4, 0), tan_wcs().all_pix2world(3, 4, 0), atol=1e-10)


def test_a_group_of_an_array_a_band_with_masks_and_variances(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "a.zarr")
    group.attrs.update({"wcs": dict(header(tan_wcs())), "unit": "nJy"})
    for band, image in zip(BANDS, CUBE, strict=True):
        group.create_array(f"image/{band}", data=image)
        group.create_array(f"variance/{band}", data=image**2)
        mask = group.create_array(f"mask/{band}", data=(image > 1).astype("i4") * 4)
        mask.attrs.update({"flag_masks": [1, 4], "flag_meanings": "BAD SAT"})
    roles = {role: {"file": "{tile}.zarr", "hdu": f"{role}/{{band}}"} for role in ("variance", "mask")}
    tile = read(tmp_path, zarr_settings(hdu="image/{band}", **roles), BANDS)
    np.testing.assert_array_equal(tile.pixels, CUBE)
    np.testing.assert_allclose(tile.inverse_variance, 1 / CUBE**2, rtol=1e-5)
    assert tile.planes == {"BAD": 0, "SAT": 2}
    np.testing.assert_array_equal(tile.having("saturated"), CUBE > 1)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_is_read_at_full_resolution_by_the_labels_of_its_channels(tmp_path: Path, version: str) -> None:
    group = zarr.create_group(tmp_path / "a.ome.zarr", zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", data=CUBE[::-1][None])
    group.create_array("1", data=CUBE[::-1, ::2, ::2][None])
    multiscales = [{"axes": [{"name": name} for name in "tcyx"], "datasets": [{"path": "0"}, {"path": "1"}]}]
    content = {"multiscales": multiscales, "omero": {"channels": [{"label": band} for band in reversed(BANDS)]}}
    group.attrs.update(content if version == "0.4" else {"ome": content})
    tile = read(tmp_path, zarr_settings("{tile}.ome.zarr", unit="nJy", **PLACED), BANDS)
    np.testing.assert_array_equal(tile.pixels, CUBE)


def test_a_store_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(ImageError, match=r"a.zarr: expected a Zarr array or group that can be read"):
        read(tmp_path, zarr_settings(unit="nJy"), BANDS)
    (tmp_path / "b.zarr").write_text("text")
    with pytest.raises(ImageError, match=r"b.zarr: expected a Zarr array or group that can be read"):
        read(tmp_path, zarr_settings("b.zarr", unit="nJy"), BANDS)


def test_a_chunk_that_cannot_be_decoded_is_refused(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=CUBE, chunks=(1, 24, 30))
    chunk = tmp_path / "a.zarr" / "c" / "1" / "0" / "0"
    cut(chunk, 100)
    with pytest.raises(ImageError, match=r"a.zarr: expected a Zarr array"):
        read(tmp_path, zarr_settings(unit="nJy", **PLACED), BANDS)


def test_metadata_that_announce_a_giant_are_refused(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=(200_000, 200_000), chunks=(1000, 1000), dtype="f4")
    with pytest.raises(ImageError, match=r"expected images of at most"):
        read(tmp_path, zarr_settings(unit="nJy", **PLACED))


def test_an_array_that_is_not_in_the_store_is_refused_with_those_that_are(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("image", data=CUBE)
    with pytest.raises(ImageError, match=r"a.zarr: expected an array 'pixels', found image; correct `hdu`"):
        read(tmp_path, zarr_settings(hdu="pixels", unit="nJy", **PLACED), BANDS)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"flag_masks": [1, 3], "flag_meanings": "A B"}, "each mask of one bit"),
        ({"flag_masks": [1], "flag_meanings": "A B"}, "expected as many flag_meanings as flag_masks"),
    ],
)
def test_flags_that_name_no_bits_are_refused(tmp_path: Path, attributes: dict[str, Any], message: str) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=CUBE)
    zarr.create_array(tmp_path / "a.mask.zarr", data=CUBE.astype("i4")).attrs.update(attributes)
    with pytest.raises(ImageError, match=message):
        read(tmp_path, zarr_settings("a.zarr", mask={"file": "a.mask.zarr"}, unit="nJy", **PLACED), BANDS)


def test_a_wcs_attribute_of_another_kind_is_refused(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=CUBE).attrs.update({"wcs": [1, 2]})
    assert json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())["attributes"] == {"wcs": [1, 2]}
    with pytest.raises(ImageError, match=r"expected the attribute wcs to be a FITS header, found list"):
        read(tmp_path, zarr_settings(unit="nJy"), BANDS)
