"""The features of a group of tiles: keys, resuming, accounting, quarantine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skymill.config import ComputeSettings, FeatureSettings, SurveyConfig
from skymill.features import FeatureError, compute
from skymill.features.kernel import BAND_MISSING, NO_PHOTOMETRY, compute_features
from skymill.features.plan import ingredients, make_recipe
from skymill.features.tile import FeatureRun, TileJob, make_tile
from skymill.sky import Tile, order29
from skymill.store import Accounting, GroupManifest, Pool, Quarantined, TileEntry, Variable, open_tile, write_tile
from skymill.survey.measurements import source_schema
from skymill.tiling.tile import variables

SURVEY = SurveyConfig.model_validate(
    {
        "name": "toy", "format": "parquet", "path": "toy.parquet", "bands": ["g", "r", "i"],
        "id": {"column": "id"}, "ra": {"column": "ra", "unit": "deg"}, "dec": {"column": "dec", "unit": "deg"},
        "photometry": {"psfFlux": {"column": "{band}_psf", "error": "{band}_err", "unit": "nJy"}},
        "extinction": {"column": "ebv", "coefficients": {"g": 3.65, "r": 2.7, "i": 2.06}},
    }
)  # fmt: skip
QUICK = ComputeSettings(retries=0)


def write_sources(folder: Path, tile: Tile, n: int, *, seed: int) -> TileEntry:
    """A source tile of `n` rows: the first has no flux at all, the second none in g."""
    generator = np.random.default_rng(seed)
    ra, dec = generator.uniform(40, 50, n), generator.uniform(5, 30, n)
    index = order29(ra, dec)
    order = np.argsort(index)
    flux = generator.lognormal(6, 1, (n, 3)).astype("f4")
    flux[0], flux[1, 0] = np.nan, np.nan
    content = {
        "objectId": np.arange(n) + 10**6 * seed, "_healpix_29": index[order], "coord_ra": ra[order],
        "coord_dec": dec[order], "flags": np.zeros(n, "i4"), "psfFlux": flux, "psfFluxErr": np.full((n, 3), 3, "f4"),
        "values": generator.uniform(0, 0.3, (n, 1)).astype("f4"),
    }  # fmt: skip
    form = variables(source_schema(SURVEY))
    filled = {name: Variable(content[name], each.dims, each.attrs, each.columns) for name, each in form.items()}
    accounting = Accounting(n_in=n, n_ok=n)
    path = Pool(folder / "catalogues/sources").path(tile, f"{seed:064x}")
    file = write_tile(path, filled, receipt={"accounting": accounting.as_dict()}, chunk_rows=64)
    return TileEntry(*tile, f"{seed:064x}", file.sha256, file.n_bytes, n, accounting)


def manifest(folder: Path, entries: list[TileEntry], **more: Any) -> Path:
    path = folder / "catalogues/sources/groups/000000000000/o0p0.json"
    GroupManifest("sources", "000000000000", "o0p0", {}, tuple(entries), **more).write(path)
    return path


def make(folder: Path, sources: Path, *, settings: ComputeSettings = QUICK) -> Path:
    return compute(sources, output=folder, survey=SURVEY, settings=FeatureSettings(), compute=settings, workers=1)


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (folder / "catalogues/features/tiles").rglob("*.zip")
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


TILES = [Tile(1, 2), Tile(1, 3)]


def make_one(folder: Path, entry: TileEntry, survey: SurveyConfig = SURVEY) -> TileEntry:
    """Make one tile in this process."""
    recipe = make_recipe(survey, FeatureSettings())
    run = FeatureRun(str(folder / "catalogues/features"), recipe, ingredients(recipe))
    path = Pool(folder / "catalogues/sources").path(entry.tile, entry.key)
    return make_tile(TileJob(entry.tile, str(path), entry.sha256), run=run)


def test_tiles_hold_the_kernels_features_and_account_for_every_source(tmp_path: Path):
    entry = make_one(tmp_path, write_sources(tmp_path, TILES[0], 150, seed=1))
    assert entry.accounting == Accounting(150, 148, 2, {BAND_MISSING.name: 2, NO_PHOTOMETRY.name: 1})
    tile = open_tile(Pool(tmp_path / "catalogues/features").path(entry.tile, entry.key))
    rows = tile.rows()
    source = open_tile(Pool(tmp_path / "catalogues/sources").path(entry.tile, f"{1:064x}")).rows()
    expected, flags = compute_features(source, source["values"], make_recipe(SURVEY, FeatureSettings()))
    assert np.array_equal(rows["features"], expected, equal_nan=True)
    assert np.array_equal(rows["flags"], flags)
    assert all(
        np.array_equal(rows[name], source[name]) for name in ("objectId", "_healpix_29", "coord_ra", "coord_dec")
    )
    described = tile.attrs["features"]
    assert [feature["name"] for feature in described] == list(tile.arrays["features"].attrs["columns"])
    assert {feature["name"] for feature in described if feature["indicator"]} == {"g_missing", "r_missing", "i_missing"}


def test_a_second_run_computes_nothing_and_a_changed_tile_only_itself(tmp_path: Path):
    entries = [write_sources(tmp_path, tile, 100, seed=seed) for seed, tile in enumerate(TILES, start=1)]
    path = make(tmp_path, manifest(tmp_path, entries))
    first, bytes_of_manifest = tree(tmp_path), path.read_bytes()
    assert make(tmp_path, manifest(tmp_path, entries)).read_bytes() == bytes_of_manifest
    assert tree(tmp_path) == first
    entries[1] = write_sources(tmp_path, TILES[1], 120, seed=9)
    make(tmp_path, manifest(tmp_path, entries))
    second = tree(tmp_path)
    assert len(second) == 3 and {name: second[name] for name in first} == first


def test_two_places_give_the_same_bytes(tmp_path: Path):
    made = [make_one(tmp_path / name, write_sources(tmp_path / name, TILES[0], 100, seed=1)) for name in "ab"]
    assert made[0] == made[1]
    assert made[0] == make_one(tmp_path / "a", write_sources(tmp_path / "a", TILES[0], 100, seed=1))


def test_a_broken_source_tile_fails_the_group_or_is_quarantined(tmp_path: Path):
    entries = [write_sources(tmp_path, tile, 100, seed=seed) for seed, tile in enumerate(TILES, start=1)]
    broken = Pool(tmp_path / "catalogues/sources").path(TILES[0], f"{1:064x}")
    broken.write_bytes(broken.read_bytes()[:2000])
    lost = Quarantined(1, 1, "0" * 64, "killed its worker", 7)
    sources = manifest(tmp_path, entries, quarantined=(lost,))
    with pytest.raises(FeatureError, match=r"1 tiles failed, compute\.max_quarantined_tiles allows 0"):
        make(tmp_path, sources)
    written = GroupManifest.read(make(tmp_path, sources, settings=ComputeSettings(retries=0, max_quarantined_tiles=1)))
    assert [entry.tile for entry in written.tiles] == [TILES[1]]
    assert [(entry.tile, entry.n_in) for entry in written.quarantined] == [(Tile(1, 1), 7), (TILES[0], 100)]
    assert written.accounting.check().n_in == 207


def test_sources_of_another_description_are_refused(tmp_path: Path):
    entry = write_sources(tmp_path, TILES[0], 100, seed=1)
    changed = SURVEY.model_copy(update={"bands": ["u", "g", "r"], "extinction": None})
    with pytest.raises(ValueError, match=r"psfFlux: expected u, g, r, found g, r, i.*run the tiling again"):
        make_one(tmp_path, entry, changed)


def test_a_damaged_tile_in_the_pool_is_named_and_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    entries = [write_sources(tmp_path, tile, 100, seed=seed) for seed, tile in enumerate(TILES, start=1)]
    sources = manifest(tmp_path, entries)
    path = make(tmp_path, sources)
    whole, finished = path.read_bytes(), GroupManifest.read(path).tiles[0]
    path.unlink()
    tile = Pool(tmp_path / "catalogues/features").path(finished.tile, finished.key)
    before = tree(tmp_path)
    content = bytearray(tile.read_bytes())
    content[len(content) // 2] ^= 1
    tile.write_bytes(content)
    assert make(tmp_path, sources).read_bytes() == whole
    assert {name: content for name, (content, _) in tree(tmp_path).items()} == {n: c for n, (c, _) in before.items()}
    assert any(str(tile) in record.message and "made again" in record.message for record in caplog.records)
