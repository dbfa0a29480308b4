"""Real catalogues: the tiles of HATS, every source in its tile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hats.pixel_math.partition_stats import generate_alignment, generate_histogram

from skymill import tiling
from skymill.config import ComputeSettings, RunConfig, SurveyConfig
from skymill.sky import at_order, order29
from skymill.store import GroupManifest, file_sha256, open_tile
from skymill.store.pool import Pool
from skymill.survey import Survey, open_survey

from .conftest import group_files, run_config

GAIA: dict[str, Any] = {
    "name": "gaia",
    "format": "parquet",
    "path": "sky_gaia_dr3_bright/gaia_dr3_bright.parquet",
    "bands": ["bp", "g", "rp"],
    "id": {"column": "source_id"},
    "ra": {"column": "ra", "unit": "deg"},
    "dec": {"column": "dec", "unit": "deg"},
    "photometry": {"meanFlux": {"column": "{band}_mag", "unit": "mag_ab"}},
}
OGLE: dict[str, Any] = {
    "name": "ogle3",
    "format": "parquet",
    "path": "cat_ogle3_variables/ogle3.parquet",
    "bands": ["v", "i"],
    "id": {"hash": ["ID"]},
    "ra": {"column": "RA", "unit": "hourangle"},
    "dec": {"column": "DECL", "unit": "deg"},
    "values": {"period": {"column": "P_1", "unit": "d"}},
}
COLUMNS = {"gaia": ("ra", "dec", 1.0), "ogle3": ("RA", "DECL", 15.0)}


def open_real(data: Path, config: dict[str, Any], run: RunConfig) -> Survey:
    path = str(data / "catalogues" / config["path"])
    return open_survey(SurveyConfig.model_validate({**config, "path": path}), part_rows=run.tiling.part_rows)


def hats_tiles(survey: Survey, *, order: int, max_rows: int) -> set[tuple[int, int, int]]:
    ra, dec, to_degrees = COLUMNS[survey.config.name]
    frame = pq.read_table(survey.config.path, columns=[ra, dec]).to_pandas()
    frame[ra] *= to_degrees
    histogram = generate_histogram(frame, highest_order=order, ra_column=ra, dec_column=dec)
    tiles = generate_alignment(histogram, highest_order=order, threshold=max_rows)
    return {tuple(int(number) for number in tile) for tile in tiles if tile is not None}


def planned_tiles(output: Path) -> set[tuple[int, int, int]]:
    table = pq.read_table(output / "tiling" / "tiles.parquet")
    return set(zip(*(table[name].to_pylist() for name in ("order", "pixel", "n_rows")), strict=True))


@pytest.mark.parametrize(("config", "bound"), [(GAIA, 5_000), (OGLE, 10_000)], ids=["gaia", "ogle"])
def test_tiles_and_counts_are_those_of_hats(
    data: Path, tmp_path: Path, compute: ComputeSettings, config: dict[str, Any], bound: int
) -> None:
    run = run_config(compute, max_rows=bound, highest_order=7, part_rows=100_000)
    survey = open_real(data, config, run)
    tiling.plan(run, survey, tmp_path, workers=2)
    found = planned_tiles(tmp_path)
    assert found == hats_tiles(survey, order=7, max_rows=bound)
    assert sum(n_rows for _, _, n_rows in found) == {"gaia": 482_176, "ogle3": 399_679}[config["name"]]


def test_pixels_where_hats_gives_up_are_deepened(data: Path, tmp_path: Path, compute: ComputeSettings) -> None:
    run = run_config(compute, max_rows=4_000, highest_order=5, part_rows=100_000)
    survey = open_real(data, OGLE, run)
    with pytest.raises(ValueError, match="exceeds threshold"):
        hats_tiles(survey, order=5, max_rows=4_000)
    tiling.plan(run, survey, tmp_path, workers=2)
    assert planned_tiles(tmp_path) == hats_tiles(survey, order=9, max_rows=4_000)


@pytest.mark.parametrize(("config", "bound"), [(GAIA, 40_000), (OGLE, 30_000)], ids=["gaia", "ogle"])
def test_every_source_is_in_its_tile(
    data: Path, tmp_path: Path, compute: ComputeSettings, config: dict[str, Any], bound: int
) -> None:
    run = run_config(compute, max_rows=bound, group_order=0, part_rows=100_000)
    survey = open_real(data, config, run)
    tiling.plan(run, survey, tmp_path, workers=2)
    catalogue = Pool(tmp_path / "catalogues" / "sources")
    ids, positions = [], []
    n_in = 0
    for group in group_files(tmp_path):
        manifest = GroupManifest.read(tiling.partition(run, survey, group, tmp_path, workers=2))
        n_in += manifest.accounting.check().n_in
        for entry in manifest.tiles:
            path = catalogue.path(entry.tile, entry.key)
            assert file_sha256(path) == entry.sha256
            rows = open_tile(path).rows(columns=["objectId", "_healpix_29", "coord_ra", "coord_dec"])
            index = rows["_healpix_29"]
            assert np.all(at_order(index, entry.order) == entry.pixel)
            assert np.array_equal(np.lexsort((rows["objectId"], index)), np.arange(entry.n_rows))
            assert np.array_equal(order29(rows["coord_ra"], rows["coord_dec"]), index)
            ids.append(rows["objectId"])
            positions.append(index)
    plan = json.loads((tmp_path / "tiling" / "plan.json").read_bytes())
    assert n_in == plan["gate"]["n_rows"] == plan["gate"]["n_in"]
    block = [gated.block for part in survey.parts() for gated in survey.blocks(part)]
    wanted = np.concatenate([some.object_id for some in block]), np.concatenate([some.healpix29 for some in block])
    found = np.concatenate(ids), np.concatenate(positions)
    assert len(found[0]) == n_in
    for left, right in zip(_sorted(wanted), _sorted(found), strict=True):
        assert np.array_equal(left, right)


def _sorted(pair: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort(pair)
    return pair[0][order], pair[1][order]


def test_a_hats_input_keeps_its_tiles(data: Path, tmp_path: Path, compute: ComputeSettings) -> None:
    folder = data / "catalogues/hats_samples/hats/small_sky_o1_collection/small_sky_order1"
    config = {**GAIA, "name": "small", "format": "hats", "id": {"column": "id"}, "photometry": {}}
    run = run_config(compute, max_rows=100)
    survey = open_survey(SurveyConfig.model_validate({**config, "path": str(folder)}), part_rows=1000)
    tiling.plan(run, survey, tmp_path, workers=2)
    tiles = planned_tiles(tmp_path)
    assert {(order, pixel) for order, pixel, _ in tiles} == {(1, pixel) for pixel in (44, 45, 46, 47)}
    assert sum(n_rows for _, _, n_rows in tiles) == 131
