"""Our side of partitioning: the plan and the partition of every group, joined to workers that stand."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from answering import answer

from skymill import tiling
from skymill.compute.cluster import open_client
from skymill.config import ComputeSettings, RunConfig, SurveyConfig
from skymill.survey import open_survey, simulated
from skymill.tiling.files import TilingFiles

GROUP_ORDER = 0
"""Few groups, each with tiles for all workers: groups are done one after the other here."""


def main() -> None:
    """Start the workers, do the jobs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with open_client(arguments.workers, ComputeSettings()) as client:
        address = client.scheduler.address

        def job(tables: str, output: str, tile_rows: int) -> dict[str, Any]:
            run = RunConfig(
                name="peers",
                survey="",
                output=output,
                tiling={"max_rows": tile_rows, "group_order": GROUP_ORDER},  # type: ignore[arg-type]
                compute={"scheduler": address},  # type: ignore[arg-type]
            )
            return partition(run, described(tables), Path(output), arguments.workers)

        answer(job, {})


def described(tables: str) -> SurveyConfig:
    """What the columns of the tables mean."""
    columns = simulated.column_map()
    described = {"name": "embedded", "format": "parquet", "path": tables, "bands": list("ugrizy"), **columns}
    return SurveyConfig.model_validate(described)


def partition(run: RunConfig, config: SurveyConfig, output: Path, workers: int) -> dict[str, Any]:
    """Plan, then partition group by group; tell the manifests and the seconds of the plan."""
    start = time.perf_counter()
    survey = open_survey(config, part_rows=run.tiling.part_rows, cache=output / ".cache")
    tiling.plan(run, survey, output, workers=workers)
    plan_s = time.perf_counter() - start
    files = TilingFiles(output)
    groups = [files.group(name, digest) for name, digest in tiling.groups(files.plan).items()]
    made = [tiling.partition(run, survey, group, output, workers=workers) for group in groups]
    tiling.clean_spill(output)
    gate = json.loads(files.plan.read_text())["gate"]
    return {"manifests": [str(path) for path in made], "plan_s": plan_s, "refused": gate["n_in"] - gate["n_rows"]}


if __name__ == "__main__":
    main()
