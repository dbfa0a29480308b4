"""What `skymill gc` costs on a run of 10^5 tiles: finding garbage, and deleting it.

The run is that of `workflow_noop.py`, made up. The tiles of its catalogue `mlp` have files of a few bytes, and it was
sealed three times, each time with another tenth of its tiles: as release DR1, for nobody, and as the current version.

    python benchmarks/garbage.py --tiles 100_000 --folder FOLDER
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from workflow_noop import TILE_ROWS, machine, make_groups, write_results, write_survey

from skymill.cli.chain import Chain
from skymill.config import read_yaml
from skymill.config.run import GateSettings
from skymill.release import Content, publish
from skymill.sky import Tile
from skymill.store import Accounting, GroupManifest, TileEntry, digest, group_file, seal
from skymill.store.paths import pool_file

GC = [sys.executable, "-c", "from skymill.cli.main import main; main()", "gc", "--configfile", "config.yaml"]
CATALOGUE = "mlp"
CHANGED = 10
"""One of so many tiles changes from version to version."""


def main() -> int:
    """Make the run, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=100_000, help="at most 196,608")
    parser.add_argument("--folder", type=Path, help="where the run is made up; default a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name, contextlib.chdir(name):
        write_survey(Path())
        write_results(Path(), arguments.tiles)
        write_versions(arguments.tiles)
        print(f"{arguments.tiles:,} tiles; {machine()}\n")
        print("| command | garbage | wall, s | CPU, s | peak memory, MB |\n|---|---|---|---|---|")
        for options in ([], ["--yes"], []):
            garbage, wall, cpu, memory = measure("--older-than", "0", *options)
            print(
                f"| `skymill gc {' '.join(options)}` | {garbage} | {wall:.1f} | {cpu:.1f} | {memory:.0f} |", flush=True
            )
    return 0


def write_versions(n_tiles: int) -> None:
    """Seal the catalogue three times, and publish what was sealed first."""
    chain = Chain.from_config(read_yaml("config.yaml"))
    root, settings = Path(chain.output, "catalogues", CATALOGUE), chain.catalogue_settings(CATALOGUE)
    for version in range(3):
        groups = []
        for group in make_groups(n_tiles):
            entries = tuple(write_tile(root, tile, version) for tile, _ in group.tiles)
            groups.append(GroupManifest(CATALOGUE, settings, group.name, {"group": group.digest}, entries))
            groups[-1].write(group_file(root, settings, group.name))
        seal(root, groups)
        if not version:
            content = Content(Path(chain.output), [CATALOGUE], [])
            publish(content, "DR1", gate=GateSettings(), page=lambda told, folder: folder)


def write_tile(root: Path, tile: Tile, version: int) -> TileEntry:
    """Write the file of a tile; it is another one than in the version before if its turn has come."""
    content = version if tile.pixel % CHANGED == version else -1
    key = digest({"tile": str(tile), "content": content})
    path = root / pool_file(tile, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"made up")
    return TileEntry(*tile, key, key[::-1], path.stat().st_size, TILE_ROWS, Accounting(TILE_ROWS, TILE_ROWS))


def measure(*options: str) -> tuple[str, float, float, float]:
    """Give what a call found, its wall and CPU seconds and its peak memory (MB)."""
    started = time.perf_counter()
    with Path("told.json").open("w") as file:
        process = subprocess.Popen([*GC, "--json", *options], stdout=file)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall, told = time.perf_counter() - started, json.loads(Path("told.json").read_text())
    if process.returncode:
        raise RuntimeError(f"skymill gc: status {process.returncode}")
    deleted = {kind: len(told["catalogues"][CATALOGUE][kind]["deleted"]) for kind in ("versions", "tiles")}
    words = ", ".join(f"{n:,} {kind}" for kind, n in deleted.items())
    return words, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3


if __name__ == "__main__":
    sys.exit(main())
