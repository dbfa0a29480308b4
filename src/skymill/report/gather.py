"""Read what a run left behind, as far as the report shows it."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymill.sky import at_order
from skymill.store import Catalogue, open_catalogue

MAP_ORDER = 6
"""Finest order of the maps: pixels of 0.9 degrees."""
QUARANTINE_ROWS = 20
"""Quarantined rows shown by name."""


@dataclass
class SkyCounts:
    """Sources per pixel of one order, in all and by class (column 0 is `not scored`)."""

    order: int
    pixels: NDArray[np.int64]
    counts: NDArray[np.int64]  # (n, 1 + classes)


@dataclass(frozen=True)
class ModelResult:
    """One model of the run: what it scored on the locked test set and what it found on the sky."""

    name: str
    onnx: str
    classes: list[str]
    parity: dict[str, Any]
    metrics: dict[str, Any] | None = None
    label: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    magnitude: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    probabilities: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    sky: SkyCounts | None = None

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class of each test row."""
        return np.argmax(self.probabilities, axis=1) if len(self.probabilities) else np.empty(0, np.int64)


@dataclass(frozen=True)
class Stage:
    """Rows and seconds of all jobs of one rule."""

    name: str
    jobs: int
    rows: int
    seconds: float


def read_json(path: Path) -> dict[str, Any]:
    """Read one of the run's JSON files."""
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def read_model(output: Path, name: str) -> ModelResult:
    """Gather one model: its manifest, parity, and, where it was trained here, its test set."""
    manifest = read_json(output / "models" / name / "manifest.json")
    parity_file = output / "models" / name / "parity.json"
    parity = read_json(parity_file) if manifest["parity"] else {}
    catalogue = open_catalogue(output / "catalogues" / name)
    classes = list(manifest["schema"]["classes"])
    sky = count_classes(catalogue, len(classes))
    fit = manifest.get("fit")
    if fit is None:
        return ModelResult(name, manifest["onnx"], classes, parity, sky=sky)
    folder = output / "training" / name / fit
    test = pq.read_table(folder / "predictions.parquet")
    return ModelResult(
        name,
        manifest["onnx"],
        classes,
        parity,
        metrics=read_json(folder / "metrics.json"),
        label=test["label"].to_numpy().astype(np.int64),
        magnitude=test["magnitude"].to_numpy().astype(np.float64),
        probabilities=np.column_stack([test[f"p_{kind}"].to_numpy() for kind in classes]).astype(np.float64),
        sky=sky,
    )


def count_classes(catalogue: Catalogue, n_classes: int) -> SkyCounts:
    """Count sources by pixel and class, tile by tile, so that memory does not grow with the catalogue."""
    total: Counter[int] = Counter()
    width = n_classes + 1
    for order, pixel in zip(catalogue.tiles["order"], catalogue.tiles["pixel"], strict=True):
        rows = catalogue.tile(order, pixel)
        code = (
            at_order(rows["_healpix_29"].to_numpy(), MAP_ORDER) * width + rows["class"].to_numpy().astype(np.int64) + 1
        )
        total.update(dict(zip(*(part.tolist() for part in np.unique(code, return_counts=True)), strict=True)))
    codes = np.array(sorted(total), dtype=np.int64)
    pixels, place = np.unique(codes // width, return_inverse=True)
    counts = np.zeros((len(pixels), width), dtype=np.int64)
    counts[place, codes % width] = [total[int(code)] for code in codes]
    return SkyCounts(MAP_ORDER, pixels, counts)


def read_stages(output: Path, rows: dict[str, int]) -> list[Stage]:
    """Sum Snakemake's benchmark files by rule; `rows` gives the rows each rule handled."""
    stages = []
    for name, handled in rows.items():
        files = sorted((output / "benchmarks").glob(f"{name}.tsv"))
        files += sorted((output / "benchmarks" / name).glob("**/*.tsv"))
        seconds = sum(_seconds(path) for path in files)
        if files:
            stages.append(Stage(name, len(files), handled, seconds))
    return stages


def _seconds(path: Path) -> float:
    with path.open(newline="") as file:
        return sum(float(row["s"]) for row in csv.DictReader(file, delimiter="\t"))
