"""Catalogues of image tiles: sealed, opened, verified."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr
import zarr
from astropy import units
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mapped import NAMES, PIXEL_DEG, SHAPE, wcs_at, write_image_catalogue, write_image_tile
from mocpy import MOC
from skies import Sky, write_catalogue

import skymill
from skymill.store import (
    Accounting,
    AccountingError,
    GroupManifest,
    ImageCatalogue,
    Pool,
    StoreError,
    group_file,
    open_catalogue,
    seal,
    verify,
    verify_version,
)
from skymill.store.coverage import coverage
from skymill.store.document import to_document
from skymill.store.keys import digest, file_sha256, short
from skymill.store.kinds import IMAGES
from skymill.store.manifest import ImageQuarantined
from skymill.store.paths import is_image_name
from skymill.store.pruning import find_unnamed, prune
from skymill.store.report import Report
from skymill.store.tables import check_images, table_digest

N_SOURCES = 3 + 4 + 5


def manifest_of(root: Path) -> GroupManifest:
    return GroupManifest.read(next(root.glob("groups/*/*.json")))


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed catalogue of three image tiles, one more failed, which tests only read."""
    root = tmp_path_factory.mktemp("results") / "catalogues" / "segmentation"
    write_image_catalogue(root)
    failed = ImageQuarantined("tract=9814/patch=7", "f" * 64, "r.fits is cut off")
    manifest = replace(manifest_of(root), quarantined=(failed,))
    manifest.write(group_file(root, manifest.settings, manifest.group))
    seal(root, [manifest], n_in=N_SOURCES)
    return root


@pytest.fixture
def spoilt(sealed: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(sealed, tmp_path / "catalogues" / "segmentation", symlinks=True))


def version_of(root: Path) -> Path:
    return root / "versions" / open_catalogue(root).version


def test_a_version_names_its_image_tiles_and_leads_to_them(sealed):
    folder = version_of(sealed)
    table = pq.read_table(folder / "tiles.parquet")
    assert table["image"].to_pylist() == list(NAMES) and not {"order", "pixel"} & set(table.column_names)
    assert pq.read_table(folder / "quarantine.parquet").to_pylist() == [
        {"image": "tract=9814/patch=7", "key": "f" * 64, "reason": "r.fits is cut off", "n_in": 0}
    ]
    assert not (folder / "partition_info.csv").exists()
    for name in NAMES:
        link = folder / f"{name}.zarr.zip"
        assert str(link.readlink()).startswith("../../../tiles/tract=") and link.is_file()
        assert xr.open_zarr(zarr.storage.ZipStore(link, mode="r"), chunks=None)["labels"].shape == SHAPE
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert manifest["content"]["kind"] == "images" and manifest["skymill_format"] == 2
    assert verify(sealed).ok


def test_a_version_of_the_sky_is_what_it_was(tmp_path):
    """Neither its content nor its format knows of images: an older skymill reads it, under the same name."""
    root = tmp_path / "demo"
    version = seal(root, [write_catalogue(root, Sky.draw(100, seed=1), order=0)])
    manifest = json.loads((root / "versions" / version / "manifest.json").read_bytes())
    assert "kind" not in manifest["content"] and manifest["skymill_format"] == 1
    content = {name: value for name, value in manifest["content"].items() if name != "tables"}
    assert version == short(digest({**content, "tables": manifest["content"]["tables"]}))
    assert pq.read_schema(root / "versions" / version / "tiles.parquet").names[:3] == ["order", "pixel", "key"]


def test_links_lead_to_the_pool_however_many_words_a_name_has(tmp_path):
    names = ("tile=x0y0", "tract=1/patch=2", "run=1/camcol=2/field=3", "a=1/b=2/c=3/d=")
    for number, name in enumerate(names):
        root = tmp_path / str(number)
        write_image_catalogue(root, [name])
        folder = root / "versions" / seal(root, [manifest_of(root)])
        assert (folder / f"{name}.zarr.zip").resolve().is_relative_to(root / "tiles" / name)
        assert verify(root).ok


def test_a_catalogue_opens_by_the_names_of_its_tiles(sealed):
    catalogue = skymill.open_catalogue(sealed)
    assert isinstance(catalogue, ImageCatalogue) and catalogue.kind is IMAGES
    assert list(catalogue.tiles["image"]) == list(NAMES) and len(catalogue) == N_SOURCES
    tile = catalogue.tile(NAMES[1])
    assert tile["labels"].dims == ("y", "x") and tile.sizes["source"] == 4
    where = np.argwhere(tile["labels"].values == int(tile["label"][0]))
    wcs = wcs_at(0.0, 10.0)
    ra, dec = wcs.all_pix2world(where[:, 1], where[:, 0], 0)
    assert np.allclose([ra % 360, dec], [[tile["coord_ra"][0]], [tile["coord_dec"][0]]])
    told = repr(catalogue)
    assert "ImageCatalogue 'segmentation'" in told and "12 sources in 3 tiles" in told
    assert "labels: int32, a map of each tile along y, x" in told and ".tile(name)" in told
    assert catalogue.maps == ("labels", "labels_2")


def test_rows_of_all_tiles_come_together_without_the_maps_of_one(sealed):
    catalogue = open_catalogue(sealed)
    rows = catalogue.to_xarray().compute(scheduler="synchronous")
    assert set(rows.sizes) == {"source", "edge"} and rows.sizes["source"] == N_SOURCES
    expected = np.concatenate([catalogue.tile(name)["objectId"].values for name in NAMES])
    assert np.array_equal(rows["objectId"].values, expected)
    assert rows["edge"].values.tolist() == ["y0", "y1", "x0", "x1"]
    with pytest.raises(KeyError, match=r"expected some of the columns .*found \['labels'\]"):
        catalogue.to_xarray(["labels"])


def test_a_cone_takes_rows_by_position_from_tiles_that_overlap(sealed):
    catalogue = open_catalogue(sealed)
    rows = catalogue.to_xarray(["objectId", "coord_ra", "coord_dec"]).compute(scheduler="synchronous")
    ra, dec = float(rows["coord_ra"][4]), float(rows["coord_dec"][4])
    for radius in (1e-6, 10 * PIXEL_DEG, 60 * PIXEL_DEG, 1.0):
        apart = np.hypot((rows["coord_ra"] - ra + 180) % 360 - 180, 0) * np.cos(np.radians(dec))
        inside = np.hypot(apart, rows["coord_dec"] - dec) <= radius
        assert set(catalogue.cone(ra, dec, radius)["objectId"].values) == set(rows["objectId"].values[inside])
    assert catalogue.cone(*catalogue.centre, radius_deg=1.0).sizes["source"] == N_SOURCES


def test_unknown_tiles_are_named_with_the_nearest(sealed):
    with pytest.raises(KeyError, match=r"found no tract=9814/patch=1 \(did you mean 'tract=9814/patch=0'"):
        open_catalogue(sealed).tile("tract=9814/patch=1")
    with pytest.raises(TypeError, match="positional"):
        open_catalogue(sealed).tile(5, 8123)


def test_a_catalogue_is_read_over_http(sealed, serve):
    here, there = open_catalogue(sealed), open_catalogue(f"{serve(sealed)}/")
    assert there.tile(NAMES[2]).load().identical(here.tile(NAMES[2]).load())
    assert there.cone(0, 10, 1).identical(here.cone(0, 10, 1))


def test_without_a_whole_tile_there_are_no_rows_and_no_maps(tmp_path):
    failed = ImageQuarantined("tile=1", "f" * 64, "empty")
    seal(tmp_path, [GroupManifest(tmp_path.name, "0" * 12, "all", quarantined=(failed,))], n_in=0)
    catalogue = open_catalogue(tmp_path)
    assert isinstance(catalogue, ImageCatalogue) and catalogue.maps == () and catalogue.places == ()
    assert catalogue.to_xarray().sizes["source"] == 0 == catalogue.cone(0, 0, 9)["objectId"].size
    assert not (version_of(tmp_path) / "partition_info.csv").exists() and verify(tmp_path).ok


def test_a_tile_without_a_source_covers_the_sky_all_the_same(tmp_path):
    entry = write_image_tile(Pool(tmp_path), "tile=1", wcs_at(10, 5), n=0)
    seal(tmp_path, [GroupManifest(tmp_path.name, "0" * 12, "all", tiles=(entry,))])
    assert verify(tmp_path).ok and open_catalogue(tmp_path).to_xarray().sizes["source"] == 0
    moc = MOC.load(version_of(tmp_path) / "moc.fits", format="fits")
    assert moc.contains_lonlat([10] * units.deg, [5] * units.deg).all()


@given(ra=st.floats(0, 360), dec=st.floats(-90, 90), turn=st.floats(0, 360), seed=st.integers(0, 99))
@example(ra=0.0, dec=0.0, turn=0.0, seed=0)
@example(ra=120.0, dec=90.0, turn=30.0, seed=1)
@example(ra=0.001, dec=-89.999, turn=77.0, seed=2)
@settings(max_examples=30, deadline=None)
def test_the_coverage_is_that_of_the_pixels(tmp_path_factory, ra, dec, turn, seed):
    """Every pixel is covered, and nothing farther from the image than a cell, wherever it lies and however turned."""
    root, shape = tmp_path_factory.mktemp("moc"), (300, 500)
    wcs = wcs_at(ra, dec, turn_deg=turn, shape=shape)
    moc = coverage([write_image_tile(Pool(root), "tile=1", wcs, n=1, shape=shape)], root)
    random = np.random.default_rng(seed)
    x, y = random.uniform(-0.5, shape[1] - 0.5, 200), random.uniform(-0.5, shape[0] - 0.5, 200)
    assert moc.contains_lonlat(*(wcs.all_pix2world(x, y, 0) * units.deg)).all()
    assert 1 <= moc.sky_fraction * 4 * 180**2 / np.pi / (shape[0] * shape[1] * PIXEL_DEG**2) < 1.1
    margin = 12  # arcsec, of pixels of one; a cell is at most 6 wide
    side = random.integers(0, 4, 200)
    x = np.where(side == 0, -margin, np.where(side == 1, shape[1] + margin, random.uniform(-margin, shape[1], 200)))
    y = np.where(side == 2, -margin, np.where(side == 3, shape[0] + margin, random.uniform(-margin, shape[0], 200)))
    beside = (x <= -margin) | (x >= shape[1] + margin) | (y <= -margin) | (y >= shape[0] + margin)
    assert not moc.contains_lonlat(*(wcs.all_pix2world(x[beside], y[beside], 0) * units.deg)).any()


def test_a_tile_that_does_not_tell_its_outline_is_not_sealed(tmp_path):
    wcs = wcs_at(10, 5)
    wcs.to_header_string = lambda: None
    entry = write_image_tile(Pool(tmp_path), "tile=1", wcs)
    with pytest.raises(StoreError, match=r"expected an image tile with a map .* and cards of its WCS"):
        seal(tmp_path, [GroupManifest(tmp_path.name, "0" * 12, "all", tiles=(entry,))])
    assert not (tmp_path / "current.json").exists() and not list(tmp_path.glob("versions/*"))


def test_sealing_again_gives_the_same_version_and_a_change_another(spoilt):
    first = open_catalogue(spoilt).version
    manifest = manifest_of(spoilt)
    halves = [replace(manifest, group=str(n), tiles=manifest.tiles[n::2], quarantined=()) for n in range(2)]
    halves[0] = replace(halves[0], quarantined=manifest.quarantined)
    assert seal(spoilt, halves[::-1]) == first
    changed = write_image_catalogue(spoilt, contents={NAMES[0]: 1})
    assert [new.key == old.key for new, old in zip(changed, manifest.tiles)] == [False, True, True]
    assert seal(spoilt, [replace(manifest, tiles=tuple(changed))]) != first
    assert verify(spoilt).ok


def test_sealing_refuses_what_does_not_add_up(spoilt):
    manifest = manifest_of(spoilt)
    versions = sorted(spoilt.glob("versions/*"))
    with pytest.raises(AccountingError, match="expected 13 sources, found 12 accounted for"):
        seal(spoilt, [manifest], n_in=13)
    with pytest.raises(StoreError, match="expected each image tile once, found tract=9813/patch=0 in two groups"):
        seal(spoilt, [manifest, replace(manifest, group="other", tiles=manifest.tiles[:1], quarantined=())])
    of_sky = write_catalogue(spoilt, Sky.draw(50, seed=2), order=0)
    with pytest.raises(StoreError, match="expected tiles of the sky or tiles of images, found both"):
        seal(spoilt, [manifest, of_sky])
    lost = replace(manifest.tiles[0], accounting=Accounting(n_in=9, n_ok=3))
    with pytest.raises(AccountingError, match="tile tract=9813/patch=0: expected n_in"):
        seal(spoilt, [replace(manifest, tiles=(lost, *manifest.tiles[1:]))])
    next((spoilt / "tiles" / NAMES[1]).iterdir()).unlink()
    with pytest.raises(StoreError, match=r"1 missing or truncated: .*patch=1.*\(missing\)"):
        seal(spoilt, [manifest])
    assert sorted(spoilt.glob("versions/*")) == versions


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def relink(path: Path) -> None:
    path.unlink()
    path.symlink_to("../../../../outside.zarr.zip")


DAMAGE = {
    "tile flipped": (f"tiles/{NAMES[0]}/*", flip, "corrupt"),
    "tile cut": (f"tiles/{NAMES[0]}/*", lambda path: path.write_bytes(path.read_bytes()[:-9]), "corrupt"),
    "tile gone": (f"tiles/{NAMES[2]}/*", Path.unlink, "missing"),
    "link gone": (f"versions/*/{NAMES[1]}.zarr.zip", Path.unlink, "missing"),
    "link elsewhere": (f"versions/*/{NAMES[1]}.zarr.zip", relink, "wrong"),
    "tiles flipped": ("versions/*/tiles.parquet", flip, "corrupt"),
    "quarantine gone": ("versions/*/quarantine.parquet", Path.unlink, "missing"),
    "moc flipped": ("versions/*/moc.fits", flip, "corrupt"),
    "moc gone": ("versions/*/moc.fits", Path.unlink, "missing"),
    "manifest flipped": ("versions/*/manifest.json", flip, "corrupt"),
    "group flipped": ("groups/*/*.json", flip, "corrupt"),
    "pointer flipped": ("current.json", flip, "corrupt"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_verify_names_every_damage_and_its_mend(spoilt, name):
    pattern, spoil, kind = DAMAGE[name]
    path = next(spoilt.glob(pattern))
    spoil(path)
    problems = [one for one in verify(spoilt.parent).problems if one.path in (path, path.resolve())]
    assert [one.kind for one in problems] == [kind] and problems[0].mend


def test_swapped_tiles_and_leftovers_are_told_apart(spoilt):
    one, other = (next((spoilt / "tiles" / name).iterdir()) for name in NAMES[:2])
    extra = spoilt / "tiles" / "tract=1" / "patch=2" / "aaaaaaaaaaaa.zarr.zip"
    extra.parent.mkdir(parents=True)
    shutil.copy(one, extra)
    assert verify(spoilt).ok and verify(spoilt).extra == [extra]
    shutil.copy(other, one)
    assert [(problem.kind, problem.path) for problem in verify(spoilt).problems] == [("corrupt", one)]


def test_what_nothing_names_goes_and_the_rest_stays_whole(spoilt):
    first = open_catalogue(spoilt).version
    old = next((spoilt / "tiles" / NAMES[0]).iterdir())
    manifest = manifest_of(spoilt)
    changed = replace(manifest, tiles=tuple(write_image_catalogue(spoilt, contents={NAMES[0]: 1})), quarantined=())
    second = seal(spoilt, [changed])
    kept = find_unnamed(spoilt, released={first: ["release DR1"]}, asked=(), before=2e10)
    assert not kept.tiles.deleted and not kept.versions.deleted
    found = find_unnamed(spoilt, released={}, asked=(), before=2e10)
    assert [item.path for item in found.tiles.deleted] == [old] and found.tiles.kept == 3
    prune(found)
    assert not old.exists() and verify(spoilt).ok and open_catalogue(spoilt).version == second


PART = st.tuples(st.text("abXY_0", min_size=1, max_size=4), st.text("abXY09_.,+=-/", max_size=6)).map("=".join)


@given(st.lists(PART, min_size=1, max_size=4), st.text(max_size=30))
@example(["a=1", "b=.."], "")
@example([], "a=1\n")
@example([], "a=1/../../b=2")
@example([], "/a=1")
@example([], "a=1/")
@example([], "a=1//b=2")
@example([], "‮a=1")
def test_names_that_pass_stay_in_their_folder(parts, text):
    for name in ("/".join(parts), text):
        if is_image_name(name):
            place = Path("/pool") / name
            assert place.resolve().is_relative_to("/pool") and ".." not in place.parts
            assert name.isprintable() and name.isascii() and str(place) == f"/pool/{name}"
            assert all("=" in part for part in name.split("/"))


def test_names_that_are_none_are_refused_everywhere(spoilt, tmp_path):
    bad = ("", "x", "../x=1", "/x=1", "x=1/../y=2", "x=a b", "x=a\n", "x=" + "a" * 300, "x=\u202e", "x=1\\y=2")
    for name in bad:
        assert not is_image_name(name)
        with pytest.raises(StoreError, match="expected names of image tiles like"):
            replace(manifest_of(spoilt), tiles=(replace(manifest_of(spoilt).tiles[0], image=name),))
    with pytest.raises(StoreError, match=r"expected each image tile beside the others, found 'a=1\.zarr\.zip/b=2'"):
        check_images(["a=1", "a=1.zarr.zip/b=2"], tmp_path)


def forge(folder: Path, change) -> None:
    """Give a version another table of tiles, with every checksum in order."""
    table = change(pq.read_table(folder / "tiles.parquet"))
    pq.write_table(table, folder / "tiles.parquet", compression="zstd")
    values = json.loads((folder / "manifest.json").read_bytes())
    values["content"] |= {"n_tiles": len(table)}
    values["content"]["tables"]["tiles.parquet"] = table_digest(table.to_batches(), table.schema.names)
    values["files"]["tiles.parquet"] = file_sha256(folder / "tiles.parquet")
    values["version"] = short(digest(values["content"]))
    (folder / "manifest.json").write_bytes(to_document(values))


def named(name: str | None):
    return lambda table: table.set_column(0, "image", pa.array([name, *NAMES[1:]], pa.string()))


FORGED = {
    "way out": (named("x=1/../../../../etc"), "expected names of image tiles like"),
    "absolute": (named("/etc/x=1"), "expected names of image tiles like"),
    "control": (named("tract=9813/patch=\x1b[2J"), "expected names of image tiles like"),
    "nothing": (named(None), "expected a value in every place"),
    "twice": (named(NAMES[1]), "expected each image tile once"),
    "order": (lambda table: table.take([2, 1, 0]), "in the order of the names"),
    "columns": (lambda table: table.drop_columns(["image"]), "expected the columns"),
    "of the sky": (lambda table: table.rename_columns({"image": "pixel"}), "expected the columns"),
    "many": (lambda table: table.take([0] * 100_000), "found 100,000 rows"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_table_is_refused_by_readers_and_by_verify(spoilt, name):
    change, match = FORGED[name]
    folder = version_of(spoilt)
    forge(folder, change)
    folder = folder.rename(spoilt.parents[1] / "copied")  # not in the pool: its folder need not have its name
    with pytest.raises(StoreError, match=match):
        open_catalogue(folder)
    report = Report()
    verify_version(folder, report)
    assert any(problem.path == folder and match in problem.found for problem in report.problems)


def test_a_kind_that_nobody_knows_is_refused(spoilt):
    folder = version_of(spoilt)
    values = json.loads((folder / "manifest.json").read_bytes())
    values["content"]["kind"] = "cubes"
    values["version"] = short(digest(values["content"]))
    (folder / "manifest.json").write_bytes(to_document(values))
    with pytest.raises(StoreError, match=r"'content\.kind': Input should be 'images', found 'cubes'"):
        open_catalogue(folder)
