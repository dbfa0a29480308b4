"""Star, galaxy or quasar from SDSS photometry: the zoo against a plain random forest, five folds of sky.

    python benchmarks/sdss_classification.py [--data DIR] [--models config/models/mlp.yaml]

Each fold is fitted by `skymill.training.fit` with the fold locked as its test split and validation taken from the
rest; the plain forest (scikit-learn's defaults, 100 trees) learns from train and validation together. Both see the same
rows and features: five asinh magnitudes and the four colours of neighbouring bands; a model that names single features
takes those. The plain forest gives some true classes a probability of exactly 0, each of which costs 36 nats, so that
its log-loss is judged after smoothing, as if there were one more tree that knows nothing: (100 p + 1/3) / 101.
Intervals come from resampling blocks of sky. Exit status 1: a mark is missed. Several models are compared with each
other in one table, against the first of them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymill.config import ModelConfig, load_model
from skymill.models.conformal import ConformalSets
from skymill.sky import at_order, order29
from skymill.training.fitting import fit
from skymill.training.metrics import bootstrap, magnitude_bins, metrics_of
from skymill.training.split import splitmix64

SETS = {
    "SDSS17": ("catalogues/sgq_sdss17/sdss17_subset.parquet", "alpha", "delta"),
    "DR14": ("catalogues/sgq_skyserver_dr14/skyserver_10k.parquet", "ra", "dec"),
}
CLASSES = ["GALAXY", "STAR", "QSO"]
BANDS = "ugriz"
FOLDS, BLOCK_ORDER, VALIDATION_SHARE = 5, 4, 0.2
FAINTEST = 100.0
"""SDSS writes -9999 where nothing was measured."""
HIGHEST_ECE = 0.015
TREES = 100
PLAIN, SMOOTHED = "plain forest", "smoothed forest"
RESAMPLES = 2000
SHOWN = ("accuracy", "balanced_accuracy", "log_loss", "brier", "roc_auc", "ece")
BILL = ("accuracy", "balanced_accuracy", "log_loss")


def read(path: Path, ra: str, dec: str) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.int64], NDArray[np.uint64]]:
    """Give features by name, labels, and the block of sky of each row."""
    table = pq.read_table(path)
    mags = {band: table[band].to_numpy().astype(np.float32) for band in BANDS}
    mags = {band: np.where(np.abs(values) < FAINTEST, values, np.nan) for band, values in mags.items()}
    features = {f"{band}_asinh_mag": values for band, values in mags.items()}
    features |= {f"{blue}_minus_{red}": mags[blue] - mags[red] for blue, red in pairwise(BANDS)}
    labels = np.array([CLASSES.index(name) for name in table["class"].to_pylist()])
    blocks = at_order(order29(table[ra].to_numpy(), table[dec].to_numpy()), BLOCK_ORDER)
    return features, labels, blocks.astype(np.uint64)


def share_of(blocks: NDArray[np.uint64], seed: int) -> NDArray[np.float64]:
    """A number in [0, 1) for each block of sky."""
    return splitmix64(blocks ^ splitmix64(np.array([seed], dtype=np.uint64))) / 2.0**64


def write_set(
    path: Path,
    features: dict[str, NDArray[np.float32]],
    labels: NDArray[np.int64],
    split: NDArray[np.str_],
    blocks: NDArray[np.uint64],
) -> None:
    described = [
        {"name": name, "unit": "mag", "definition": name, "group": "photometric", "indicator": False}
        for name in features
    ]
    columns = {"objectId": np.arange(len(labels)), "label": labels.astype(np.int8), "split": split}
    columns["_healpix_29"] = blocks.astype(np.int64) << 2 * (29 - BLOCK_ORDER)
    table = pa.table(columns | {"magnitude": features["r_asinh_mag"]} | features)
    metadata = {"classes": CLASSES, "features": described, "suspects": [], "split": {"order": BLOCK_ORDER}}
    pq.write_table(table.replace_schema_metadata({"skymill": json.dumps(metadata)}), path)


def plain_forest(
    features: NDArray[np.float32], labels: NDArray[np.int64], test: NDArray[np.bool_], seed: int
) -> NDArray[np.float64]:
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(n_estimators=TREES, random_state=seed).fit(features[~test], labels[~test])
    return np.asarray(forest.predict_proba(features[test]))


def run_folds(
    source: tuple[Path, str, str], models: list[ModelConfig], work: Path, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.uint64], dict[str, NDArray[np.float64]]]:
    """Give labels, blocks and each contender's probabilities on all rows, all predicted while their fold was locked."""
    features, labels, blocks = read(*source)
    fold = (share_of(blocks, seed) * FOLDS).astype(int)
    held = share_of(blocks, seed + 1) < VALIDATION_SHARE
    matrix = np.column_stack(list(features.values()))
    p = {name: np.zeros((len(labels), len(CLASSES))) for name in (*[model.name for model in models], PLAIN)}
    for number in range(FOLDS):
        start, test = time.perf_counter(), fold == number
        split = np.where(test, "test", np.where(held, "validation", "train"))
        write_set(work / "set.parquet", features, labels, split, blocks)
        for model in models:
            folder = work / model.name / str(number)
            fit(work / "set.parquet", model, seed=seed, output_folder=folder)
            predictions = pq.read_table(folder / "predictions.parquet")
            rows = predictions["objectId"].to_numpy()
            p[model.name][rows] = np.column_stack([predictions[f"p_{name}"].to_numpy() for name in CLASSES])
        p[PLAIN][test] = plain_forest(matrix, labels, test, seed)
        print(f"  fold {number}: {test.sum()} rows locked, {time.perf_counter() - start:.0f} s", file=sys.stderr)
    p[SMOOTHED] = (TREES * p[PLAIN] + 1 / len(CLASSES)) / (TREES + 1)
    return labels, blocks, p


def resampled(
    labels: NDArray[np.int64], blocks: NDArray[np.uint64], p: dict[str, NDArray[np.float64]], seed: int
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Every metric of every contender for the same resamples of the blocks."""
    return {key: bootstrap(p[key], labels, blocks, classes=CLASSES, seed=seed, resamples=RESAMPLES) for key in p}


def compare(
    name: str, labels: NDArray[np.int64], blocks: NDArray[np.uint64], p: dict[str, NDArray[np.float64]], seed: int
) -> list[str]:
    """Print the table of one data set and give the marks that were missed."""
    ours = next(iter(p))
    values = {key: metrics_of(p[key], labels, classes=CLASSES) for key in p}
    drawn = resampled(labels, blocks, p, seed)
    print(f"\n{name}: {len(labels)} rows in {len(np.unique(blocks))} blocks\n")
    print(f"| metric | {ours} | {PLAIN} | difference | 95% interval (paired) |\n|---|---|---|---|---|")
    interval = {}
    for metric in SHOWN:
        theirs = SMOOTHED if metric == "log_loss" else PLAIN
        a, b = values[ours][metric], values[theirs][metric]
        interval[metric] = np.percentile(drawn[ours][metric] - drawn[theirs][metric], [2.5, 97.5])
        low, high = interval[metric]
        label = f"{metric} (against the {SMOOTHED})" if theirs == SMOOTHED else metric
        print(f"| {label} | {a:.4f} | {b:.4f} | {a - b:+.4f} | {low:+.4f} to {high:+.4f} |")
    missed = [f"{metric} is worse" for metric in ("accuracy", "balanced_accuracy") if interval[metric][1] < 0]
    missed += ["log-loss is not better"] * bool(interval["log_loss"][1] >= 0)
    missed += [f"ECE is over {HIGHEST_ECE}"] * bool(values[ours]["ece"] > HIGHEST_ECE)
    return [f"{name}: {fault}" for fault in missed]


def overview(
    name: str, labels: NDArray[np.int64], blocks: NDArray[np.uint64], p: dict[str, NDArray[np.float64]], seed: int
) -> None:
    """Print all models in one table, and what each costs or gains against the first."""
    first = next(iter(p))
    drawn = resampled(labels, blocks, p, seed)
    print(f"\n{name}: {len(labels)} rows; in brackets the 95% interval of the difference from {first} (paired)\n")
    print(f"| model | {' | '.join(SHOWN)} |\n|{'---|' * (len(SHOWN) + 1)}")
    for key in p:
        values = metrics_of(p[key], labels, classes=CLASSES)
        cells = []
        for metric in SHOWN:
            low, high = np.percentile(drawn[key][metric] - drawn[first][metric], [2.5, 97.5])
            bill = f" ({low:+.4f} to {high:+.4f})" if metric in BILL and key != first else ""
            cells.append(f"{values[metric]:.4f}{bill}")
        print(f"| {key} | {' | '.join(cells)} |")


def coverage(title: str, folder: Path) -> None:
    """Print how often the conformal sets of all folds hold the true class, by class and r magnitude."""
    tables, inside = [], []
    for fold in sorted(folder.iterdir()):
        table = pq.read_table(fold / "predictions.parquet")
        sets = ConformalSets.from_dict(json.loads((fold / "calibration.json").read_text())["conformal"], CLASSES)
        inside.append(sets.contain(np.column_stack([table[f"p_{name}"].to_numpy() for name in CLASSES])))
        tables.append(table)
    table, sets_of = pa.concat_tables(tables), np.concatenate(inside)
    label, magnitude = table["label"].to_numpy(), table["magnitude"].to_numpy()
    covered = sets_of[np.arange(len(label)), label]
    print(f"\n{title}: share of sources whose conformal set holds their class; classes in a set\n")
    print(f"| r | {' | '.join(CLASSES)} | all | classes in a set |\n|{'---|' * (len(CLASSES) + 3)}")
    for low, high in [(-np.inf, np.inf), *magnitude_bins(magnitude)]:
        rows = (magnitude >= low) & (magnitude < high) if np.isfinite(low) else np.ones(len(label), bool)
        chosen = [*(rows & (label == k) for k in range(len(CLASSES))), rows]
        cells = [f"{covered[some].mean():.3f} ({some.sum()})" if some.sum() >= 50 else "-" for some in chosen]
        title = f"{low:g} to {high:g}" if np.isfinite(low) else "all"
        print(f"| {title} | {' | '.join(cells)} | {sets_of[rows].sum(axis=1).mean():.2f} |")


def chosen(path: Path) -> ModelConfig:
    """Read a model's file; groups of features come down to photometry, which is all SDSS gives here."""
    model = load_model(path)
    groups = {"photometric", "shape", "missing"} & set(model.features)
    return model.model_copy(update={"features": ["photometric"]}) if groups else model


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models", type=Path, nargs="+", default=[Path("config/models/mlp.yaml")])
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--seed", type=int, default=2, help="of folds and fits; the folds of 1 chose the learning rate")
    options = parser.parse_args()
    models = [chosen(path) for path in options.models]
    missed = []
    for name in options.sets:
        path, ra, dec = SETS[name]
        with tempfile.TemporaryDirectory() as work:
            labels, blocks, p = run_folds((options.data / path, ra, dec), models, Path(work), options.seed)
            for model in models:
                coverage(f"{name}, {model.name}", Path(work) / model.name)
        if len(models) > 1:
            overview(name, labels, blocks, p, options.seed)
        else:
            missed += compare(name, labels, blocks, p, options.seed)
    print("\n" + ("\n".join(missed) if missed else "every mark is reached"))
    return int(bool(missed))


if __name__ == "__main__":
    raise SystemExit(main())
