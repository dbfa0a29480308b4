"""Inference against lsdb: `map_partitions` with scikit-learn's `predict_proba`, the same rows, features and models.

The features of the embedded survey are written twice, as our feature catalogue and as a HATS catalogue: the same tiles,
rows and float32 values. lsdb stands in its own environment, given by the interpreter `--peer-python`:

    python3.11 -m venv peers && peers/bin/pip install -r envs/peers.txt
    python benchmarks/peers_inference.py --rows 10_000_000 --folder FOLDER --peer-python peers/bin/python \\
        --training-set results/training/sets/DIGEST.parquet

Both sides have the same number of single-thread Dask workers, which stand before anything is timed, and both write a
catalogue. `forest` and `mlp` are one model on both sides: the same trees, and the weights that scikit-learn trained,
exported by our converters; probabilities must agree to 1e-4, else the comparison stops. `shipped ...` are ours alone,
as the workflow exports them, with calibration, conformal sets and distance. `lsdb, zstd 1` is lsdb writing with a fast
compression in place of its default, zstd 15. On a busy machine the ratio of CPU-seconds is the steadier one.

Our stage also gives flags, entropy, refuses to score rows without a measurement, writes checksums and receipts, syncs
each tile and names it in a manifest by its digest; lsdb writes id, position, probabilities and class.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from peers import models, sides
from peers.feature_tables import write_features
from peers.hats_catalogue import leaf_path
from peers.sides import Side, bytes_below, medians

from skymill.sky import Tile
from skymill.store import GroupManifest, Pool, open_tile

TOLERANCE = 1e-4
"""What the parity gate of the export allows between a fitted model and its file."""
PAIRS = {
    "forest": ("forest", None, "forest"),
    "mlp": ("mlp", None, "mlp"),
    "mlp; lsdb, zstd 1": ("mlp", 1, "mlp"),
    "shipped forest": ("forest", None, "shipped_forest"),
    "shipped oblivious": ("forest", None, "shipped_oblivious"),
    "shipped mlp": ("mlp", None, "shipped_mlp"),
}
"""Of each row of the result: the peer's model and compression, and ours."""


def main() -> None:
    """Make what is missing, measure in turn, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--tile-rows", type=int, default=500_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=sorted({pair[2] for pair in PAIRS.values()}), help="our models")
    parser.add_argument("--folder", type=Path, required=True, help="catalogues and models are kept here")
    parser.add_argument("--peer-python", type=Path, required=True, help="interpreter of the peer's environment")
    parser.add_argument("--training-set", type=Path, required=True, help="of a run on the embedded survey")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    runs = Comparison(arguments).run()
    told = {"rows": runs.n_rows, "tiles": runs.n_tiles, **sides.machine(), "differences": runs.differences}
    told["versions"] = {
        "ours": sides.versions(sys.executable, ("scikit-learn", "onnxruntime", "zarr", "dask", "numpy")),
        "peer": sides.versions(arguments.peer_python, ("lsdb", "hats", "scikit-learn", "dask", "pandas", "numpy")),
    }
    print(json.dumps({**told, "costs": runs.costs(), "ratios": runs.ratios()}, indent=1))


class Comparison:
    """Both sides over one catalogue."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.folder: Path = arguments.folder
        self.options = arguments
        self.pairs = {name: pair for name, pair in PAIRS.items() if not arguments.only or pair[2] in arguments.only}
        self.manifest, self.hats = write_features(
            self.folder, rows=arguments.rows, tile_rows=arguments.tile_rows, workers=arguments.workers
        )
        entries = GroupManifest.read(self.manifest).tiles
        self.n_rows, self.n_tiles = sum(entry.n_rows for entry in entries), len(entries)
        self.measured: dict[str, list[dict[str, Any]]] = {}
        self.differences: dict[str, float] = {}

    def run(self) -> Comparison:
        """Measure every pair as often as asked, the sides in turn."""
        data = models.write_rows(self.options.training_set, self.folder / "rows.npz")
        shipped = models.ship(self.options.training_set, self.folder)  # the forest of both sides is among them
        weights, workers = self.folder / "perceptron.npz", self.options.workers
        given = ("--rows", self.folder / "rows.npz", "--perceptron", weights, "--workers", workers)
        with (
            Side("peer", self.options.peer_python, "lsdb_inference.py", *given, own=False) as peer,
            Side("ours", sys.executable, "skymill_inference.py", "--workers", workers) as ours,
        ):
            files = {f"shipped_{name}": path for name, path in shipped.items()}
            files["forest"] = models.bare_forest(self.folder, data)
            files["mlp"] = models.bare_perceptron(self.folder, data, weights)
            for repeat in range(self.options.repeats):
                for name in sorted({pair[2] for pair in self.pairs.values()}, reverse=not repeat % 2):
                    self.our_turn(ours, name, files[name])
                    for level in [pair[1] for pair in self.pairs.values() if pair[2] == pair[0] == name]:
                        self.their_turn(peer, name, level)
                        self.compare(name)
        return self

    def our_turn(self, side: Side, name: str, onnx: Path) -> None:
        """Run our stage with a model."""
        output = self.folder / "ours"
        shutil.rmtree(output, ignore_errors=True)
        cost = side.ask(features=str(self.manifest), onnx=str(onnx), output=str(output))
        self.scored = Path(cost["manifest"])
        self.enter(f"ours, {name}", cost, output)

    def their_turn(self, side: Side, model: str, level: int | None) -> None:
        """Run lsdb with a model."""
        output = self.folder / "theirs"
        shutil.rmtree(output, ignore_errors=True)
        cost = side.ask(catalogue=str(self.hats), model=model, output=str(output), level=level)
        self.enter(peer_name(model, level), cost, output)

    def enter(self, name: str, cost: dict[str, Any], output: Path) -> None:
        """Keep a measurement and show it."""
        cost |= {"rows_per_s": round(self.n_rows / cost["wall_s"]), "MB": bytes_below(output) / 1e6}
        self.measured.setdefault(name, []).append(cost)
        shown = {key: round(value, 1) for key, value in cost.items() if sides.is_number(value)}
        print(name, json.dumps(shown), file=sys.stderr, flush=True)

    def compare(self, name: str) -> None:
        """Hold the probabilities of both sides against each other, row by row.

        Raises
        ------
        ValueError
            If they are not of the same rows, or further apart than `TOLERANCE`.
        """
        pool, worst = Pool(self.scored.parents[2]), 0.0
        for entry in GroupManifest.read(self.scored).tiles:
            theirs = pq.read_table(leaf_path(self.folder / "theirs", Tile(*entry.tile)))
            ours = list(open_tile(pool.path(entry.tile, entry.key)).blocks(["objectId", "probabilities"]))
            identifiers = np.concatenate([block["objectId"] for block in ours])
            if not np.array_equal(identifiers, theirs["objectId"].to_numpy()):
                raise ValueError(f"{entry.tile}: expected the same ids on both sides, found others")
            p = np.column_stack([theirs[column].to_numpy() for column in theirs.column_names if column[:2] == "p_"])
            worst = max(worst, models.largest_difference(np.concatenate([b["probabilities"] for b in ours]), p))
        self.differences[name] = max(worst, self.differences.get(name, 0.0))
        if worst > TOLERANCE:
            raise ValueError(f"{name}: probabilities differ by {worst:.2g}, more than {TOLERANCE}; not the same model")

    def costs(self) -> dict[str, dict[str, float]]:
        """Medians over the repeats."""
        return {name: medians(runs) for name, runs in self.measured.items()}

    def ratios(self) -> dict[str, dict[str, float]]:
        """How many times as much the peer needs, by the clock and in CPU."""
        costs, found = self.costs(), {}
        for name, (model, level, own) in self.pairs.items():
            if (theirs := costs.get(peer_name(model, level))) is not None:
                ours = costs[f"ours, {own}"]
                found[name] = {key: round(theirs[key] / ours[key], 2) for key in ("wall_s", "cpu_s")}
        return found


def peer_name(model: str, level: int | None) -> str:
    """Name a measurement of the peer."""
    return f"lsdb, {model}" + (f", zstd {level}" if level else "")


if __name__ == "__main__":
    main()
