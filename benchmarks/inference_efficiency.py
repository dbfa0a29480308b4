"""Pipeline efficiency: rows/s of the inference stage over rows/s of a bare read-ORT-write loop, in the same run.

Both read the same feature tiles and run the same MLP (20-64-64-3) in blocks of the same size in the same number of
processes. The bare loop is the least that gives the same columns: it reads ids, positions, flags and features, runs the
model, takes class and entropy, and writes the arrays of each chunk as uncompressed `.npy` records. It has no keys,
receipts, checksums, fsyncs, quarantine or manifests.

    python benchmarks/inference_efficiency.py --rows 10_000_000 --workers 2
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from skymill.config import ComputeSettings
from skymill.config.run import InferenceSettings
from skymill.inference.session import load_session
from skymill.inference.stage import run
from skymill.store import GroupManifest, Pool, file_sha256, open_tile

HERE = Path(__file__).parent
BLOCK_ROWS = 2048


def main() -> None:
    """Measure and print one JSON line per repeat and one with the medians."""
    from inference_inputs import write_inputs

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--tile-rows", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the tiles are made; default a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        features, onnx = write_inputs(Path(name), rows=arguments.rows, tile_rows=arguments.tile_rows)
        ratios = []
        for repeat in range(arguments.repeats):
            output = Path(name) / "results"
            # Either goes first in turn, so that neither has the warmer cache.
            first, second = (bare_loop, stage) if repeat % 2 == 0 else (stage, bare_loop)
            seconds = {f.__name__: f(features, onnx, output, arguments.workers) for f in (first, second)}
            rates = {key: arguments.rows / value for key, value in seconds.items()}
            ratios.append(rates["stage"] / rates["bare_loop"])
            print(
                json.dumps({**{k: round(v) for k, v in rates.items()}, "efficiency": round(ratios[-1], 3)}), flush=True
            )
        print(
            json.dumps(
                {"rows": arguments.rows, "workers": arguments.workers, "efficiency": round(float(np.median(ratios)), 3)}
            )
        )


def stage(features: Path, onnx: Path, output: Path, workers: int) -> float:
    """Seconds of the inference stage, start of the cluster included."""
    start = time.perf_counter()
    run(
        features,
        onnx,
        output=output,
        model="mlp",
        settings=InferenceSettings(block_rows=BLOCK_ROWS),
        compute=ComputeSettings(),
        workers=workers,
    )
    seconds = time.perf_counter() - start
    shutil.rmtree(output)
    return seconds


def bare_loop(features: Path, onnx: Path, output: Path, workers: int) -> float:
    """Seconds of the bare loop, start of its processes included."""
    start = time.perf_counter()
    pool = Pool(features.parents[2])
    paths = [str(pool.path(entry.tile, entry.key)) for entry in GroupManifest.read(features).tiles]
    output.mkdir(parents=True)
    context = multiprocessing.get_context("spawn")
    sha256 = file_sha256(onnx)
    jobs = [(path, str(onnx), sha256, str(output / f"{number}")) for number, path in enumerate(paths)]
    os.environ["OMP_NUM_THREADS"] = "1"
    with context.Pool(workers) as processes:
        processes.starmap(bare_tile, jobs, chunksize=1)
    seconds = time.perf_counter() - start
    shutil.rmtree(output)
    return seconds


def bare_tile(path: str, onnx: str, sha256: str, output: str) -> None:
    """Read a tile, run the model, write the columns."""
    session = load_session(onnx, sha256, "cpu")
    with Path(output).open("wb") as file:
        for block in open_tile(path).blocks():
            features = block.pop("features")
            probabilities = np.empty((len(features), len(session.schema.classes)), np.float32)
            for row in range(0, len(features), BLOCK_ROWS):
                probabilities[row : row + BLOCK_ROWS] = session(features[row : row + BLOCK_ROWS])
            entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-30))).sum(axis=1)
            for values in (*block.values(), probabilities, probabilities.argmax(axis=1).astype(np.int8), entropy):
                np.save(file, values)


if __name__ == "__main__":
    main()
