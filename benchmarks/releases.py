"""What releases cost: publishing, verifying, comparing and copying, against the disk, SHA-256 and pandas.

`rows`: a classification catalogue with its features, of drawn answers, published three times: DR1 from nothing, DR2
with a tenth of the tiles made by another model, DR3 with all of them. Verifying and copying stand beside reading the
same bytes and beside their SHA-256 in one thread; `diff` beside pandas, which reads the same columns from Parquet,
merges them on `objectId`, and has to count the same flips.

`tiles`: `publish_if_new` where nothing is new, for three catalogues of 10^5 tiles, of which only the tables are read
(what Snakemake takes to plan such a release is in `workflow_noop.py`).

`many`: `skymill release list` and `show` where 100 releases stand.

Every step runs in a process of its own. CPU is that of all its processes, and what to go by on a shared machine; the
clock says as much of who else is at work. MB are those that are verified or copied, of a comparison those of pandas'
tables. `cold` means that the page cache was asked to let go of the files before (POSIX_FADV_DONTNEED), which a disk's
own cache need not heed; everything else is read from the page cache.

    python benchmarks/releases.py --rows 10_000_000 --repeats 3 --folder FOLDER
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from inference_inputs import untrained_mlp
from numpy.typing import NDArray
from peers.small_tiles import tiles_of, write_ours
from processes import family_cpu_s, peak_memory
from workflow_noop import machine

from skymill import open_catalogue, release
from skymill.config.run import GateSettings
from skymill.release import Content
from skymill.report.diffing import diff_page
from skymill.sky import Tile, at_order, tile_centres
from skymill.store import Accounting, GroupManifest, Pool, TileEntry, TileWriter, Variable, digest, seal

CLASSES = ("GALAXY", "QSO", "STAR")
FEATURES = ("i_asinh_mag", *(f"f{number}" for number in range(1, 44)))
TILE_ORDER = 5
BLOCK = 1 << 20
SETTINGS = "0" * 64
COMMAND = [sys.executable, "-c", "from skymill.cli.main import main; main()", "release"]
IDENTITY = {
    "objectId": Variable.of_rows(np.int64),
    "_healpix_29": Variable.of_rows(np.int64),
    "coord_ra": Variable.of_rows(np.float64, units="deg"),
    "coord_dec": Variable.of_rows(np.float64, units="deg"),
    "flags": Variable.of_rows(np.int32, flag_masks=[1], flag_meanings="odd"),
}
FORMS = {
    "features": IDENTITY | {"features": Variable.of_rows(np.float32, dim="feature", columns=FEATURES)},
    "mlp": IDENTITY
    | {
        "probabilities": Variable.of_rows(np.float32, dim="class_name", columns=CLASSES, units="1"),
        "class": Variable.of_rows(np.int8),
        "entropy": Variable.of_rows(np.float32),
        "conformal_set": Variable.of_rows(np.int16),
        "training_distance": Variable.of_rows(np.float16, units="1"),
    },
}
MODELS_OF = {"DR1": lambda _: 0, "DR2": lambda pixel: int(pixel % 10 == 0), "DR3": lambda _: 2}
"""By release: which model's answers the tile at a pixel holds."""


@dataclass(frozen=True)
class Cost:
    """What a step took: seconds by the clock, CPU-seconds of all its processes, most memory (MB) at one time."""

    clock_s: float
    cpu_s: float
    peak_MB: float


@dataclass(frozen=True)
class Step:
    """A line of the table: what was done, to how many rows and bytes, and what each repeat took."""

    name: str
    rows: int
    n_bytes: int
    costs: Sequence[Cost]

    @property
    def cost(self) -> Cost:
        """Medians over the repeats."""
        names = ("clock_s", "cpu_s", "peak_MB")
        return Cost(*(median(getattr(cost, name) for cost in self.costs) for name in names))


def main() -> None:
    """Measure what is asked for, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the release")
    parser.add_argument("--tile-rows", type=int, default=50_000, help="rows of each of its tiles")
    parser.add_argument("--tiles", type=int, default=100_000, help="of each catalogue in `tiles`")
    parser.add_argument("--releases", type=int, default=100, help="in `many`")
    parser.add_argument("--repeats", type=int, default=3, help="medians of so many")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes of a comparison")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS), help="some of the parts")
    parser.add_argument("--folder", type=Path, help="where releases are made up; default a temporary folder")
    arguments = parser.parse_args()
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "pandas", "pyarrow", "zarr"))
    print(f"{machine()}, {versions}; load {os.getloadavg()[0]:.1f}\n")
    for part in arguments.only:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            print_table(f"`{part}`", PARTS[part](Path(name), arguments))
        print(f"\nload {os.getloadavg()[0]:.1f}\n", flush=True)


def measured(step: Callable[..., Any], *arguments: Any, **options: Any) -> Cost:
    """Do a step in a process of its own; the process stands, with all imports of this file, before it is timed."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(cost_of, step, *arguments, **options).result()


def cost_of(step: Callable[..., Any], *arguments: Any, **options: Any) -> Cost:
    """Do a step and say what it took."""
    with peak_memory(every_s=0.5) as peak:
        cpu, clock = cpu_seconds(), time.perf_counter()
        step(*arguments, **options)
        clock_s, cpu_s = time.perf_counter() - clock, cpu_seconds() - cpu
    return Cost(clock_s, cpu_s, peak[0])


def cpu_seconds() -> float:
    """CPU of this process, to the microsecond, and of all below it, those that have ended included."""
    used = (resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    below = sum(family_cpu_s(child) for child in psutil.Process().children())
    return below + sum(each.ru_utime + each.ru_stime for each in used)


def measure_rows(folder: Path, arguments: argparse.Namespace) -> Iterator[Step]:
    """Publish three releases; verify, compare and copy them, each beside its peers."""
    run, rows, repeats = folder / "run", arguments.rows, arguments.repeats
    catalogue = Drawn(run, rows, arguments.tile_rows)
    published: dict[str, list[Cost]] = {name: [] for name in MODELS_OF}
    for _ in range(repeats):
        shutil.rmtree(run / "releases", ignore_errors=True)
        for name in published:
            content = catalogue.seal(name)
            published[name].append(measured(publish, content, name, arguments.workers))
    files = {name: files_below(run / "releases" / name) for name in MODELS_OF}
    for name, costs in published.items():
        yield Step(f"publish {name}", rows, n_bytes(files[name]), costs)
    yield from measure_reading(run, rows, files["DR3"], repeats)
    for name in ("DR2", "DR3"):
        yield from measure_diff(run, rows, name, repeats, arguments.workers)
    for number, tar in enumerate((False, True)):
        copies = [folder / f"{number}-{repeat}" for repeat in range(repeats)]
        costs = [measured(release.copy_release, run, "DR3", copy, tar=tar) for copy in copies]
        yield Step(f"copy DR3 to a {'tar file' if tar else 'folder'}", rows, n_bytes(files["DR3"]), costs)


def measure_reading(run: Path, rows: int, files: Sequence[Path], repeats: int) -> Iterator[Step]:
    """Verify a release; read and hash the same bytes."""
    size = n_bytes(files)
    cold: dict[str, list[Cost]] = {"read, cold": [], "verify DR3, cold": []}
    for _ in range(repeats):
        forget(files)
        cold["read, cold"].append(measured(read, files))
        forget(files)
        cold["verify DR3, cold"].append(measured(verify, run, "DR3"))
    for name, costs in cold.items():
        yield Step(name, rows, size, costs)
    yield Step("read", rows, size, [measured(read, files) for _ in range(repeats)])
    yield Step("SHA-256, one thread", rows, size, [measured(sha256, files) for _ in range(repeats)])
    yield Step("verify DR3", rows, size, [measured(verify, run, "DR3") for _ in range(repeats)])


def measure_diff(
    run: Path, rows: int, name: str, repeats: int, workers: int, *, measure: Callable[..., Cost] = measured
) -> Iterator[Step]:
    """Compare a release with the first, and the same with pandas; the flips must be the same."""
    output = run.parent / "diff"
    tables = [write_parquet(run, each, output / f"{each}.parquet") for each in ("DR1", name)]
    costs = [measure(diff, run, name, output, workers) for _ in range(repeats)]
    peer = [measure(pandas_diff, *tables, output) for _ in range(repeats)]
    told, expected = (json.loads((output / f"{who}.json").read_text()) for who in ("diff", "pandas"))
    found = {"rows": told["rows"]["matched"] + told["rows"]["in_shared_tiles"], "flips": told["flips"]["count"]}
    if found != expected:
        raise RuntimeError(f"diff DR1 {name}: expected what pandas counts, {expected}, found {found}")
    size = n_bytes(tables)
    yield Step(f"diff DR1 {name}", rows, size, costs)
    yield Step(f"pandas, DR1 and {name}", rows, size, peer)


def measure_tiles(
    folder: Path, arguments: argparse.Namespace, *, measure: Callable[..., Cost] = measured
) -> Iterator[Step]:
    """Publish catalogues of very many tiles, and find again and again that nothing is new."""
    names, tiles, rows = ("sources", "features", "mlp"), tiles_of(arguments.tiles), 1000
    for name in names:
        write_ours(folder / "catalogues" / name, tiles, {tiles[0]}, rows)
    content = Content(folder, names, [])
    tables = n_bytes(folder.glob("catalogues/*/versions/*/tiles.parquet"))
    yield Step("publish", 0, tables, [measure(publish_if_new, content, "DR1")])
    nothing = [measure(publish_if_new, content, "DR2") for _ in range(arguments.repeats)]
    yield Step("publish_if_new, nothing new", 0, tables, nothing)


def measure_many(folder: Path, arguments: argparse.Namespace) -> Iterator[Step]:
    """List and show releases, where there is one and where there are many."""
    content = Drawn(folder, 1000, 1000).seal("DR1")
    for number in range(1, arguments.releases + 1):
        publish(content, f"DR{number}", 1)
        if number in (1, arguments.releases):
            for words in (("list",), ("show", "DR1")):
                costs = [measured(command, *words, "--run", str(folder)) for _ in range(arguments.repeats)]
                yield Step(f"skymill release {' '.join(words)}, of {number}", 0, 0, costs)


PARTS: dict[str, Callable[[Path, argparse.Namespace], Iterator[Step]]] = {
    "rows": measure_rows,
    "tiles": measure_tiles,
    "many": measure_many,
}


def print_table(title: str, steps: Iterator[Step]) -> None:
    """Print what steps took."""
    print(f"| {title} | CPU, s | clock, s | rows/s | MB/s, clock | MB per CPU s | peak, MB |")
    print("|---|---|---|---|---|---|---|")
    for step in steps:
        cost, size, name, speeds = step.cost, step.n_bytes / 1e6, step.name, " | | "
        if step.rows:
            name = f"{step.name} ({size:,.0f} MB)"
            speeds = f"{step.rows / cost.clock_s:,.0f} | {size / cost.clock_s:,.0f} | {size / cost.cpu_s:,.0f}"
        print(f"| {name} | {cost.cpu_s:.2f} | {cost.clock_s:.2f} | {speeds} | {cost.peak_MB:,.0f} |", flush=True)


class Drawn:
    """A run of drawn answers: features, and a model's catalogue that is sealed with the answers of several models."""

    def __init__(self, run: Path, rows: int, tile_rows: int) -> None:
        self.run = run
        self.sizes = [min(tile_rows, rows - start) for start in range(0, rows, tile_rows)]
        self.entries: dict[tuple[int, int], TileEntry] = {}
        self._seal("features", [self._tile("features", pixel, 0) for pixel in range(len(self.sizes))])
        model = run / "models" / "mlp"
        model.mkdir(parents=True)
        (model / "manifest.json").write_text(json.dumps({"fit": None}))
        (model / "model.onnx").write_bytes(untrained_mlp())

    def seal(self, name: str) -> Content:
        """Make the answers of a release the current ones; give what is to be published."""
        for key in enumerate(map(MODELS_OF[name], range(len(self.sizes)))):
            if key not in self.entries:
                self.entries[key] = self._tile("mlp", *key)
        self._seal("mlp", [self.entries[key] for key in enumerate(map(MODELS_OF[name], range(len(self.sizes))))])
        return Content(self.run, ["features", "mlp"], ["mlp"], {"name": "drawn"}, "i_asinh_mag")

    def _tile(self, name: str, pixel: int, model: int) -> TileEntry:
        tile, rows = Tile(TILE_ORDER, pixel), self.sizes[pixel]
        ingredients = {"catalogue": name, "pixel": pixel, "rows": rows, "model": model}
        key, account, pool = digest(ingredients), Accounting(n_in=rows, n_ok=rows), Pool(self.run / "catalogues" / name)
        receipt = {"key": key, "ingredients": ingredients, "accounting": account.as_dict()}
        with TileWriter(pool.path(tile, key), FORMS[name], rows, staging=pool.staging) as writer:
            own = features_of(pixel, rows) if name == "features" else answers_of(pixel, rows, model)
            writer.append(identity_of(pixel, rows) | own)
            file = writer.commit(receipt=receipt)
        return TileEntry(*tile, key, file.sha256, file.n_bytes, rows, account)

    def _seal(self, name: str, entries: Sequence[TileEntry]) -> None:
        seal(self.run / "catalogues" / name, [GroupManifest(name, SETTINGS, "all", {}, tuple(entries))])


def identity_of(pixel: int, rows: int) -> dict[str, NDArray[Any]]:
    """Draw ids and positions of a tile's sources; ids are not in the order of the sky."""
    random, width = np.random.default_rng([pixel, 0]), 2 * (29 - TILE_ORDER)
    position = np.sort(random.integers(pixel << width, (pixel + 1) << width, rows))
    ra, dec = tile_centres(29, position)
    ids = (pixel << 40) + random.permutation(rows)
    flags = (random.random(rows) < 0.05).astype(np.int32)
    return {"objectId": ids, "_healpix_29": position, "coord_ra": ra, "coord_dec": dec, "flags": flags}


def features_of(pixel: int, rows: int) -> dict[str, NDArray[Any]]:
    """Draw features: magnitudes all of them."""
    random = np.random.default_rng([pixel, 1])
    return {"features": 22 + 2 * random.standard_normal((rows, len(FEATURES)), np.float32)}


def answers_of(pixel: int, rows: int, model: int) -> dict[str, NDArray[Any]]:
    """Draw answers: what all models agree on, and what is each one's own."""
    shared, own = np.random.default_rng([pixel, 2]), np.random.default_rng([pixel, 3, model])
    score = 4 * shared.standard_normal((rows, 3), np.float32) + 0.2 * own.standard_normal((rows, 3), np.float32)
    power = np.exp(score - score.max(axis=1, keepdims=True))
    p = power / power.sum(axis=1, keepdims=True)
    return {
        "probabilities": p,
        "class": p.argmax(axis=1).astype(np.int8),
        "entropy": -(p * np.log(np.maximum(p, 1e-7))).sum(axis=1),
        "conformal_set": ((p > 0.1) @ np.array([1, 2, 4])).astype(np.int16),
        "training_distance": own.random(rows, np.float32).astype(np.float16),
    }


def publish(content: Content, name: str, workers: int) -> None:
    """Publish with the page of what moved."""
    release.publish(content, name, gate=GateSettings(), page=diff_page, workers=workers)


def publish_if_new(content: Content, name: str) -> None:
    """Publish what is new, as the last job of a scheduled run does."""
    release.publish_if_new(content, name, gate=GateSettings(), page=diff_page)


def verify(run: Path, name: str) -> None:
    """Verify a release, which has to be whole."""
    report = release.verify_release(run, name)
    if not report.ok:
        raise RuntimeError("\n".join(report.lines()))


def diff(run: Path, name: str, output: Path, workers: int) -> None:
    """Compare a release with the first."""
    (sides,) = release.compared("DR1", name, run)
    release.diff(sides.before, sides.after, output, features=sides.features, magnitude="i_asinh_mag", workers=workers)


def command(*words: str) -> None:
    """Run `skymill release`."""
    subprocess.run([*COMMAND, *words], check=True, stdout=subprocess.DEVNULL)


def files_below(folder: Path) -> list[Path]:
    """Give the files of a release, those of its versions included."""
    return [Path(where, name) for where, _, names in os.walk(folder, followlinks=True) for name in names]


def n_bytes(files: Iterable[Path]) -> int:
    """Bytes of some files."""
    return sum(path.stat().st_size for path in files)


def forget(files: Iterable[Path]) -> None:
    """Ask the page cache to let go of some files."""
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read(files: Iterable[Path]) -> None:
    """Read some files."""
    buffer = bytearray(BLOCK)
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def sha256(files: Iterable[Path]) -> None:
    """Hash some files, one after the other."""
    for path in files:
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")


def write_parquet(run: Path, name: str, path: Path) -> Path:
    """Write the columns that a comparison takes as one Parquet table."""
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        at = run / "releases" / name / "catalogues"
        answers = open_catalogue(at / "mlp").to_xarray([*IDENTITY, "class", "probabilities"]).compute()
        magnitude = open_catalogue(at / "features").to_xarray(["features"])["features"][:, 0].to_numpy()
        columns = {each: answers[each].to_numpy() for each in (*IDENTITY, "class")} | {"magnitude": magnitude}
        columns |= dict(zip(CLASSES, answers["probabilities"].to_numpy().T, strict=True))
        pq.write_table(pa.table({each: np.ascontiguousarray(values) for each, values in columns.items()}), path)
    return path


def pandas_diff(before: Path, after: Path, output: Path) -> None:
    """Compare two tables with pandas: transitions, changes by magnitude and over the sky, and the rows that changed."""
    both = pd.read_parquet(before).merge(pd.read_parquet(after), on="objectId", suffixes=("_before", "_after"))
    pd.crosstab(both["class_before"], both["class_after"])
    sides = (both[[f"{name}_{side}" for name in CLASSES]].to_numpy() for side in ("before", "after"))
    both["change"] = np.abs(np.subtract(*sides)).max(axis=1)
    both["flipped"] = both["class_before"] != both["class_after"]
    both["change"].quantile([0.5, 0.9, 0.99, 0.999])
    both.groupby((2 * both["magnitude_after"]).round())[["flipped", "change"]].mean()
    both.groupby(at_order(both["_healpix_29_after"].to_numpy(), 6))[["flipped", "change"]].mean()
    both[both["flipped"] | (both["change"] >= 0.01)].to_parquet(output / "delta.parquet", compression="zstd")
    (output / "pandas.json").write_text(json.dumps({"rows": len(both), "flips": int(both["flipped"].sum())}))


if __name__ == "__main__":
    main()
