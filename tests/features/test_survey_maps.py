"""Tables with the columns of each map, from the file to the features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from map_tables import LSST, OTHERS, VARIABLES, listed_dtypes, load_map, map_table, write_map_table

from skymill import tiling
from skymill.config import ComputeSettings, RunConfig
from skymill.features import compute
from skymill.features import names as feature_names
from skymill.store import GroupManifest, Pool, open_tile
from skymill.survey import open_survey

ROWS = 300


@pytest.mark.parametrize("name", [*LSST, *OTHERS])
def test_a_table_of_the_maps_columns_is_tiled_and_turned_into_features(
    name: str, data: Path, tmp_path: Path, compute_settings: ComputeSettings, monkeypatch
) -> None:
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "unused")
    config = load_map(name)
    config = write_map_table(config, map_table(config, ROWS, listed_dtypes(data, name)), tmp_path)
    bounds = {"max_rows": 200, "highest_order": 6, "group_order": 0}
    run = RunConfig(name="t", survey="unused", tiling=bounds, compute=compute_settings)
    survey = open_survey(config, part_rows=run.tiling.part_rows)
    tiling.plan(run, survey, tmp_path, workers=1)
    wanted, n_sources, measured = feature_names(run, config), 0, []
    for group, digest in tiling.groups(tmp_path / "tiling" / "plan.json").items():
        path = tmp_path / "tiling" / "groups" / f"{group}-{digest[:12]}.json"
        sources = tiling.partition(run, survey, path, tmp_path, workers=1)
        made = compute(
            sources, output=tmp_path, survey=config, settings=run.features, compute=compute_settings, workers=1
        )
        manifest = GroupManifest.read(made)
        n_sources += manifest.accounting.check().n_ok
        for entry in manifest.tiles:
            tile = open_tile(Pool(tmp_path / "catalogues/features").path(entry.tile, entry.key))
            assert tile.arrays["features"].attrs["columns"] == wanted
            measured.append(tile.rows()["features"])
    assert n_sources == (ROWS - ROWS // 10 if config.primary else ROWS)
    assert np.isfinite(np.concatenate(measured)).all()


@pytest.fixture(scope="module")
def compute_settings(cluster: str) -> ComputeSettings:
    return ComputeSettings(scheduler=cluster, retries=0)
