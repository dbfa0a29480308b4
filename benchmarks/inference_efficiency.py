"""Pipeline efficiency: rows/s of the inference stage over rows/s of a bare read-ORT-write loop, in the same run.

Both read the same feature tiles and run the same MLP (20-64-64-3) in blocks of the same size in the same number of
processes. The bare loop is the least that gives the same columns: it reads ids, positions, flags and features, runs the
model, takes class and entropy, and writes one uncompressed `.npz` per tile. It has no keys, receipts, digests, fsyncs,
quarantine or manifests. Processes stand and are warm before either is timed (the stage
joins a standing cluster), since their start does not grow with the rows. On a busy machine the ratio per CPU-second is
the steadier one; the ratio by the clock also holds what the disk takes to sync.

    python benchmarks/inference_efficiency.py --rows 10_000_000 --workers 2
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import multiprocessing.pool
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from inference_inputs import write_inputs
from processes import family_cpu_s

from skymill.compute.cluster import DASK_CONFIG
from skymill.config import ComputeSettings
from skymill.config.run import InferenceSettings
from skymill.inference.session import load_session
from skymill.inference.stage import run
from skymill.store import GroupManifest, Pool, file_sha256, open_tile

BLOCK_ROWS = 2048


def main() -> None:
    """Measure and print one JSON line per repeat and one with the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--tile-rows", type=int, default=500_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the tiles are made; default a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name, standing(arguments.workers) as (processes, address):
        features, onnx = write_inputs(Path(name), rows=arguments.rows, tile_rows=arguments.tile_rows)
        loops = {
            "bare_loop": lambda: bare_loop(features, onnx, Path(name) / "bare", processes),
            "stage": lambda: stage(features, onnx, Path(name) / "results", arguments.workers, scheduler=address),
        }
        for loop in loops.values():
            loop()  # imports, sessions, page cache
        found = []
        for repeat in range(arguments.repeats):
            order = sorted(loops, reverse=bool(repeat % 2))
            found.append(measure({loop: loops[loop] for loop in order}, arguments.rows))
            print(json.dumps(found[-1]), flush=True)
        medians = {key: round(float(np.median([one[key] for one in found])), 3) for key in found[0]}
        print(json.dumps({"rows": arguments.rows, "workers": arguments.workers, **medians}))


def measure(loops: dict[str, Callable[[], float]], rows: int) -> dict[str, float]:
    """Rows/s by the clock and per CPU-second of all processes, and the two ratios."""
    rates: dict[str, float] = {}
    for name, loop in loops.items():
        before = family_cpu_s()
        rates[name] = round(rows / loop())
        rates[f"{name}_per_cpu"] = round(rows / (family_cpu_s() - before))
    return {
        **rates,
        "efficiency": round(rates["stage"] / rates["bare_loop"], 3),
        "efficiency_cpu": round(rates["stage_per_cpu"] / rates["bare_loop_per_cpu"], 3),
    }


@contextmanager
def standing(workers: int) -> Iterator[tuple[multiprocessing.pool.Pool, str]]:
    """Worker processes for the bare loop and a Dask cluster for the stage; both stand before anything is timed."""
    import dask
    from distributed import LocalCluster

    os.environ["OMP_NUM_THREADS"] = "1"
    with (
        dask.config.set(DASK_CONFIG),
        multiprocessing.get_context("spawn").Pool(workers) as processes,
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster,
    ):
        yield processes, cluster.scheduler_address


def stage(features: Path, onnx: Path, output: Path, workers: int, *, scheduler: str = "local") -> float:
    """Seconds of the inference stage."""
    start = time.perf_counter()
    run(
        features,
        onnx,
        output=output,
        model="mlp",
        settings=InferenceSettings(block_rows=BLOCK_ROWS),
        compute=ComputeSettings(scheduler=scheduler),
        workers=workers,
    )
    seconds = time.perf_counter() - start
    shutil.rmtree(output)
    return seconds


def bare_loop(features: Path, onnx: Path, output: Path, processes: multiprocessing.pool.Pool) -> float:
    """Seconds of the bare loop."""
    start = time.perf_counter()
    pool = Pool(features.parents[2])
    paths = [str(pool.path(entry.tile, entry.key)) for entry in GroupManifest.read(features).tiles]
    output.mkdir(parents=True)
    sha256 = file_sha256(onnx)
    jobs = [(path, str(onnx), sha256, str(output / f"{number}")) for number, path in enumerate(paths)]
    processes.starmap(bare_tile, jobs, chunksize=1)
    seconds = time.perf_counter() - start
    shutil.rmtree(output)
    return seconds


def bare_tile(path: str, onnx: str, sha256: str, output: str) -> None:
    """Read a tile, run the model, write the columns as one `.npz`."""
    session, tile = load_session(onnx, sha256, "cpu"), open_tile(path)
    parts = []
    for block in tile.blocks():
        features = block.pop("features")
        p = np.empty((len(features), len(session.schema.classes)), np.float32)
        for row in range(0, len(features), BLOCK_ROWS):
            p[row : row + BLOCK_ROWS] = session(features[row : row + BLOCK_ROWS]).probabilities
        entropy = -(p * np.log(np.maximum(p, 1e-30))).sum(axis=1)
        parts.append({**block, "probabilities": p, "class": p.argmax(axis=1).astype(np.int8), "entropy": entropy})
    np.savez(output, **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


if __name__ == "__main__":
    main()
