"""What `skymill status` costs for a finished survey of 10^5 tiles in 192 groups: it reads manifests, never tiles.

The results folder is that of `workflow_noop.py`, made up; every job has a receipt, as after a real run, so that the
digests of all manifests are taken.

    python benchmarks/operating_status.py --tiles 100_000 --repeats 3
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from workflow_noop import machine, write_results, write_survey

from skymill.cli.chain import Chain
from skymill.cli.operating.jobs import Workflow
from skymill.cli.operating.receipts import Hasher, Receipt
from skymill.config import read_yaml

COMMAND = [sys.executable, "-c", "from skymill.cli.main import main; main()", "status", "--configfile", "config.yaml"]


def main() -> int:
    """Make the folder, measure, print a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=100_000, help="at most 196,608")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        write_survey(Path())
        write_results(Path(), arguments.tiles)
        time.sleep(3)  # digests of files that have just changed are not remembered
        n_jobs = write_receipts()
        runs = [measure() for _ in range(arguments.repeats)]
    wall, cpu = np.median(runs, axis=0)
    print(f"{arguments.tiles:,} tiles, {n_jobs} jobs: {wall:.1f} s by the clock, {cpu:.1f} CPU s; {machine()}")
    return 0


def write_receipts() -> int:
    """Write what each job leaves; gives the number of jobs."""
    workflow, digest = Workflow(Chain.from_config(read_yaml("config.yaml"))), Hasher()
    for job in workflow.jobs.values():
        inputs = {path: digest(path) for path in job.inputs}
        Receipt(job.rule, job.output, *job.ingredients, inputs).write(workflow.results)
    return len(workflow.jobs)


def measure() -> tuple[float, float]:
    """Wall and CPU seconds of a call that must find nothing to do."""
    started, before = time.perf_counter(), os.times()
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - started, os.times()
    if "Nothing to be done" not in done.stdout:
        raise RuntimeError(f"expected nothing to be done, found\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    spent = after.children_user - before.children_user + after.children_system - before.children_system
    return wall, spent


if __name__ == "__main__":
    sys.exit(main())
