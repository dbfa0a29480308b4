"""Reading catalogues: cones against brute force, here and over HTTP; lazy arrays; only what is needed is read."""

from __future__ import annotations

import gc
import logging
import pickle  # noqa: TID251 (what Dask does with it)
import shutil
import time

import numpy as np
import pytest
import xarray as xr

import skymill
from skymill.sky import Tile, in_cone
from skymill.store import (
    Accounting,
    FormatError,
    GroupManifest,
    Pool,
    Quarantined,
    StoreError,
    TileEntry,
    digest,
    file_sha256,
    open_catalogue,
    open_tile,
    seal,
    verify,
    write_tile,
)
from skymill.store.document import to_document
from skymill.store.paths import MANIFEST, TILE_TABLE, pool_file, version_file
from skymill.store.source import WebSource
from skymill.store.tables import tile_table, write_rows


def random_cones(n: int, seed: int) -> list[tuple[float, float, float]]:
    """Draw centres and radii: everywhere, at both poles, across RA 0; some tiny, some huge."""
    random = np.random.default_rng(seed)
    ra, dec = random.uniform(0, 360, n), np.degrees(np.arcsin(random.uniform(-1, 1, n)))
    dec[::4] = np.sign(dec[::4]) * (90 - random.exponential(0.3, len(dec[::4])))
    ra[1::4] = random.normal(0, 0.5, len(ra[1::4]))
    dec[:2] = 90, -90
    radius = 10 ** random.uniform(-3, 1.2, n)
    radius[2:4] = 0, 180
    return list(zip(ra.tolist(), dec.tolist(), radius.tolist()))


def check_cones(catalogue, sky, cones):
    """Hold each cone against a search through all sources."""
    hits = 0
    for ra, dec, radius in cones:
        found = catalogue.cone(ra, dec, radius, ["objectId", "probabilities"])
        expected = in_cone(sky.ra, sky.dec, ra, dec, radius)
        np.testing.assert_array_equal(found["objectId"].values, sky.object_id[expected], strict=True)
        np.testing.assert_array_equal(found["probabilities"].values, sky.probabilities[expected])
        hits += bool(expected.any())
    assert hits > len(cones) / 3


def test_cones_equal_brute_force(sealed, sky):
    check_cones(open_catalogue(sealed), sky, random_cones(300, seed=7))


@pytest.mark.parametrize("ranges", [True, False], ids=["with ranges", "whole files only"])
def test_cones_over_http_equal_brute_force(sealed, sky, serve, ranges, caplog):
    url = serve(sealed.parent, ranges=ranges)
    with caplog.at_level(logging.WARNING):
        check_cones(open_catalogue(f"{url}/{sealed.name}"), sky, random_cones(300 if ranges else 30, seed=8))
    assert ("the server ignores Range" in caplog.text) is not ranges


def test_a_cone_over_http_reads_little(sealed, sky, serve):
    catalogue = open_catalogue(f"{serve(sealed.parent)}/{sealed.name}/")
    found = catalogue.cone(0.0, 90.0, 0.2, ["objectId"])
    assert len(found["objectId"]) == in_cone(sky.ra, sky.dec, 0.0, 90.0, 0.2).sum() > 0
    assert catalogue.traffic.n_bytes < catalogue.tiles["n_bytes"].sum() / 3


def test_neighbouring_chunks_come_in_one_request(sealed, sky, serve):
    tile = next((sealed / "tiles").rglob("*.zarr.zip"))
    reader = open_tile(f"{serve(sealed)}/{tile.relative_to(sealed)}")
    rows = reader.rows(10, 20, ["objectId", "_healpix_29", "coord_ra"])
    np.testing.assert_array_equal(rows["coord_ra"], open_tile(tile).rows(10, 20)["coord_ra"])
    assert reader.store.traffic.chunks == 3 and reader.store.traffic.requests == 2  # the first is the directory


def test_the_zone_map_limits_the_chunks_that_are_read(sealed, sky):
    catalogue = open_catalogue(sealed)
    ra, dec = float(sky.ra[12_345]), float(sky.dec[12_345])
    assert catalogue.cone(ra, dec, 0.0, ["objectId"])["objectId"].values.tolist() == [sky.object_id[12_345]]
    assert catalogue.traffic.files <= 2  # the tile, and the one that shows the columns
    before = catalogue.traffic.chunks
    catalogue.cone(ra, dec, 0.0, ["objectId"])
    assert catalogue.traffic.chunks - before == 3  # of one place: coord_ra, coord_dec, objectId
    before = catalogue.traffic.chunks
    assert len(catalogue.cone((ra + 180) % 360, -dec, 1e-6, ["objectId"])["objectId"]) == 0
    assert catalogue.traffic.chunks - before <= 2  # nothing is there, so nothing but positions is read


def test_a_cone_has_all_columns_with_names_and_units(sealed, sky):
    found = skymill.open_catalogue(sealed).cone(10, 80, 5)
    assert list(found.data_vars) == ["objectId", "_healpix_29", "coord_ra", "coord_dec", "flags", "probabilities"]
    assert found["coord_ra"].attrs["units"] == "deg" and found["objectId"].dtype == np.int64
    assert found["probabilities"].sel({"class": "star"}).dims == ("source",)
    assert found.attrs == {"catalogue": "demo", "version": sealed_version(sealed)}
    empty = skymill.open_catalogue(sealed).cone(10, 80, 1e-9)
    assert empty.sizes == {"source": 0, "class": 3} and empty["objectId"].dtype == np.int64


def sealed_version(root):
    return open_catalogue(root).version


def test_the_lazy_dataset_equals_all_tiles(sealed, sky):
    catalogue = open_catalogue(sealed)
    lazy = catalogue.to_xarray(["objectId", "probabilities"])
    assert catalogue.traffic.files == 1
    assert list(lazy.data_vars) == ["objectId", "probabilities"] and lazy.sizes["source"] == len(catalogue) == 30_000
    np.testing.assert_array_equal(lazy["objectId"].values, sky.object_id)
    np.testing.assert_array_equal(lazy["probabilities"].sel({"class": "quasar"}).values, sky.probabilities[:, 1])
    part = pickle.loads(pickle.dumps(catalogue.to_xarray().isel(source=slice(14_990, 15_010)))).compute()  # noqa: S301
    np.testing.assert_array_equal(part["coord_ra"].values, sky.ra[14_990:15_010])


def test_the_lazy_dataset_comes_over_http(sealed, sky, serve):
    lazy = open_catalogue(f"{serve(sealed)}").to_xarray(["objectId"])
    np.testing.assert_array_equal(lazy["objectId"].values, sky.object_id)


def test_whole_files_of_a_server_without_ranges_do_not_stay_in_memory(sealed, sky, serve):
    catalogue = open_catalogue(serve(sealed, ranges=False))
    assert catalogue.cone(0, 0, 180, ["objectId"]).sizes["source"] == len(sky.ra)
    np.testing.assert_array_equal(catalogue.to_xarray(["objectId"])["objectId"].values, sky.object_id)
    held = [len(each._whole or b"") for each in gc.get_objects() if isinstance(each, WebSource)]
    assert len(held) >= 48
    assert sum(held) <= catalogue.tiles["n_bytes"].max()


def test_a_tile_is_plain_xarray(sealed, sky):
    catalogue = open_catalogue(sealed)
    order, pixel, n = catalogue.tiles[["order", "pixel", "n_rows"]].iloc[3]
    tile = catalogue.tile(order, pixel)
    assert isinstance(tile, xr.Dataset) and tile.chunks == {} and tile.sizes["source"] == n
    with pytest.raises(KeyError, match=r"expected one of its 48 tiles \(see \.tiles\), found no Norder=9/Npix=9"):
        catalogue.tile(9, 9)


def test_the_summary_tells_what_there_is(sealed, sky):
    catalogue = open_catalogue(sealed)
    text = repr(catalogue)
    for part in ("'demo'", catalogue.version, "30,000 sources in 48 tiles", "coord_ra: float64 [deg]", "float32 x 3"):
        assert part in text
    assert catalogue.n_rows == 30_000 and catalogue.columns[0] == "objectId"
    assert len(catalogue.cone(*catalogue.centre, radius_deg=1e-5)["objectId"]) >= 1


def test_a_version_opens_by_itself_and_as_a_plain_copy(sealed, sky, tmp_path):
    version = sealed / "versions" / sealed_version(sealed)
    assert open_catalogue(version).n_rows == len(sky.ra)
    shutil.copytree(version, tmp_path / "handed over", symlinks=False)
    copy = open_catalogue(tmp_path / "handed over")
    np.testing.assert_array_equal(copy.to_xarray(["objectId"])["objectId"].values, sky.object_id)


def test_wrong_requests_are_explained(sealed, tmp_path, serve):
    catalogue = open_catalogue(sealed)
    with pytest.raises(KeyError, match=r"expected some of the columns .*'probabilities'.* found \['probability'\]"):
        catalogue.cone(0, 0, 1, ["probability"])
    with pytest.raises(ValueError, match="expected 0 to 180 degrees, found -1"):
        catalogue.cone(0, 0, -1)
    with pytest.raises(FileNotFoundError, match=r"expected a catalogue's current\.json .* did you mean .*demo"):
        open_catalogue(sealed.parent.parent)
    with pytest.raises(FileNotFoundError, match="a catalogue appears when it is sealed"):
        open_catalogue(tmp_path)
    with pytest.raises(FileNotFoundError, match="a catalogue appears when it is sealed"):
        open_catalogue(serve(tmp_path))


def test_a_newer_catalogue_is_refused(small):
    pointer = {"skymill_format": 2, "version": "x"}
    (small / "current.json").write_bytes(to_document(pointer))
    with pytest.raises(FormatError, match="expected a catalogue of format 1 or older, found 2; install a newer"):
        open_catalogue(small)


def test_a_catalogue_of_failures_opens_and_says_so(tmp_path):
    failure = Quarantined(0, 5, "k" * 64, "the reader ran out of memory", 10)
    seal(tmp_path, [GroupManifest("demo", "s" * 12, "all", quarantined=(failure,))], n_in=10)
    catalogue = open_catalogue(tmp_path)
    assert len(catalogue) == 0 and "0 sources in 0 tiles" in repr(catalogue)
    assert catalogue.manifest["accounting"]["quarantined"] == {"tile_failed": 10}
    assert catalogue.cone(0, 0, 1).sizes["source"] == 0


def test_a_hundred_thousand_tiles_open_in_about_a_second(tmp_path, sky, tiles_of):
    """Only the first tile has a file: opening and the lazy dataset need no other."""
    entry = tiles_of(tmp_path, sky, order=0).tiles[0]
    accounting = Accounting(n_in=1000, n_ok=900, n_flagged=100, flagged={"odd": 100})
    keys = [entry.key, *(digest({"tile": pixel}) for pixel in range(1, 100_000))]
    entries = [TileEntry(7, pixel, key, key, entry.n_bytes, 1000, accounting) for pixel, key in enumerate(keys)]
    version = "0" * 12
    folder = tmp_path / "versions" / version
    tile = folder / version_file(Tile(7, 0))
    tile.parent.mkdir(parents=True)
    tile.symlink_to(tmp_path / pool_file(entry.tile, entry.key))
    write_rows(folder / TILE_TABLE, tile_table(entries))
    total = Accounting.total(entry.accounting for entry in entries).as_dict()
    content = {"catalogue": "demo", "settings": "", "n_tiles": 100_000, "n_rows": total["n_in"], "tables": {}}
    content |= {"accounting": total, "unplaced": Accounting().as_dict()}
    files = {TILE_TABLE: file_sha256(folder / TILE_TABLE)}
    manifest = {"skymill_format": 1, "version": version, "content": content, "files": files, "made_with": {}}
    (folder / MANIFEST).write_bytes(to_document(manifest))
    start = time.process_time()
    lazy = open_catalogue(folder).to_xarray()
    assert lazy.sizes["source"] == 100_000_000
    assert time.process_time() - start < 4  # about one on a quiet machine


def test_a_catalogue_without_tiles_is_open_and_empty(tmp_path):
    root = tmp_path / "none"
    with pytest.raises(StoreError, match="expected manifests of one catalogue"):
        seal(root, [])
    seal(root, [], settings="s" * 12, unplaced=Accounting(n_in=5, quarantined={"no_position": 5}), n_in=5)
    catalogue = open_catalogue(root)
    assert (catalogue.name, catalogue.n_rows, catalogue.manifest["accounting"]["n_in"]) == ("none", 0, 5)
    assert "0 sources in 0 tiles" in repr(catalogue)
    for found in (catalogue.cone(10, 20, 5), catalogue.to_xarray(["objectId", "coord_ra"])):
        assert found["objectId"].dtype == np.int64 and found.sizes["source"] == 0
    with pytest.raises(KeyError, match=r"without a tile only .* found \['probabilities'\]"):
        catalogue.cone(10, 20, 5, ["probabilities"])
    assert verify(root).ok


def test_tiles_without_rows_are_open_and_empty(tmp_path, sky):
    root = tmp_path / "hollow"
    pool = Pool(root)
    nothing = Accounting()
    path = pool.path(Tile(0, 4), "k" * 64)
    file = write_tile(path, sky.variables(slice(0)), receipt={"key": "k" * 64}, staging=pool.staging)
    entry = TileEntry(0, 4, "k" * 64, file.sha256, file.n_bytes, 0, nothing)
    seal(root, [GroupManifest("hollow", "s" * 12, "g", {}, (entry,))])
    catalogue = open_catalogue(root)
    everything = catalogue.to_xarray().load()
    assert everything.sizes == {"source": 0, "class": 3}
    assert everything["probabilities"].dtype == catalogue.cone(0, 0, 180)["probabilities"].dtype == np.float32
