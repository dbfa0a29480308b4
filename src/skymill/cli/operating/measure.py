"""Measure the stages on this machine: the real code, in this process, over a small embedded survey."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import skymill
from skymill.cli.operating.rates import DOCUMENTED, Rate
from skymill.config import ModelConfig, RunConfig, SurveyConfig
from skymill.store import GroupManifest, digest, group_file, short
from skymill.store.durable import write_bytes
from skymill.store.manifest import AnyEntry
from skymill.survey import Survey

ROWS = 100_000
BANDS = ["u", "g", "r", "i", "z", "y"]
SIMULATION = {"rows": ROWS, "area_deg2": 60, "seed": 1, "labelled": 0.25}

LOADED = ("sklearn.ensemble", "lightning.pytorch", "skymill.training.fitting", "skymill.export.stage")
"""Loaded before the clock starts: what a job needs to start is counted apart."""


def cache_path(models: list[ModelConfig]) -> Path:
    """Give the file in the user's cache that holds the rates of this machine, this skymill and these models."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    about = {
        "machine": [platform.machine(), _processor(), len(os.sched_getaffinity(0)), platform.python_version()],
        "skymill": skymill.__version__,
        "models": [[model.name, model.kind, model.settings, model.catalogue] for model in models],
    }
    return root / "skymill" / f"rates-{short(digest(about))}.json"


def measure(models: list[ModelConfig], tell: Callable[[str], None]) -> dict[str, Rate]:
    """Measure every stage that works on rows or labels; fits take as long as they take on a few thousand labels.

    Parameters
    ----------
    models : list of ModelConfig
        Models of the run; those that come as ONNX files are not measured.
    tell : callable
        Called with a line for each stage.
    """
    with tempfile.TemporaryDirectory(prefix="skymill-measure-") as folder:
        bench = _Bench(Path(folder), tell)
        bench.tiling()
        bench.features()
        bench.training_set()
        for model in models:
            if model.kind != "onnx":
                bench.model(model)
        return bench.rates


def save(rates: dict[str, Rate], path: Path) -> None:
    """Keep measured rates."""
    text = json.dumps({name: asdict(rate) for name, rate in rates.items()}, indent=1, sort_keys=True)
    write_bytes(path, text.encode() + b"\n")


class _Bench:
    """The stages one after the other in one folder, without a cluster, so that CPU time is that of the work."""

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        from skymill.survey import open_survey

        self.output, self.tell = folder, tell
        self.rates: dict[str, Rate] = {}
        config = SurveyConfig(name="measure", format="simulated", bands=BANDS, simulation=SIMULATION)
        labels = {"format": "simulated", "column": "class", "classes": ["GALAXY", "QSO", "STAR"]}
        self.run = RunConfig(
            name="measure", survey="none", tiling={"max_rows": 50_000, "group_order": 0}, labels=labels
        )
        self.survey: Survey = open_survey(config, part_rows=self.run.tiling.part_rows)
        self.manifests: dict[str, list[Path]] = {}

    def tiling(self) -> None:
        """Read, count and spill the parts; then plan, and gather and write each tile."""
        from skymill.tiling.files import TilingFiles
        from skymill.tiling.grouping import Group
        from skymill.tiling.partitioning import spilled_pieces
        from skymill.tiling.planning import plan
        from skymill.tiling.reading import key_parts
        from skymill.tiling.settings import count_order, tile_algorithm
        from skymill.tiling.spill import spill_part
        from skymill.tiling.tile import GroupWork, make_tile

        files = TilingFiles(self.output)
        group_order, counted = self.run.tiling.group_order, count_order(self.run.tiling)
        next(iter(self.survey.blocks(self.survey.parts()[0])))  # tables of the simulation, once a process
        with self._timed("tiling_plan", ROWS):
            for part, key in key_parts(self.survey, self.run.tiling):
                blocks = self.survey.blocks(part)
                spill_part(
                    part.name,
                    blocks,
                    self.survey.config,
                    files=files,
                    key=key,
                    group_order=group_order,
                    count_order=counted,
                )
        plan(self.run, self.survey, self.output, workers=1)
        groups = [Group.read(path) for path in sorted((files.root / "groups").glob("*.json"))]
        made: dict[str, list[AnyEntry]] = {}
        with self._timed("tiling_partition", ROWS):
            for group in groups:
                pieces = spilled_pieces(group, self.run, self.survey, files, workers=1)
                work = GroupWork(self._catalogue("sources"), pieces, _ids(group), self.survey.schema, tile_algorithm())
                made[group.name] = [make_tile(tile, n_rows, work).entry for tile, n_rows in group.tiles]
        self._write("sources", made)

    def features(self) -> None:
        """Compute the features of each tile."""
        from skymill.features.plan import ingredients, make_recipe
        from skymill.features.tile import FeatureRun, TileJob, make_tile

        recipe = make_recipe(self.survey.config, self.run.features)
        shared = FeatureRun(str(self._catalogue("features")), recipe, ingredients(recipe))
        self._each_tile(
            "features_compute",
            "sources",
            "features",
            lambda entry, path: make_tile(TileJob(entry.tile, path, entry.sha256), run=shared),
        )

    def training_set(self) -> None:
        """Join, split and audit."""
        from skymill import training

        for module in LOADED:
            import_module(module)
        started = time.process_time()
        self.set = training.make_set(self.run, self.survey, self.manifests["features"], output=self.output)
        self.labels = json.loads(self.set.read_bytes())["sources"]["used"]
        self._note("training_set", self.labels, time.process_time() - started)

    def model(self, model: ModelConfig) -> None:
        """Fit, export and run a model on what every survey has."""
        from skymill import export, training
        from skymill.features import make_recipe
        from skymill.inference.settings import algorithm
        from skymill.inference.tiles import ModelRun, TileJob, classify_tile

        model = model.model_copy(
            update={"features": ["photometric", "shape", "missing"], "importance_weighting": False}
        )
        folder = self.output / "training" / model.name / "measure"
        table = self.output / "training" / json.loads(self.set.read_bytes())["file"]
        with self._timed(f"training_fit {model.name}", self.labels):
            training.fit(table, model, seed=1, output_folder=folder, threads=1)
        if not model.catalogue:
            return
        with self._timed(f"export_onnx {model.name}", self.labels):
            recipe = make_recipe(self.survey.config, self.run.features)
            manifest = export.to_onnx(folder / "manifest.json", output=self.output, model=model, recipe=recipe)
        made = json.loads(manifest.read_bytes())
        run = ModelRun(
            catalogue=str(self._catalogue(model.name)),
            name=model.name,
            onnx=str(manifest.parent / f"{made['onnx']}.onnx"),
            onnx_sha256=made["sha256"],
            provider="cpu",
            block_rows=self.run.inference.block_rows,
            algorithm=algorithm(),
        )

        def classify(entry: AnyEntry, path: str) -> AnyEntry:
            key = run.key(entry.sha256)
            return classify_tile(TileJob(entry.tile, path, entry.sha256, entry.n_rows, key), run=run)

        self._each_tile(f"inference_run {model.name}", "features", model.name, classify)

    def _each_tile(self, key: str, read: str, written: str, make: Callable[[AnyEntry, str], AnyEntry]) -> None:
        from skymill.store import Pool

        pool = Pool(self._catalogue(read))
        before = [GroupManifest.read(path) for path in self.manifests[read]]
        entries = [entry for manifest in before for entry in manifest.tiles]
        make(entries[0], str(pool.path(entries[0].tile, entries[0].key)))  # imports and sessions are the job's start
        made: dict[str, list[AnyEntry]] = {}
        with self._timed(key, ROWS - entries[0].n_rows):
            for manifest in before:
                made[manifest.group] = [make(e, str(pool.path(e.tile, e.key))) for e in manifest.tiles]
        self._write(written, made)

    def _write(self, catalogue: str, made: dict[str, list[AnyEntry]]) -> None:
        self.manifests[catalogue] = []
        for group, entries in made.items():
            path = group_file(self._catalogue(catalogue), "measure", group)
            GroupManifest(catalogue, "measure", group, tiles=tuple(entries)).write(path)
            self.manifests[catalogue].append(path)

    def _catalogue(self, name: str) -> Path:
        return self.output / "catalogues" / name

    @contextmanager
    def _timed(self, key: str, units: float) -> Iterator[None]:
        """Take the CPU time of all threads of this process."""
        started = time.process_time()
        yield
        self._note(key, units, time.process_time() - started)

    def _note(self, key: str, units: float, used: float) -> None:
        known = DOCUMENTED[key.split(" ")[0]]
        basis = f"{units:,.0f} {known.unit} of the embedded survey"
        self.rates[key] = replace(known, per_core_s=units / used, source="measured", basis=basis)
        self.tell(f"{key}: {units / used:,.0f} {known.unit}/s of one core ({used:.1f} s)")


def _ids(group: Any) -> Any:
    import numpy as np

    return np.array(group.conflicts, np.int64)


def _processor() -> str:
    """Name the processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
