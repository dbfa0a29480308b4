"""Regrouping: rows/s from the image tiles' tables of sources to tiles of the sky, against the least it could take.

The tiles of a rendered survey are measured once. Then the plan and the partition of the chain read their tables, drop
what is not primary, and write HEALPix tiles; the other side reads the same tables, sorts their rows by id, and writes
the columns as one uncompressed file. Both have one process. At the end the rows of both are the same sources.

    python benchmarks/regrouping.py --tiles 3 --tile-px 2048
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers import sides
from processes import family_cpu_s

from skymill.config import RunConfig, SurveyConfig
from skymill.config.images import ImageSettings, MeasureSettings, RenderSettings
from skymill.features import measure_group, with_measured_columns
from skymill.store import GroupManifest, Pool, open_tile
from skymill.survey import Survey, open_survey
from skymill.survey.images.ownership import PRIMARY
from skymill.tiling import measured, partition, plan, plan_images


def main() -> None:
    """Measure, then regroup; print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=3, help="along each side")
    parser.add_argument("--tile-px", type=int, default=2048)
    parser.add_argument("--density", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keep the measured tiles here, or use those that stand here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch, "measured")
        survey = rendered(arguments.tiles, arguments.tile_px, arguments.density)
        manifests = measure_all(survey, folder)
        told: dict[str, Any] = {**sides.machine(), "chain": [], "bare": []}
        for turn in range(arguments.repeats):
            told["chain"].append(regrouped(survey, manifests, Path(scratch, f"chain{turn}")))
            told["bare"].append(bare(manifests, Path(scratch, f"bare{turn}.npz")))
    best = {side: max(each["rows_per_cpu_s"] for each in told[side]) for side in ("chain", "bare")}
    print(json.dumps({**told, "chain_over_bare": round(best["chain"] / best["bare"], 3)}, indent=1))


def rendered(tiles: int, tile_px: int, density: float) -> Survey:
    """Give a rendered survey of square tiles."""
    render = RenderSettings(tiles=(tiles, tiles), tile_px=tile_px, density=density, defects=False)
    images = ImageSettings(layout="rendered", render=render)
    config = SurveyConfig(name="rendered", format="images", bands=list("ugrizy"), images=images)
    return open_survey(with_measured_columns(config, MeasureSettings()))


def run_of(output: Path) -> RunConfig:
    """Give the settings of a run that writes to a folder."""
    return RunConfig(name="regrouping", survey="survey.yaml", output=str(output))


def measure_all(survey: Survey, folder: Path) -> list[str]:
    """Measure every image tile; give the manifests of the segmentation catalogue."""
    run = run_of(folder)
    plan_images(run, survey, folder, workers=2)
    groups = sorted((folder / "tiling" / "images").glob("*.json"))
    return [str(measure_group(group, output=folder, survey=survey, run=run, workers=2)) for group in groups]


def regrouped(survey: Survey, manifests: list[str], output: Path) -> dict[str, float]:
    """Plan and partition; give rows and rows per CPU-second of both together."""
    run, sources = run_of(output), measured(survey, manifests)
    before, started = family_cpu_s(), time.perf_counter()
    plan(run, sources, output, workers=1)
    groups = sorted((output / "tiling" / "groups").glob("*.json"))
    written = [partition(run, sources, group, output, workers=1) for group in groups]
    rows = sum(entry.n_rows for path in written for entry in GroupManifest.read(path).tiles)
    return rates(rows, family_cpu_s() - before, time.perf_counter() - started)


def bare(manifests: list[str], target: Path) -> dict[str, float]:
    """Read, sort and write; give rows and rows per CPU-second."""
    before, started = family_cpu_s(), time.perf_counter()
    blocks = [block for path in manifests for block in tables(path)]
    rows = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    primary = np.flatnonzero(rows[PRIMARY])
    order = primary[np.argsort(rows["objectId"][primary])]
    np.savez(target, **{name: column[order] for name, column in rows.items()})
    return rates(len(order), family_cpu_s() - before, time.perf_counter() - started)


def tables(manifest: str) -> list[dict[str, NDArray[np.generic]]]:
    """Read all tables of a group of image tiles."""
    pool = Pool(Path(manifest).parents[2])
    entries = GroupManifest.read(manifest).tiles
    return [block for each in entries for block in open_tile(pool.path(each.tile, each.key)).blocks()]


def rates(rows: int, cpu_s: float, clock_s: float) -> dict[str, float]:
    """Put numbers together."""
    return {"rows": rows, "cpu_s": round(cpu_s, 2), "clock_s": round(clock_s, 2), "rows_per_cpu_s": round(rows / cpu_s)}


if __name__ == "__main__":
    main()
