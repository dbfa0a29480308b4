"""What the workflow costs for a finished survey of 10^5 tiles: `snakemake -n`, a run, and a release published before.

The results folder is made up, not computed: 100,000 tiles of order 7 in 192 groups, each with its file, and for the
catalogues `sources`, `features` and two models a manifest per group with as many entries as in a real run; training
set, fits, models, seals and report are there as far as the workflow looks at them. Paths come from the workflow's own
`Chain`. Then `snakemake --forceall --touch` lets Snakemake record every job as it does after a run (it takes about
0.1 s a file by design), so that params and inputs are compared as after a real run; only the tiles are missing, which
Snakemake never looks at. Code enters by digest, so skymill must not be edited meanwhile.

    python benchmarks/workflow_noop.py --tiles 100_000 --repeats 3
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from skymill.cli.chain import Chain
from skymill.report import PLOTS_OF_MODELS, PLOTS_OF_SKY
from skymill.sky import Tile
from skymill.store import Accounting, GroupManifest, TileEntry, digest, group_file, short
from skymill.store.document import to_document
from skymill.store.durable import write_bytes
from skymill.tiling.files import TilingFiles
from skymill.tiling.grouping import Group
from skymill.tiling.spill import Bucket

REPOSITORY = Path(__file__).resolve().parents[1]
LIMIT_S = 10.0
GROUP_ORDER, TILE_ORDER = 2, 7
TILE_ROWS = 10_000
INPUT_FILES = 200
MODELS = ("forest", "mlp")
RELEASE = "DR1"
RELEASE_OPTIONS = ["release", "--config", f"release={RELEASE}"]


def main() -> int:
    """Make the folder, measure, print a table; the status is 1 where the limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=100_000, help="at most 196,608")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the results are made up; default a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        write_survey(folder)
        write_results(folder, arguments.tiles)
        started = time.perf_counter()
        snakemake(folder, "--cores", "2", "--forceall", "--touch", "all", *RELEASE_OPTIONS)
        print(f"recording every job: {time.perf_counter() - started:.0f} s", flush=True)
        modes = {
            "snakemake -n": ["-n"],
            "snakemake --cores 2": ["--cores", "2"],
            f"snakemake -n {' '.join(RELEASE_OPTIONS)}": ["-n", *RELEASE_OPTIONS],
        }
        found = {mode: [measure(folder, *options) for _ in range(arguments.repeats)] for mode, options in modes.items()}
        n_files = sum(path.is_file() for path in (folder / "results").rglob("*"))
    print(f"\n{arguments.tiles:,} tiles, {n_files:,} files in the results folder; {machine()}\n")
    print("| command | wall, s | CPU, s | peak memory, MB |\n|---|---|---|---|")
    for mode, runs in found.items():
        wall, cpu, memory = np.median(runs, axis=0)
        print(f"| `{mode}` | {wall:.1f} | {cpu:.1f} | {memory:.0f} |")
    return int(max(run[0] for runs in found.values() for run in runs) > LIMIT_S)


def measure(folder: Path, *options: str) -> tuple[float, float, float]:
    """Wall and CPU seconds and peak memory (MB) of a run that must find nothing to do."""
    started = time.perf_counter()
    output, usage = snakemake(folder, *options)
    wall = time.perf_counter() - started
    if "Nothing to be done" not in output:
        raise RuntimeError(f"{folder}: expected nothing to be done, found\n{output[-4000:]}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3


def snakemake(folder: Path, *options: str) -> tuple[str, os.struct_rusage]:
    """Run the workflow on the folder; give what it printed and what it used, children included."""
    command = [sys.executable, "-m", "snakemake", "--directory", str(folder)]
    command += ["--configfile", str(folder / "config.yaml"), *options]
    log = folder / "run.log"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where `skymill` is
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env={**os.environ, "PATH": path}, stdout=file, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: status {process.returncode}\n{log.read_text()[-4000:]}")
    return log.read_text(), usage


def write_survey(folder: Path) -> None:
    """Write a survey of 200 small Parquet files, labels, and the run's files."""
    (folder / "tables").mkdir()
    columns = {"objectId": pa.array([1]), "ra": [0.0], "dec": [0.0], "g": [1.0], "g_err": [1.0]}
    for number in range(INPUT_FILES):
        pq.write_table(pa.table(columns | {"objectId": [number]}), folder / "tables" / f"{number:04d}.parquet")
    pq.write_table(pa.table({"objectId": [1], "class": ["STAR"]}), folder / "labels.parquet")
    files = {
        "survey": {
            "name": "made_up",
            "format": "parquet",
            "path": "tables",
            "bands": ["g"],
            "id": {"column": "objectId"},
            "ra": {"column": "ra", "unit": "deg"},
            "dec": {"column": "dec", "unit": "deg"},
            "photometry": {"psfFlux": {"column": "{band}", "error": "{band}_err", "unit": "nJy"}},
        },
        "config": {
            "name": "made_up",
            "survey": "survey.yaml",
            "models": [f"{model}.yaml" for model in MODELS],
            "tiling": {"group_order": GROUP_ORDER},
            "labels": {
                "path": "labels.parquet",
                "column": "class",
                "classes": ["GALAXY", "STAR"],
                "id": {"column": "objectId"},
            },
        },
        **{model: {"name": model, "kind": model} for model in MODELS},
    }
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))


def write_results(folder: Path, n_tiles: int) -> None:
    """Write what a finished run leaves, in the order in which a run does."""
    with contextlib.chdir(folder):
        chain = Chain.from_config(yaml.safe_load(Path("config.yaml").read_text()))
        results = Path(chain.output)
        groups = list(make_groups(n_tiles))
        write_plan(groups, results, chain.plan_name)
        write_manifests("sources", chain.sources_settings, groups, results)
        write_manifests("features", chain.features_settings, groups, results)
        training_set = digest({"made_up": "training set"})
        write_bytes(results / "training" / "sets" / f"{short(training_set)}.parquet", b"made up")
        write_json(
            results / "training" / "set.json",
            {"file": f"sets/{short(training_set)}.parquet", "sha256": training_set, "files": {}},
        )
        for model in chain.models:
            onnx = short(digest({"made_up": model}))
            fit = chain.fit_digest(model, training_set)
            write_json(results / "training" / model / fit / "manifest.json", {"training_set": training_set})
            write_bytes(results / "models" / model / f"{onnx}.onnx", b"made up")
            write_json(
                results / "models" / model / "manifest.json", {"onnx": onnx, "fit": fit, "files": {f"{onnx}.onnx": ""}}
            )
            write_manifests(model, chain.inference_settings(model, onnx), groups, results)
            for name in ("shift.json", "card.md"):
                write_bytes(results / "training" / "shift" / model / name, b"made up")
        for catalogue in chain.catalogues:
            write_json(results / "catalogues" / catalogue / "seal.json", {"version": "made up"})
        plots = dict.fromkeys(chain.models, PLOTS_OF_MODELS) | {"sky": PLOTS_OF_SKY}
        drawn = [f"plots/{of}-{plot}.svg" for of, names in plots.items() for plot in names]
        for page in ("index.html", *(f"model-{model}.html" for model in chain.models), *drawn):
            write_bytes(results / "report" / page, b"made up")
        write_bytes(results / "release" / f"{RELEASE}.json", b"made up")


def make_groups(n_tiles: int) -> Iterator[Group]:
    """Spread tiles of one order evenly over the sky, and put them into groups."""
    whole_sky = 12 << 2 * TILE_ORDER
    pixels = np.unique(np.linspace(0, whole_sky - 1, n_tiles).astype(int))
    parents = pixels >> 2 * (TILE_ORDER - GROUP_ORDER)
    for parent in np.unique(parents).tolist():
        tiles = tuple((Tile(TILE_ORDER, pixel), TILE_ROWS) for pixel in pixels[parents == parent].tolist())
        rows = len(tiles) * TILE_ROWS
        yield Group(f"o{GROUP_ORDER}p{parent}", tiles, (Bucket(GROUP_ORDER, parent, "0" * 64, rows),), ())


def write_plan(groups: list[Group], results: Path, name: str) -> None:
    """Write the plan and the file of each group."""
    files = TilingFiles(results)
    for group in groups:
        group.write(files)
    described = {
        group.name: {"digest": group.digest, "n_tiles": len(group.tiles), "n_rows": group.n_rows} for group in groups
    }
    for path in (files.plan, files.named_plan(name)):
        write_json(path, {"format": 1, "groups": described})


def write_manifests(catalogue: str, settings: str, groups: list[Group], results: Path) -> None:
    """Write a catalogue's group manifests, each as long as a real one."""
    accounting = Accounting(TILE_ROWS, TILE_ROWS - 3, 2, {"flux_missing": 2}, excluded={"exact_duplicate": 1})
    for group in groups:
        entries = []
        for tile, _ in group.tiles:
            key = digest({"catalogue": catalogue, "tile": str(tile)})
            entries.append(TileEntry(*tile, key, key[::-1], 1_000_000, TILE_ROWS - 1, accounting))
        manifest = GroupManifest(catalogue, settings, group.name, {"group": group.digest}, tuple(entries))
        manifest.write(group_file(results / "catalogues" / catalogue, settings, group.name))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a small JSON file."""
    write_bytes(path, to_document(content))


def machine() -> str:
    """Name the machine and the versions that matter."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    processor = models[0].split(":")[1].strip() if models else platform.machine()
    return (
        f"{len(os.sched_getaffinity(0))} cores of {processor}, Python {platform.python_version()}, "
        f"snakemake {version('snakemake')}"
    )


if __name__ == "__main__":
    sys.exit(main())
