"""Opening and coning a catalogue of very many tiles: ours against hats and lsdb, the same tiles and rows.

The catalogue is made up: 2 x 10^5 tiles over the whole sky; those that a cone touches are real, all others are links to
one file. hats and lsdb stand in their own environment, given by the interpreter `--peer-python`:

    python3.11 -m venv peers && peers/bin/pip install -r envs/peers.txt
    python benchmarks/peers_reading.py --tiles 200_000 --folder FOLDER --peer-python peers/bin/python

Each repeat takes a fresh process and times its start with imports, the opening, a first cone, and another cone at
another place (`next`), at random centres, the sides in turn. Files are in the page cache on all sides. Cones must give
the same ids. hats finds the leaves, which pandas reads whole; lsdb is what its users call. Medians over the repeats.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from peers import sides
from peers.sides import Side, medians
from peers.small_tiles import Place, all_cones, cones_of, tiles_of, under, write_catalogues

RADII = (0.1, 1.0)
STEPS = ("start", "open", "first", "next")


def main() -> None:
    """Make the catalogues, measure in turn, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=200_000)
    parser.add_argument("--rows", type=int, default=1000, help="of each tile")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, required=True, help="the catalogues are kept here")
    parser.add_argument("--peer-python", type=Path, required=True, help="interpreter of the peers' environment")
    arguments = parser.parse_args()
    cones, tiles = cones_of(arguments.repeats, RADII), tiles_of(arguments.tiles)
    real = under(tiles, all_cones(cones))
    ours, hats = write_catalogues(arguments.folder, tiles, real, arguments.rows)
    commands = {
        "ours": (sys.executable, "skymill_reading.py", "--catalogue", str(ours)),
        "hats": (str(arguments.peer_python), "hats_reading.py", "--catalogue", str(hats), "--by", "hats"),
        "lsdb": (str(arguments.peer_python), "hats_reading.py", "--catalogue", str(hats), "--by", "lsdb"),
    }
    told = {"tiles": len(tiles), "real_tiles": len(real), "rows_per_tile": arguments.rows, **sides.machine()}
    told["versions"] = {
        "ours": sides.versions(sys.executable, ("zarr", "xarray", "numpy")),
        "peer": sides.versions(arguments.peer_python, ("hats", "lsdb", "pyarrow", "pandas", "numpy")),
    }
    print(json.dumps({**told, "radii": {radius: compare(commands, cones[radius]) for radius in RADII}}, indent=1))


def compare(commands: dict[str, tuple[str, ...]], cones: list[Place]) -> dict[str, Any]:
    """Measure all sides at one radius; give medians and ratios."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
    for repeat, pair in enumerate(zip(cones[::2], cones[1::2])):
        rows = {}
        for name in sorted(commands, reverse=bool(repeat % 2)):
            cost = measure(name, commands[name], pair)
            rows[name] = cost.pop("rows")
            found[name].append(cost)
            print(name, json.dumps({key: round(value, 4) for key, value in cost.items()}), file=sys.stderr, flush=True)
        if any(row != rows["ours"] for row in rows.values()):
            raise ValueError(f"cones {pair}: expected the same rows on all sides, found {rows}")
    costs = {name: medians(runs) for name, runs in found.items()}
    keys = [key for key in costs["ours"] if key.endswith("_s")]
    ratios = {
        name: {key: round(costs[name][key] / costs["ours"][key], 2) for key in keys}
        for name in commands
        if name != "ours"
    }
    return {"rows": rows["ours"], "costs": costs, "ratios": ratios}


def measure(name: str, command: tuple[str, ...], cones: tuple[Place, Place]) -> dict[str, Any]:
    """Start a process, open, read two cones."""
    started = time.perf_counter()
    python, script, *rest = command
    with Side(name, python, script, *rest, own=name == "ours") as side:
        steps = {"start": {"wall_s": time.perf_counter() - started, "cpu_s": side.cpu_s()}}
        steps |= {step: side.ask(cone=cone) for step, cone in zip(STEPS[1:], (None, *cones))}
    for step in STEPS[1:]:
        steps[step]["cpu_s"] = steps[step]["own_cpu_s"]  # these are one process, and too short for the system's ticks
    cost = {f"{step}_{key}": steps[step][key] for step in STEPS for key in ("wall_s", "cpu_s")}
    for key in ("wall_s", "cpu_s"):
        cost[f"to_first_{key}"] = sum(steps[step][key] for step in STEPS[:3])
    rows = [(steps[step]["n"], steps[step]["ids"]) for step in STEPS[2:]]
    return {**cost, "peak_MB": steps["next"]["peak_MB"], "rows": rows}


if __name__ == "__main__":
    main()
