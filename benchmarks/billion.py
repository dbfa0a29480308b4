"""A billion sources of the embedded survey to a sealed, verified classification catalogue, in bounded memory and disk.

The stages are those of the workflow, called group by group. The sources and features of a group are deleted once it is
classified, and the sorted rows that the plan keeps are dropped and generated again by the group that needs them, so
that the disk holds little more than the catalogue. Interrupted, it goes on where it was.

    python benchmarks/billion.py --rows 10_000_000 --folder FOLDER --onnx results/models/mlp/DIGEST.onnx

The ONNX file is that of any run on the embedded survey. `ledger.json` in the folder adds up rows, seconds and CPU per
stage over all pieces; the summary is printed at the end, also when `--groups` stopped it before.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from inference_memory import PeakMemory

from skymill import features, inference, release, tiling
from skymill.config import RunConfig, SurveyConfig
from skymill.store import GroupManifest, Pool, file_sha256, group_file, short, verify
from skymill.survey import open_survey
from skymill.tiling.files import TilingFiles, clean_spill
from skymill.tiling.reading import key_parts, read_parts

DENSITY = 55_000
"""Sources per square degree: that of LSST's gold sample, so a billion of them fill its main survey."""
PARTS_AT_ONCE = 16
GROUP_ORDER = 3
MODEL = "mlp"
SAMPLE_S = 1.0


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
    with Memory() as memory:
        whole = Chain(arguments.rows, arguments.folder, arguments.onnx, arguments.workers, ledger).run(arguments.groups)
    ledger.peak_memory(memory.peak_MB)
    print(json.dumps({"rows": arguments.rows, "complete": whole, **ledger.summary(arguments.folder)}, indent=1))


class Chain:
    """The stages over one simulated survey."""

    def __init__(self, rows: int, output: Path, onnx: Path, workers: int, ledger: Ledger) -> None:
        self.output, self.onnx, self.workers, self.ledger = output, onnx, workers, ledger
        self.config = SurveyConfig(
            name="embedded",
            format="simulated",
            bands=list("ugrizy"),
            simulation={"rows": rows, "area_deg2": min(rows / DENSITY, 41_252), "seed": 1},  # type: ignore[arg-type]
        )
        self.config = SurveyConfig.model_validate(self.config.model_dump(exclude_unset=True))
        self.run_config = RunConfig(
            name="billion",
            survey="",
            output=str(output),
            tiling={"group_order": GROUP_ORDER},  # type: ignore[arg-type]
        )
        self.survey = open_survey(self.config, part_rows=self.run_config.tiling.part_rows)
        self.files = TilingFiles(output)

    def run(self, most_groups: int | None) -> bool:
        """Do what is missing; False if groups are left."""
        if not self.files.plan.is_file():
            self.read()
            with self.ledger.stage("plan"):
                tiling.plan(self.run_config, self.survey, self.output, workers=self.workers)
            self.forget()
        todo = [path for path in self.group_files() if not self.manifest(MODEL, path).is_file()]
        for path in todo[:most_groups]:
            self.classify(path)
        if todo[most_groups:] if most_groups is not None else []:
            return False
        self.seal()
        return True

    def read(self) -> None:
        """Generate and gate every part, keeping counts and ids but not the rows."""
        parts = key_parts(self.survey, self.run_config.tiling)
        fresh = [item for item in parts if not self.files.part(item.key).record.is_file()]
        for start in range(0, len(fresh), PARTS_AT_ONCE):
            some = fresh[start : start + PARTS_AT_ONCE]
            with self.ledger.stage("read", sum(item.part.n_rows or 0 for item in some)):
                read_parts(some, self.run_config, self.survey, self.files, workers=self.workers)
            clean_spill(self.output)

    def classify(self, group: Path) -> None:
        """Partition, features, inference of one group; then delete what only they needed."""
        compute = self.run_config.compute
        with self.ledger.stage("partition") as done:
            sources = tiling.partition(self.run_config, self.survey, group, self.output, workers=self.workers)
            done(GroupManifest.read(sources).accounting.n_in)
        with self.ledger.stage("features") as done:
            made = features.compute(
                sources,
                output=self.output,
                survey=self.survey.config,
                settings=self.run_config.features,
                compute=compute,
                workers=self.workers,
            )
            done(GroupManifest.read(made).accounting.n_in)
        with self.ledger.stage("inference") as done:
            classified = inference.run(
                made,
                self.onnx,
                output=self.output,
                model=MODEL,
                settings=self.run_config.inference,
                compute=compute,
                workers=self.workers,
            )
            done(GroupManifest.read(classified).accounting.n_in)
        for manifest in (sources, made):
            pool = Pool(manifest.parents[2])
            for entry in GroupManifest.read(manifest).tiles:
                pool.path(entry.tile, entry.key).unlink()
        self.forget()

    def seal(self) -> None:
        """Seal and verify the classification catalogue."""
        groups = self.group_files()
        with self.ledger.stage("seal"):
            release.seal(
                MODEL,
                [self.manifest(MODEL, path) for path in groups],
                sources=[self.manifest("sources", path) for path in groups],
                output=self.output,
            )
        with self.ledger.stage("verify"):
            report = verify(self.output / "catalogues" / MODEL)
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

    def forget(self) -> None:
        """Delete the sorted rows and the index of ids, which the plan has used."""
        clean_spill(self.output)
        for path in self.files.parts.glob("*.index.npy"):
            path.unlink()


class Ledger:
    """Rows, seconds and CPU of each stage, added up over all pieces of the work."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {"stages": {}, "peak_MB": 0}

    @contextmanager
    def stage(self, name: str, rows: int = 0) -> Iterator[Any]:
        """Enter what the block costs; it may call what it is given with its rows."""
        entry = self.content["stages"].setdefault(name, {"rows": 0, "wall_s": 0.0, "cpu_s": 0.0})
        handled = [rows]
        wall, cpu = time.perf_counter(), family_cpu_s()
        yield handled.append
        entry["rows"] += sum(handled)
        entry["wall_s"] += time.perf_counter() - wall
        entry["cpu_s"] += family_cpu_s() - cpu
        self.save()

    def peak_memory(self, megabytes: float) -> None:
        """Enter the most memory that all processes had together."""
        self.content["peak_MB"] = max(self.content["peak_MB"], round(megabytes))
        self.save()

    def save(self) -> None:
        self.path.write_text(json.dumps(self.content, indent=1))

    def summary(self, folder: Path) -> dict[str, Any]:
        """Rates per stage, memory, and what stands on the disk."""
        stages = {
            name: {
                **{key: round(value) for key, value in entry.items()},
                "rows_per_s": round(entry["rows"] / entry["wall_s"]),
                "rows_per_cpu_s": round(entry["rows"] / max(entry["cpu_s"], 1e-9)),
            }
            for name, entry in self.content["stages"].items()
        }
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        return {
            "stages": stages,
            "wall_s": round(sum(entry["wall_s"] for entry in self.content["stages"].values())),
            "peak_MB": self.content["peak_MB"],
            "GB_on_disk": round(sum(path.stat().st_size for path in files) / 1e9, 2),
            "files": len(files),
        }


class Memory(PeakMemory):
    """The most memory that this process and all below it had at one time, shared pages counted once (PSS)."""

    peak_MB = 0.0

    def _sample(self) -> None:
        me = psutil.Process()
        while not self._stop.wait(SAMPLE_S):
            total = 0
            for process in (me, *me.children(recursive=True)):
                with suppress(psutil.Error):  # it has just ended
                    total += process.memory_full_info().pss
            self.peak_MB = max(self.peak_MB, total / 1e6)


def family_cpu_s() -> float:
    """CPU time of this process, of those below it, and of those below it that have ended."""
    me = psutil.Process()
    return sum(sum(process.cpu_times()[:4]) for process in (me, *me.children(recursive=True)))


if __name__ == "__main__":
    main()
