"""Small surveys in Parquet files."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from skymill import tiling
from skymill.config import ComputeSettings, RunConfig, SurveyConfig
from skymill.store import GroupManifest
from skymill.survey import Survey, open_survey

COLUMN_MAP: dict[str, Any] = {
    "name": "toy",
    "format": "parquet",
    "bands": ["g", "r"],
    "id": {"column": "id"},
    "ra": {"column": "ra", "unit": "deg"},
    "dec": {"column": "dec", "unit": "deg"},
    "photometry": {"psfFlux": {"column": "{band}_flux", "error": "{band}_err", "unit": "nJy"}},
    "values": {"size": {"column": "size", "unit": "arcsec"}},
}


def toy_table(n_rows: int, *, seed: int = 0) -> pa.Table:
    """Sources in a twelfth of the sky (four groups), half of them in one square degree; ids above 2^53."""
    rng = np.random.default_rng(seed)
    ra, dec = rng.uniform(0, 90, n_rows), rng.uniform(-20, 20, n_rows)
    clump = rng.random(n_rows) < 0.5
    ra[clump], dec[clump] = 10 + rng.random(clump.sum()), -5 + rng.random(clump.sum())
    columns = {"id": 2**60 + rng.permutation(n_rows), "ra": ra, "dec": dec, "size": rng.random(n_rows)}
    for band in "gr":
        columns |= {f"{band}_flux": rng.normal(100, 50, n_rows), f"{band}_err": rng.uniform(1, 2, n_rows)}
    columns["g_flux"][::17] = np.nan
    return pa.table(columns)


def write_parts(table: pa.Table, folder: Path, n_files: int) -> None:
    """Cut a table into files of about equal length."""
    folder.mkdir(parents=True, exist_ok=True)
    edges = np.linspace(0, len(table), n_files + 1).astype(int)
    for number, (start, stop) in enumerate(itertools.pairwise(edges)):
        pq.write_table(table.slice(start, stop - start), folder / f"part{number}.parquet")


def run_config(compute: ComputeSettings, **bounds: Any) -> RunConfig:
    defaults = {"max_rows": 300, "highest_order": 8, "group_order": 0, "part_rows": 1000}
    return RunConfig(name="test", survey="unused", tiling=defaults | bounds, compute=compute)


def toy_survey(folder: Path, run: RunConfig, **changes: Any) -> Survey:
    config = SurveyConfig.model_validate({**COLUMN_MAP, "path": str(folder), **changes})
    return open_survey(config, part_rows=run.tiling.part_rows)


def partition_all(run: RunConfig, survey: Survey, output: Path, *, workers: int = 2) -> list[GroupManifest]:
    """Plan and partition; give the manifests of all groups."""
    tiling.plan(run, survey, output, workers=workers)
    return [
        GroupManifest.read(tiling.partition(run, survey, group, output, workers=workers))
        for group in group_files(output)
    ]


def group_files(output: Path) -> list[Path]:
    """The files of the current plan's groups."""
    planned = tiling.groups(output / "tiling" / "plan.json")
    return [output / "tiling" / "groups" / f"{name}-{digest[:12]}.json" for name, digest in planned.items()]


def pool(output: Path) -> dict[str, bytes]:
    """Every tile file and its bytes."""
    root = output / "catalogues" / "sources" / "tiles"
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.zarr.zip")) if path.is_file()
    }
