"""Light curves from a HATS catalogue into tiles, and out of a sealed catalogue again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from skymill import open_catalogue, tiling
from skymill.config import ComputeSettings, load_survey
from skymill.sky import in_cone
from skymill.store import seal, verify
from skymill.survey import Survey, open_survey

from .conftest import group_files, partition_all, pool, run_config

BANDS = "ugrizy"


@pytest.fixture
def survey(data: Path) -> Survey:
    path = data / "catalogues/hats_samples/hats/small_sky_nested/dataset"
    content = {
        "name": "curves", "format": "parquet", "path": str(path), "bands": ["r"], "id": {"column": "id"},
        "ra": {"column": "ra", "unit": "deg"}, "dec": {"column": "dec", "unit": "deg"},
        "nested": {
            "lc": {
                "mjd": {"column": "lc.mjd", "unit": "d"},
                "mag": {"column": "lc.mag", "unit": "mag", "dtype": "float32"},
                "band": {"column": "lc.band", "categories": list(BANDS)},
            }
        },
    }  # fmt: skip
    return open_survey(load_survey(content), part_rows=10)


@pytest.fixture
def truth(survey: Survey) -> pd.DataFrame:
    """Every source as Arrow reads it, by id."""
    folder = Path(str(survey.config.path))
    tables = [pq.read_table(path).to_pandas() for path in sorted(folder.rglob("Npix*.parquet"))]
    return pd.concat(tables).set_index("id")


def curves(dataset: object) -> dict[int, tuple[list[float], list[str]]]:
    """Times and bands of each source, cut by its count."""
    edges = np.cumsum(dataset["lc_count"].values)[:-1]
    mjd, band = (np.split(dataset[f"lc_{name}"].values, edges) for name in ("mjd", "band"))
    ids = dataset["objectId"].values.tolist()
    return {key: (times.tolist(), [BANDS[each] for each in bands]) for key, times, bands in zip(ids, mjd, band)}


def expected(rows: pd.DataFrame) -> dict[int, tuple[list[float], list[str]]]:
    return {int(key): (list(lc["mjd"]), list(lc["band"])) for key, lc in rows["lc"].items()}


def test_light_curves_come_out_of_the_catalogue_as_they_went_in(
    tmp_path: Path, compute: ComputeSettings, survey: Survey, truth: pd.DataFrame, serve: Callable[..., str]
) -> None:
    manifests = partition_all(run_config(compute, max_bytes=100_000), survey, tmp_path)
    assert sum(len(manifest.tiles) for manifest in manifests) > 3
    root = tmp_path / "catalogues" / "sources"
    seal(root, manifests, n_in=len(truth))
    assert verify(root).ok
    for location in (root, serve(root)):
        catalogue = open_catalogue(location)
        everything = catalogue.cone(320, -40, 180)
        assert curves(everything) == expected(truth)
        ra, dec = truth["ra"].iloc[3], truth["dec"].iloc[3]
        near = catalogue.cone(ra, dec, 8, ["objectId", "lc_mjd", "lc_band"])
        inside = in_cone(truth["ra"].to_numpy(), truth["dec"].to_numpy(), ra, dec, 8)
        assert 3 < inside.sum() < 100
        assert curves(near) == expected(truth[inside])
    nowhere = catalogue.cone(320, 40, 1)
    assert nowhere.sizes["lc_obs"] == 0 == nowhere.sizes["source"]
    assert "lc_mjd: float64, as many per source as lc_count says" in repr(catalogue)


def test_the_lazy_dataset_counts_observations_and_says_where_they_are(
    tmp_path: Path, compute: ComputeSettings, survey: Survey, truth: pd.DataFrame
) -> None:
    manifests = partition_all(run_config(compute, max_bytes=100_000), survey, tmp_path)
    root = tmp_path / "catalogues" / "sources"
    seal(root, manifests, n_in=len(truth))
    catalogue = open_catalogue(root)
    lazy = catalogue.to_xarray()
    assert int(lazy["lc_count"].sum()) == truth["lc"].map(lambda lc: len(lc["mjd"])).sum()
    assert "lc_obs" not in lazy.sizes
    with pytest.raises(KeyError, match=r"one entry per source, found \['lc_mjd'\]; their observations come by \.cone"):
        catalogue.to_xarray(["objectId", "lc_mjd"])


def test_rows_that_are_gone_or_damaged_in_the_spill_are_read_again(
    tmp_path: Path, compute: ComputeSettings, survey: Survey
) -> None:
    run = run_config(compute, max_bytes=100_000)
    partition_all(run, survey, tmp_path / "plain", workers=1)
    for name in ("gone", "damaged"):
        output = tmp_path / name
        tiling.plan(run, survey, output, workers=2)
        spilled = sorted((output / "tiling" / "spill").glob("*.lc.npy"))
        assert len(spilled) > 3
        for path in spilled:
            content = bytearray(path.read_bytes())
            content[len(content) * 2 // 3] ^= 0x04
            path.unlink() if name == "gone" else path.write_bytes(content)
        for group in group_files(output):
            tiling.partition(run, survey, group, output, workers=2)
        assert pool(output) == pool(tmp_path / "plain")


def test_a_tile_is_bounded_by_its_observations_too(tmp_path: Path, compute: ComputeSettings, survey: Survey) -> None:
    """A source has 123 observations of 13 bytes on average, 40 times what its row takes."""
    n_bytes = 100_000
    assert n_bytes // survey.schema.row_bytes > 131  # one tile would do for the rows alone
    manifests = partition_all(run_config(compute, max_bytes=n_bytes, max_rows=1000), survey, tmp_path)
    rows = [tile.n_rows for manifest in manifests for tile in manifest.tiles]
    assert sum(rows) == 131 and max(rows) <= n_bytes // (123 * 13)
