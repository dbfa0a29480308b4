"""Partitioning against hats-import: the very same Parquet files to a HATS catalogue, and to our source catalogue.

The raw table of the embedded survey is written as Parquet files of a million rows, 34 columns. hats-import stands in
its own environment, given by the interpreter `--peer-python`:

    python3.11 -m venv peers && peers/bin/pip install -r envs/peers.txt
    python benchmarks/peers_partition.py --rows 10_000_000 --folder FOLDER --peer-python peers/bin/python

Both have the same number of single-thread Dask workers, which stand before anything is timed, the same bound of rows
per tile, the same rule for tiles, and sort by position and id. `hats-import, zstd 1` writes with a fast compression in
place of its default, zstd 15. On a busy machine the ratio of CPU-seconds is the steadier one.

We also look at every row through the gate, compare all ids over the whole sky, put aside conflicting and exclude equal
rows, hash what is read and written, and sync each tile. The survey is made without faulty rows (`--bad-rows`). Both
must account for every row of the tables: hats-import in its leaves, we in tiles, refused or put aside.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from embedded_survey import embedded_survey
from peers import sides
from peers.raw_tables import write_tables
from peers.sides import Side, bytes_below, medians

from skymill.store import GroupManifest

LEVELS = {"hats-import": None, "hats-import, zstd 1": 1}


def main() -> None:
    """Make the tables, measure in turn, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--tile-rows", type=int, default=500_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bad-rows", type=float, default=0.0, help="share of faulty rows")
    parser.add_argument("--folder", type=Path, required=True, help="the tables are kept here")
    parser.add_argument("--peer-python", type=Path, required=True, help="interpreter of the peer's environment")
    arguments = parser.parse_args()
    settings = embedded_survey(arguments.rows, bad_rows=arguments.bad_rows).simulation
    assert settings is not None
    tables = arguments.folder / "tables"
    n_rows = write_tables(tables, settings, arguments.workers)
    found = measure(arguments, tables, n_rows)
    told = {"rows": n_rows, "table_MB": bytes_below(tables) / 1e6, **sides.machine()}
    told["versions"] = {
        "ours": sides.versions(sys.executable, ("zarr", "dask", "pyarrow", "numpy")),
        "peer": sides.versions(arguments.peer_python, ("hats-import", "hats", "dask", "pyarrow", "pandas", "numpy")),
    }
    costs = {name: medians(runs) for name, runs in found.items()}
    ratios = {
        name: {key: round(costs[name][key] / costs["ours"][key], 2) for key in ("wall_s", "cpu_s", "peak_MB", "MB")}
        for name in LEVELS
    }
    print(json.dumps({**told, "costs": costs, "ratios": ratios}, indent=1))


def measure(arguments: argparse.Namespace, tables: Path, n_rows: int) -> dict[str, list[dict[str, Any]]]:
    """Run the sides in turn and check that none loses a row."""
    found: dict[str, list[dict[str, Any]]] = {}
    output, job = arguments.folder / "output", {"tables": str(tables), "tile_rows": arguments.tile_rows}
    with (
        Side("peer", arguments.peer_python, "hats_partition.py", "--workers", arguments.workers, own=False) as peer,
        Side("ours", sys.executable, "skymill_partition.py", "--workers", arguments.workers) as ours,
    ):
        for repeat in range(arguments.repeats):
            for name in sorted(("ours", *LEVELS), reverse=not repeat % 2):
                shutil.rmtree(output, ignore_errors=True)
                output.mkdir()
                if name == "ours":
                    cost = our_turn(ours, output, job)
                else:
                    cost = their_turn(peer, output, {**job, "level": LEVELS[name]})
                if cost["accounted"] != n_rows:
                    raise ValueError(f"{name}: expected {n_rows} rows accounted for, found {cost['accounted']}")
                found.setdefault(name, []).append(cost)
                print(name, json.dumps(cost), file=sys.stderr, flush=True)
        shutil.rmtree(output)
    return found


def our_turn(side: Side, output: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Plan and partition; count tiles and rows, those refused or put aside included."""
    cost = side.ask(output=str(output), **job)
    groups = [GroupManifest.read(path) for path in cost.pop("manifests")]
    accounted = sum(group.accounting.n_in for group in groups) + cost["refused"]
    tiles = sum(len(group.tiles) for group in groups)
    return {**cost, "tiles": tiles, "accounted": accounted, "MB": bytes_below(output / "catalogues") / 1e6}


def their_turn(side: Side, output: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Import; count leaves and the rows they hold."""
    cost = side.ask(output=str(output), **job)
    leaves = list((output / "imported" / "dataset").rglob("Npix=*.parquet"))
    rows = sum(pq.read_metadata(leaf).num_rows for leaf in leaves)
    return {**cost, "tiles": len(leaves), "accounted": rows, "MB": bytes_below(output) / 1e6}


if __name__ == "__main__":
    main()
