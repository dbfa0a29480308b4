"""Read what a run left behind, as far as the report shows it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymill.config.votes import answer_names
from skymill.report.sky_counts import SkyCounts, count_classes
from skymill.sky import at_order
from skymill.store import Accounting, Catalogue, open_catalogue, short
from skymill.training.attribution import VALUE

CATALOGUES = ("sources", "features")
"""Catalogues that every run has, before those of its models."""
SEGMENTATION = "segmentation"
"""The catalogue of image tiles that a survey of images has before these."""


@dataclass(frozen=True)
class TestSet:
    """What a model trained in this run said about the locked test set."""

    __test__ = False  # not one of pytest's

    model: str
    kind: str
    n_features: int
    classes: list[str]
    fit: str
    metrics: dict[str, Any]
    label: NDArray[np.int64]
    magnitude: NDArray[np.float64]
    probabilities: NDArray[np.float64]  # (n, classes)
    object_id: NDArray[np.int64]
    healpix29: NDArray[np.int64]
    block: NDArray[np.int64]
    """Block of sky of the split that each row lies in."""
    set_path: Path
    """The training set, whose rows of the split `test` these are."""
    importance: dict[str, Any]
    attributions: Attributions
    history: dict[str, list[float]] = field(default_factory=dict)
    """Columns of `history.csv`; empty where the model does not learn in epochs."""
    votes: VotesTest | None = None
    """None where the model tells none."""

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class of each row."""
        return np.argmax(self.probabilities, axis=1)


class VotesTest(NamedTuple):
    """What volunteers said of the rows and what the model says, (n, answers) both, question by question."""

    counts: NDArray[np.float64]
    concentrations: NDArray[np.float64]


class Attributions(NamedTuple):
    """What features did to the probabilities of some test sources."""

    names: list[str]
    """Of the features."""
    values: NDArray[np.float64]  # (n, f)
    effect: NDArray[np.float64]  # (n, f, classes)


@dataclass(frozen=True)
class ModelResult:
    """One model of the run: how well it does, and what it found on the sky."""

    name: str
    kind: str
    n_features: int
    onnx: str
    classes: list[str]
    parity: dict[str, Any] | None
    """Agreement of the exported file with the fitted model; None for a file that came from elsewhere."""
    precision: str
    """Of the exported file."""
    sky: SkyCounts
    test: TestSet | None = None
    shift: dict[str, Any] | None = None
    """How the survey differs from the rows that it learned from; None where it was not trained here."""


@dataclass(frozen=True)
class Run:
    """All that the report shows of a run."""

    output: Path
    plan: dict[str, Any]
    catalogues: dict[str, Catalogue]
    models: list[ModelResult]
    only_compared: list[TestSet]
    """Of models that were fitted but not run over the survey."""
    segmenters: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By name: what the metrics of each model that finds sources of its own say."""

    @property
    def accounts(self) -> dict[str, Accounting]:
        """What became of the sources, catalogue by catalogue."""
        return {name: Accounting.from_dict(one.manifest["accounting"]) for name, one in self.catalogues.items()}

    @property
    def trained(self) -> list[tuple[ModelResult, TestSet]]:
        """The models with a test set."""
        return [(model, model.test) for model in self.models if model.test is not None]

    @property
    def tests(self) -> list[TestSet]:
        """Every test set, those of models without a catalogue last."""
        return [*(test for _, test in self.trained), *self.only_compared]


def read_json(path: Path) -> dict[str, Any]:
    """Read one of the run's JSON files."""
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def read_run(
    output: Path,
    models: list[str],
    compared: Sequence[Path] = (),
    *,
    has_images: bool = False,
    segmenters: Sequence[str] = (),
) -> Run:
    """Gather a run whose catalogues are sealed; `compared` are the folders of fits that have none.

    `segmenters` are the models whose catalogues are of images.

    Raises
    ------
    FileNotFoundError
        If a part of the run is missing.
    """
    names = (*((SEGMENTATION,) if has_images else ()), *CATALOGUES, *segmenters, *models)
    catalogues = {name: open_catalogue(output / "catalogues" / name) for name in names}
    results = [read_model(output, name, catalogues[name]) for name in models]
    plan = read_json(output / "tiling" / "plan.json")
    tests = [read_test_set(folder) for folder in compared]
    return Run(output, plan, catalogues, results, tests, {name: read_segmenter(output, name) for name in segmenters})


def read_segmenter(output: Path, name: str) -> dict[str, Any]:
    """Read how good an exported segmenter is."""
    fit = read_json(output / "models" / name / "manifest.json")["fit"]
    return read_json(output / "training" / name / fit / "metrics.json")


def read_model(output: Path, name: str, catalogue: Catalogue) -> ModelResult:
    """Gather one model: its manifest, what it found, and, where it was trained here, its test set."""
    manifest = read_json(output / "models" / name / "manifest.json")
    classes = list(manifest["schema"]["classes"])
    fit = manifest.get("fit")
    return ModelResult(
        name,
        manifest["schema"]["kind"],
        len(manifest["schema"]["inputs"]),
        manifest["onnx"],
        classes,
        manifest["parity"] or None,
        manifest["schema"].get("precision", "fp32"),
        count_classes(catalogue, len(classes)),
        None if fit is None else read_test_set(output / "training" / name / fit),
        None if fit is None else read_json(output / "training" / "shift" / name / "shift.json"),
    )


def read_test_set(folder: Path) -> TestSet:
    """Read a fit's metrics, predictions and history."""
    manifest = read_json(folder / "manifest.json")
    classes = list(manifest["classes"])
    table = pq.read_table(folder / "predictions.parquet")
    object_id = table["objectId"].to_numpy()
    set_path = folder.parents[1] / "sets" / f"{short(manifest['training_set'])}.parquet"
    healpix29, block = places_of(object_id, set_path)
    with (folder / "history.csv").open(newline="") as file:
        epochs = list(csv.DictReader(file))
    return TestSet(
        manifest["name"],
        manifest["kind"],
        len(manifest["features"]),
        classes,
        folder.name,
        read_json(folder / "metrics.json"),
        table["label"].to_numpy().astype(np.int64),
        table["magnitude"].to_numpy().astype(np.float64),
        np.column_stack([table[f"p_{kind}"].to_numpy() for kind in classes]).astype(np.float64),
        object_id,
        healpix29,
        block,
        set_path,
        read_json(folder / "importance.json"),
        read_attributions(folder / "attributions.parquet", classes),
        {name: [float(epoch[name]) for epoch in epochs] for name in (epochs[0] if epochs else ())},
        read_votes(table, manifest.get("votes", {})),
    )


def read_votes(predictions: pa.Table, questions: Mapping[str, Sequence[str]]) -> VotesTest | None:
    """Read the votes for a test set and what the model told of them."""
    if not questions:
        return None
    names = answer_names(questions)
    counts, told = (
        np.column_stack([predictions[before + name].to_numpy() for name in names]).astype(np.float64)
        for before in ("vote_", "concentration_")
    )
    return VotesTest(counts, told)


def places_of(object_id: NDArray[np.int64], set_path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give `_healpix_29` and the block of sky of sources of a training set's test split.

    Raises
    ------
    ValueError
        If one of them is not in it.
    """
    table = pq.read_table(set_path, columns=["objectId", "_healpix_29"], filters=[("split", "==", "test")])
    ids, pixels = table["objectId"].to_numpy(), table["_healpix_29"].to_numpy()
    order = np.argsort(ids)
    place = order[np.minimum(np.searchsorted(ids, object_id, sorter=order), len(ids) - 1)]
    if (ids[place] != object_id).any():
        strange = object_id[ids[place] != object_id]
        raise ValueError(f"{set_path}: source {strange[0]} of a model's predictions is not in it; fit the model again")
    split = json.loads(table.schema.metadata[b"skymill"])["split"]
    return pixels[place], at_order(pixels[place], split["order"])


def read_attributions(path: Path, classes: list[str]) -> Attributions:
    """Read what features did to single sources."""
    table = pq.read_table(path)
    names = table.column_names[3:]
    of = np.array(table["of"].to_pylist())
    matrix = np.column_stack([table[name].to_numpy() for name in names]).astype(np.float64)
    return Attributions(names, matrix[of == VALUE], np.stack([matrix[of == one] for one in classes], axis=2))


def benchmark_files(run: Run) -> dict[str, tuple[list[Path], int | None]]:
    """Give Snakemake's benchmark files of each rule, and the rows it handled.

    Only files of what the run now consists of count: those of an earlier fit or of a group that is gone stay on disk.
    Rules without a file, because nothing of theirs ran under Snakemake, are left out.
    """
    folder, accounts, groups = run.output / "benchmarks", run.accounts, sorted(run.plan["groups"])
    scored = {model.name: f"{model.name}-{run.catalogues[model.name].manifest['settings']}" for model in run.models}
    fits = [f"training_fit/{test.model}-{test.fit}" for test in run.tests]
    files: dict[str, tuple[list[str], int | None]] = {
        **_of_images(run),
        "tiling_plan": (["tiling_plan"], accounts["sources"].n_in),
        "tiling_partition": ([f"tiling_partition/{group}" for group in groups], run.plan["gate"]["n_rows"]),
        "features_compute": ([f"features_compute/{group}" for group in groups], accounts["features"].n_rows),
        "training_set": (["training_set"] if fits else [], accounts["features"].n_rows),
        "training_fit": (fits, None),
        "export_onnx": ([f"export_onnx/{model.name}" for model in run.models], None),
        "inference_run": (
            [f"inference_run/{scored[name]}/{group}" for name in scored for group in groups],
            sum(accounts[name].n_rows for name in scored),
        ),
        "release_seal": ([f"release_seal/{name}" for name in run.catalogues], None),
        "training_shift": ([f"training_shift/{model.name}" for model, _ in run.trained], None),
    }
    there = {name: (_present(folder / f"{stem}.tsv" for stem in stems), rows) for name, (stems, rows) in files.items()}
    return {name: found for name, found in there.items() if found[0]}


def _of_images(run: Run) -> dict[str, tuple[list[str], int | None]]:
    """Give the benchmark files of the rules that only a survey of images has."""
    if SEGMENTATION not in run.catalogues:
        return {}
    groups = sorted(read_json(run.output / "tiling" / "images.json")["groups"])
    found = run.accounts[SEGMENTATION].n_rows
    return {
        "tiling_images": (["tiling_images"], None),
        "features_measure": ([f"features_measure/{group}" for group in groups], found),
        **_of_segmenters(run, groups),
    }


def _of_segmenters(run: Run, groups: Sequence[str]) -> dict[str, tuple[list[str], int | None]]:
    """Give the benchmark files of the rules that models which find sources have."""
    fits = {name: read_json(run.output / "models" / name / "manifest.json")["fit"] for name in run.segmenters}
    settings = {name: run.catalogues[name].manifest["settings"] for name in run.segmenters}
    return {
        "segmenter_fit": ([f"segmenter_fit/{name}-{fit}" for name, fit in fits.items()], None),
        "segmenter_export": ([f"segmenter_export/{name}" for name in fits], None),
        "segmenter_measure": (
            [f"segmenter_measure/{name}-{settings[name]}/{group}" for name in fits for group in groups],
            sum(run.accounts[name].n_rows for name in fits),
        ),
    }


def _present(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.is_file()]
