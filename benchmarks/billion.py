"""A billion sources of the embedded survey to a sealed, verified classification catalogue, in bounded memory and disk.

The stages are those of the workflow, called group by group, as many groups at once as there are workers. The sources
and features of a group are deleted once it is classified, and the sorted rows that the plan keeps are dropped and
generated again by the group that needs them, so that the disk holds little more than the catalogue. Interrupted, it
goes on where it was.

    python benchmarks/billion.py --rows 10_000_000 --folder FOLDER --onnx results/models/mlp/DIGEST.onnx

The ONNX file is that of any run on the embedded survey. `ledger.json` in the folder adds up rows and CPU per
stage, and the seconds by the clock, over all pieces; the summary is printed at the end, also if `--groups` stopped it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from embedded_survey import embedded_survey
from processes import family_cpu_s, peak_memory

from skymill import features, inference, release, tiling
from skymill.compute.cluster import open_client
from skymill.config import ComputeSettings, RunConfig
from skymill.store import GroupManifest, Pool, file_sha256, group_file, short, verify
from skymill.survey import open_survey
from skymill.tiling.files import TilingFiles, clean_spill
from skymill.tiling.grouping import Group
from skymill.tiling.reading import key_parts, read_parts
from skymill.tiling.spill import holders

PARTS_AT_ONCE = 64
GROUP_ORDER = 3
MODEL = "mlp"
lane: Chain
"""Of a process that classifies groups."""
SAMPLE_S = 2.0


def main() -> None:
    """Run what is missing and print the summary as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000_000)
    parser.add_argument("--folder", type=Path, required=True, help="everything is written here; kept")
    parser.add_argument("--onnx", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--groups", type=int, help="stop after so many more groups")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(arguments.folder / "ledger.json")
    with peak_memory(every_s=SAMPLE_S) as peak, ledger.clock():
        whole = Chain(arguments.rows, arguments.folder, arguments.onnx).run(ledger, arguments.workers, arguments.groups)
    ledger.peak_memory(peak[0])
    print(json.dumps({"rows": arguments.rows, "complete": whole, **ledger.summary(arguments.folder)}, indent=1))


class Chain:
    """The stages over one simulated survey."""

    def __init__(self, rows: int, output: Path, onnx: Path, scheduler: str = "local") -> None:
        self.output, self.onnx = output, onnx
        self.config = embedded_survey(rows)
        self.run_config = RunConfig(
            name="billion",
            survey="",
            output=str(output),
            tiling={"group_order": GROUP_ORDER},  # type: ignore[arg-type]
            compute={"scheduler": scheduler},  # type: ignore[arg-type]
        )
        self.survey = open_survey(self.config, part_rows=self.run_config.tiling.part_rows)
        self.files = TilingFiles(output)

    def run(self, ledger: Ledger, workers: int, most_groups: int | None) -> bool:
        """Do what is missing; False if groups are left."""
        if not self.files.plan.is_file():
            self.read(ledger, workers)
            with ledger.stage("plan"):
                tiling.plan(self.run_config, self.survey, self.output, workers=workers)
            for path in self.files.parts.glob("*.index.npy"):  # the ids, which the plan has compared
                path.unlink()
        clean_spill(self.output)
        todo = [path for path in self.group_files() if not self.manifest(MODEL, path).is_file()]
        what = (self.survey.config.simulation.rows, self.output, self.onnx)  # type: ignore[union-attr]
        with ProcessPoolExecutor(workers, get_context("spawn"), open_lane, what) as lanes:
            for done, costs in enumerate(lanes.map(classify, todo[:most_groups]), start=1):
                ledger.enter(costs)
                print(f"{done} of {len(todo)} groups, {ledger.rows('inference'):,} sources", flush=True)
        if len(todo[:most_groups]) < len(todo):
            return False
        self.seal(ledger)
        return True

    def read(self, ledger: Ledger, workers: int) -> None:
        """Generate and gate every part, keeping counts and ids but not the rows."""
        parts = key_parts(self.survey, self.run_config.tiling)
        fresh = [item for item in parts if not self.files.part(item.key).record.is_file()]
        with open_client(workers, ComputeSettings()) as client:
            joined = ComputeSettings(scheduler=client.scheduler.address)
            run_config = self.run_config.model_copy(update={"compute": joined})
            for start in range(0, len(fresh), PARTS_AT_ONCE):
                some = fresh[start : start + PARTS_AT_ONCE]
                with ledger.stage("read") as done:
                    read_parts(some, run_config, self.survey, self.files, workers=workers)
                    done(sum(item.part.n_rows or 0 for item in some))
                clean_spill(self.output)

    def classify(self, group: Path) -> Costs:
        """Partition, features, inference of one group; then delete what only they needed."""
        compute, costs = self.run_config.compute, Costs()
        with costs.stage("partition") as done:
            sources = tiling.partition(self.run_config, self.survey, group, self.output, workers=1)
            done(GroupManifest.read(sources).accounting.n_in)
        for name in holders(Group.read(group).buckets, self.files):  # a part of this survey is of one group alone
            self.files.rows(name).unlink(missing_ok=True)
        with costs.stage("features") as done:
            made = features.compute(
                sources,
                output=self.output,
                survey=self.survey.config,
                settings=self.run_config.features,
                compute=compute,
                workers=1,
            )
            done(GroupManifest.read(made).accounting.n_in)
        with costs.stage("inference") as done:
            classified = inference.run(
                made,
                self.onnx,
                output=self.output,
                model=MODEL,
                settings=self.run_config.inference,
                compute=compute,
                workers=1,
            )
            done(GroupManifest.read(classified).accounting.n_in)
        for manifest in (sources, made):
            pool = Pool(manifest.parents[2])
            for entry in GroupManifest.read(manifest).tiles:
                pool.path(entry.tile, entry.key).unlink()
        return costs

    def seal(self, ledger: Ledger) -> None:
        """Seal and verify the classification catalogue."""
        groups = self.group_files()
        with ledger.stage("seal") as done:
            release.seal(
                MODEL,
                [self.manifest(MODEL, path) for path in groups],
                sources=[self.manifest("sources", path) for path in groups],
                output=self.output,
            )
            done(ledger.rows("inference"))
        with ledger.stage("verify") as done:
            report = verify(self.output / "catalogues" / MODEL)
            done(ledger.rows("inference"))
        if not report.ok:
            raise SystemExit("\n".join(report.lines()))

    def group_files(self) -> list[Path]:
        """The files of all groups of the plan."""
        return [self.files.group(name, digest) for name, digest in sorted(tiling.groups(self.files.plan).items())]

    def manifest(self, catalogue: str, group: Path) -> Path:
        """Where a stage declares a group."""
        settings = {
            "sources": tiling.settings_digest(self.run_config, self.survey.config),
            MODEL: inference.settings_digest(file_sha256(self.onnx), self.run_config.inference),
        }[catalogue]
        return group_file(self.output / "catalogues" / catalogue, short(settings), group.stem.rsplit("-", 1)[0])


class Costs:
    """Rows and CPU of stages, in one process and those below it."""

    def __init__(self) -> None:
        self.stages: dict[str, dict[str, float]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[int], None]]:
        """Enter what the block costs; it calls what it is given with its rows."""
        entry = self.stages.setdefault(name, {"rows": 0, "cpu_s": 0.0})
        handled: list[int] = []
        before = family_cpu_s()
        yield handled.append
        entry["rows"] += sum(handled)
        entry["cpu_s"] += family_cpu_s() - before


class Ledger(Costs):
    """The costs of all processes and pieces of the work, kept in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        new: dict[str, Any] = {"stages": {}, "wall_s": 0.0, "peak_MB": 0}
        self.content: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else new
        self.stages = self.content["stages"]

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[int], None]]:
        """As that of `Costs`."""
        with super().stage(name) as done:
            yield done
        self.save()

    def enter(self, costs: Costs) -> None:
        """Add what another process did."""
        for name, more in costs.stages.items():
            entry = self.stages.setdefault(name, {"rows": 0, "cpu_s": 0.0})
            for key in entry:
                entry[key] += more[key]
        self.save()

    def rows(self, stage: str) -> int:
        """Give the rows that a stage has handled."""
        return int(self.stages[stage]["rows"])

    @contextmanager
    def clock(self) -> Iterator[None]:
        """Add the seconds of the block to those by the clock, also where it is interrupted."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.content["wall_s"] += time.perf_counter() - start
            self.save()

    def peak_memory(self, megabytes: float) -> None:
        """Enter the most memory that all processes had together."""
        self.content["peak_MB"] = max(self.content["peak_MB"], round(megabytes))
        self.save()

    def save(self) -> None:
        """Write the file."""
        self.path.write_text(json.dumps(self.content, indent=1))

    def summary(self, folder: Path) -> dict[str, Any]:
        """Rates per stage, memory, and what stands on the disk."""
        stages = {
            name: {
                "rows": round(entry["rows"]),
                "cpu_s": round(entry["cpu_s"]),
                "rows_per_cpu_s": round(entry["rows"] / max(entry["cpu_s"], 1e-9)),
            }
            for name, entry in self.stages.items()
        }
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        return {
            "stages": stages,
            "cpu_s": round(sum(entry["cpu_s"] for entry in self.stages.values())),
            "wall_s": round(self.content["wall_s"]),
            "peak_MB": self.content["peak_MB"],
            "GB_on_disk": round(sum(path.stat().st_size for path in files) / 1e9, 2),
            "files": len(files),
        }


def open_lane(rows: int, output: Path, onnx: Path) -> None:
    """Start a worker for this process and keep it, as a driver on a cluster would."""
    global lane
    held = ExitStack()
    client = held.enter_context(open_client(1, ComputeSettings()))
    Finalize(None, held.close, exitpriority=0)
    lane = Chain(rows, output, onnx, client.scheduler.address)


def classify(group: Path) -> Costs:
    """Classify one group in this process."""
    return lane.classify(group)


if __name__ == "__main__":
    main()
