"""Maps of depth and seeing come out the same whatever file they stand in, and a wrong file is refused by name."""

from __future__ import annotations

import healsparse
import hpgeom
import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits

from skymill.config.survey import SkyMap
from skymill.sky import order29
from skymill.survey import TableError
from skymill.survey.sky_maps import maps_digest, read_map

NSIDE = 64
UNSEEN = hpgeom.UNSEEN


def depth_at(ra, dec):
    """A smooth sky: what every map below is a sample of."""
    return 26.0 + 0.5 * np.sin(np.radians(ra)) * np.cos(np.radians(dec)) + 0.3 * np.sin(np.radians(dec))


def sampled(*, nest: bool, galactic: bool, nside: int = NSIDE) -> np.ndarray:
    """The sky at the centres of all pixels, by another library than the one under test."""
    longitude, latitude = hpgeom.pixel_to_angle(nside, np.arange(12 * nside**2), nest=nest, lonlat=True)
    if galactic:
        place = SkyCoord(longitude, latitude, unit="deg", frame="galactic").icrs
        longitude, latitude = place.ra.deg, place.dec.deg
    return depth_at(longitude, latitude)


def write(path, values, *, pixels=None, shape=(), unit="mag", name="DEPTH", **cards):
    """A HEALPix table: of all pixels, or of some with their numbers."""
    columns = [] if pixels is None else [fits.Column("PIXEL", "K", array=pixels)]
    values = np.asarray(values, dtype=np.float32).reshape(-1, *shape)
    columns.append(fits.Column(name, f"{int(np.prod(shape, dtype=int))}E", unit=unit or None, array=values))
    table = fits.BinTableHDU.from_columns(columns)
    cards = {"PIXTYPE": "HEALPIX", "NSIDE": NSIDE, "ORDERING": "NESTED", "COORDSYS": "C"} | cards
    table.header.update({key: value for key, value in cards.items() if value is not None})
    table.writeto(path)
    return SkyMap(path=str(path), unit="mag")


def some_positions(n=2000):
    rng = np.random.default_rng(1)
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


@pytest.mark.parametrize("galactic", [False, True])
@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("nest", [False, True])
def test_every_kind_of_table_gives_the_sky_it_was_made_of(tmp_path, nest, partial, galactic, monkeypatch):
    monkeypatch.setattr("skymill.survey.sky_maps.BLOCK_PIXELS", 20_000)
    values = sampled(nest=nest, galactic=galactic)
    cards = {"ORDERING": "NESTED" if nest else "RING", "COORDSYS": "G" if galactic else "C"}
    pixels = np.random.default_rng(0).permutation(len(values)) if partial else None
    shape = () if partial else (1024,)  # as healpy writes them
    settings = write(
        tmp_path / "depth.fits", values[pixels] if partial else values, pixels=pixels, shape=shape, **cards
    )
    read = read_map("depth_i", settings)
    ra, dec = some_positions()
    assert read.order == 6
    error = read.at(order29(ra, dec)) - depth_at(ra, dec)
    assert np.abs(error).max() < 0.012  # half a pixel times the steepest slope, 0.6 mag in 57 degrees


def test_a_map_of_part_of_the_sky_has_no_value_elsewhere(tmp_path):
    values = sampled(nest=True, galactic=False)
    north = np.arange(4 * NSIDE**2)  # the four base pixels around the pole
    gone = north[:100]
    values[gone] = UNSEEN
    read = read_map("depth_i", write(tmp_path / "depth.fits", values[north], pixels=north))
    ra, dec = some_positions()
    inside = np.isin(hpgeom.angle_to_pixel(NSIDE, ra, dec, lonlat=True), north[100:])
    assert (np.isfinite(read.at(order29(ra, dec))) == inside).all()


def test_a_fine_map_is_averaged_over_the_pixels_that_have_a_value(tmp_path):
    rng = np.random.default_rng(2)
    nside = 2048
    children = 1000 * 16 + np.arange(16)  # of one pixel of order 9
    values = rng.uniform(24, 27, 16).astype(np.float32)
    values[[3, 7]] = UNSEEN, np.nan
    read = read_map("depth_i", write(tmp_path / "depth.fits", values, pixels=children, NSIDE=nside))
    known = np.delete(values, [3, 7]).astype(np.float64)
    assert (read.order, read.pixels.tolist(), read.weights.tolist()) == (9, [1000], [14.0])
    assert read.values[0] == pytest.approx(known.mean(), abs=1e-6)


@pytest.mark.parametrize("form", ["fits", "parquet"])
@pytest.mark.parametrize("nside", [64, 2048])
def test_healsparse_gives_the_means_of_its_pixels(tmp_path, form, nside, monkeypatch):
    monkeypatch.setattr("skymill.survey.sky_maps.BLOCK_PIXELS", 3 * (nside // 32) ** 2)  # three at once
    pixels = np.unique(np.random.default_rng(3).integers(0, 12 * 64**2, 40))[:, None] * (nside // 64) ** 2
    pixels = (pixels + np.arange(min((nside // 64) ** 2, 600))).ravel()
    made = healsparse.HealSparseMap.make_empty(32, nside, np.float32)
    ra, dec = hpgeom.pixel_to_angle(nside, pixels, lonlat=True)
    made[pixels] = depth_at(ra, dec).astype(np.float32)
    path = tmp_path / f"depth.{form}"
    made.write(str(path), format=form)
    read = read_map("depth_i", SkyMap(path=str(path), unit="mag"))
    order = min(nside.bit_length() - 1, 9)
    coarse = pixels >> 2 * (nside.bit_length() - 1 - order)
    assert read.pixels.tolist() == np.unique(coarse).tolist()
    expected = [depth_at(ra[coarse == pixel], dec[coarse == pixel]).mean() for pixel in read.pixels]
    assert read.values == pytest.approx(np.array(expected), abs=1e-5)
    assert read.weights.sum() == len(pixels)


@pytest.mark.parametrize("name", ["skymap.fits", "skymap.2.fits"])
def test_the_map_of_a_hats_catalogue_counts_its_rows(data, name):
    folder = data / "catalogues" / "hats_samples" / "hats" / "small_sky_source"
    read = read_map("sources", SkyMap(path=str(folder / name), unit=""))
    rows = pq.read_table(folder / "dataset", columns=["source_ra", "source_dec"])
    nside = 1 << read.order
    pixels = hpgeom.angle_to_pixel(nside, rows["source_ra"].to_numpy(), rows["source_dec"].to_numpy(), lonlat=True)
    counts = np.bincount(pixels, minlength=12 * nside**2)
    assert read.values.sum() == len(rows) == 17_161
    assert read.values.tolist() == counts[read.pixels].tolist()


@pytest.mark.parametrize("dtype", [bool, [("a", "f4"), ("b", "f4")]])
def test_a_healsparse_map_of_no_numbers_is_refused(tmp_path, dtype):
    primary = {} if dtype is bool else {"primary": "a"}
    made = healsparse.HealSparseMap.make_empty(32, 64, dtype, **primary)
    made[np.arange(5)] = np.ones(5, dtype=bool) if dtype is bool else np.zeros(5, dtype=dtype)
    made.write(str(tmp_path / "mask.hsp"))
    with pytest.raises(TableError, match=r"mask.hsp: expected a HealSparse map of numbers"):
        read_map("mask", SkyMap(path=str(tmp_path / "mask.hsp"), unit=""))


def test_seeing_is_given_in_arcsec(tmp_path):
    degrees = np.full(12 * NSIDE**2, 0.7 / 3600)
    settings = write(tmp_path / "seeing.fits", degrees, unit="deg")
    read = read_map("seeing_i", settings.model_copy(update={"unit": "deg"}))
    assert read.values == pytest.approx(np.full(12 * NSIDE**2, 0.7), rel=1e-6)


WRONG = {
    "no ORDERING in the header; write maps.depth_i.ordering": {"ORDERING": None},
    "expected ORDERING 'RING' or 'NESTED', found 'NUNIQ'": {"ORDERING": "NUNIQ"},
    "no COORDSYS in the header; write maps.depth_i.frame": {"COORDSYS": None},
    "expected COORDSYS C or G, found 'E'": {"COORDSYS": "E"},
    "expected NSIDE to be a power of two, found 63": {"NSIDE": 63},
    "expected 196,608 values in 'DEPTH', as NSIDE 128 has pixels, found 49,152": {"NSIDE": 128},
    "its values are in 'nJy', maps.depth_i.unit says 'mag'": {"unit": "nJy"},
    "astropy does not know the unit 'sigma5'": {"unit": "sigma5"},
    "expected a HEALPix table or HealSparse in the first extension, found PIXTYPE 'OTHER'": {
        "PIXTYPE": "OTHER",
        "NSIDE": None,
    },
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_file_is_refused_by_name(tmp_path, message):
    settings = write(tmp_path / "depth.fits", sampled(nest=True, galactic=False), **WRONG[message])
    with pytest.raises(TableError, match=f"depth.fits: {message}"):
        read_map("depth_i", settings)


def test_values_that_are_no_depth_are_refused(tmp_path):
    settings = write(tmp_path / "depth.fits", np.full(12 * NSIDE**2, 2000.0), unit="")
    with pytest.raises(TableError, match=r"median of maps.depth_i is 2000 mag, expected 10 to 35"):
        read_map("depth_i", settings)
    assert read_map("visits", settings).values[0] == 2000


def test_a_pixel_number_beyond_the_sky_is_refused(tmp_path):
    settings = write(tmp_path / "depth.fits", [25.0], pixels=[12 * NSIDE**2])
    with pytest.raises(TableError, match="pixel 49152 is none of NSIDE 64"):
        read_map("depth_i", settings)


def test_a_header_and_a_key_that_contradict_each_other_are_refused(tmp_path):
    settings = write(tmp_path / "depth.fits", sampled(nest=True, galactic=False))
    with pytest.raises(TableError, match=r"says NESTED, maps.depth_i.ordering says RING"):
        read_map("depth_i", settings.model_copy(update={"ordering": "RING"}))


def test_what_the_header_does_not_say_is_taken_from_the_key(tmp_path):
    settings = write(tmp_path / "depth.fits", sampled(nest=False, galactic=True), ORDERING=None, COORDSYS=None)
    read = read_map("depth_i", settings.model_copy(update={"ordering": "RING", "frame": "galactic"}))
    ra, dec = some_positions()
    assert np.abs(read.at(order29(ra, dec)) - depth_at(ra, dec)).max() < 0.012


def test_a_table_of_several_columns_needs_one_named(tmp_path):
    path = tmp_path / "maps.fits"
    columns = [fits.Column(name, "E", array=np.full(12, value)) for name, value in (("A", 24.0), ("B", 25.0))]
    table = fits.BinTableHDU.from_columns(columns)
    table.header.update({"PIXTYPE": "HEALPIX", "NSIDE": 1, "ORDERING": "RING", "COORDSYS": "C"})
    table.writeto(path)
    with pytest.raises(TableError, match=r"maps.depth_i.column is none; write one of A, B"):
        read_map("depth_i", SkyMap(path=str(path), unit="mag"))
    assert read_map("depth_i", SkyMap(path=str(path), unit="mag", column="B")).values.tolist() == [25.0] * 12


@pytest.mark.parametrize("content", [None, b"no map", b""])
def test_what_is_no_map_at_all_is_refused(tmp_path, content):
    path = tmp_path / "depth.fits"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TableError, match=r"depth.fits: no (such file|FITS file)"):
        read_map("depth_i", SkyMap(path=str(path), unit="mag"))


def test_the_digest_follows_bytes_and_settings_but_not_names_of_files(tmp_path):
    settings = write(tmp_path / "depth.fits", sampled(nest=True, galactic=False))
    first = maps_digest({"depth_i": settings}, None)
    moved = (tmp_path / "depth.fits").rename(tmp_path / "elsewhere.fits")
    there = settings.model_copy(update={"path": str(moved)})
    assert maps_digest({"depth_i": there}, None) == first
    assert maps_digest({"depth_i": there.model_copy(update={"frame": "icrs"})}, None) != first
    moved.write_bytes(moved.read_bytes() + b" ")
    assert maps_digest({"depth_i": there}, None) != first
