"""Peak memory of the inference workers against the size of the survey; it must stay flat.

Each size runs the stage on its own feature tiles; a sampler reads the peak resident memory (VmHWM) of the worker
processes until they end.

    python benchmarks/inference_memory.py --rows 1_000_000 10_000_000 30_000_000 --workers 2
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import threading
from pathlib import Path

import psutil
from inference_efficiency import stage
from inference_inputs import write_inputs

SAMPLE_S = 0.05


def main() -> None:
    """Print one JSON line per size and one with the spread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[200_000, 1_000_000])
    parser.add_argument("--tile-rows", type=int, default=500_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the tiles are made; default a temporary folder")
    arguments = parser.parse_args()
    peaks = []
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            features, onnx = write_inputs(Path(name), rows=rows, tile_rows=arguments.tile_rows)
            with PeakMemory() as memory:
                seconds = stage(features, onnx, Path(name) / "results", arguments.workers)
        busiest = sorted(memory.peaks.values())[-arguments.workers :]
        peaks.append(max(busiest))
        print(
            json.dumps({"rows": rows, "seconds": round(seconds, 1), "peak_MB": [round(p / 1e6) for p in busiest]}),
            flush=True,
        )
    print(json.dumps({"spread": round(max(peaks) / min(peaks) - 1, 3)}))


class PeakMemory:
    """Peak resident memory of each child process, in bytes."""

    def __init__(self) -> None:
        self.peaks: dict[int, int] = {}
        self._stop = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._sampler.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._sampler.join()

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            for process in psutil.Process().children(recursive=True):
                try:
                    status = Path(f"/proc/{process.pid}/status").read_text()
                except OSError:
                    continue  # it has just ended
                if peak := re.search(r"VmHWM:\s+(\d+) kB", status):
                    self.peaks[process.pid] = max(self.peaks.get(process.pid, 0), int(peak[1]) * 1000)


if __name__ == "__main__":
    main()
