"""Ways to run trees in ONNX Runtime: rows per second of one core, and what each costs in science.

    python benchmarks/tree_routes.py [--data DIR] [--embedded results/training/sets/DIGEST.parquet]

Every route is fitted, calibrated and exported as the workflow does, on one and the same split. Rates are those of the
calibrated graph, one thread, blocks of 2,048 rows, best of several, per second of CPU; a route marked `tree operator`
is the same fitted model with ONNX's TreeEnsembleRegressor instead of plain operators, without calibration.
`distilled` is the perceptrons of `mlp`, trained on the forest's probabilities of perturbed rows.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sdss_classification as sdss
from numpy.typing import NDArray
from onnx import ModelProto, helper

from skymill.config import ModelConfig
from skymill.export.graph import imputation_nodes, new_model
from skymill.export.metadata import INPUT, OUTPUT
from skymill.export.stage import CONVERTERS, append_calibration
from skymill.models import Examples, Mlp, Place
from skymill.models.mlp import MlpSettings
from skymill.models.trees import Tree, Trees, pack
from skymill.sessions.runtime import open_session
from skymill.training.arrays import Rows, open_set
from skymill.training.calibration import fit_calibration
from skymill.training.fitting import Fit, fit, load_fit
from skymill.training.metrics import bootstrap, metrics_of

BLOCK_ROWS, REPEATS = 2048, 9
SHOWN = ("accuracy", "balanced_accuracy", "log_loss", "ece")
TEACHER = "forest 200 x 16"
ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    TEACHER: ("forest", {"trees": 200, "max_depth": 16}),
    "forest 100 x 12": ("forest", {"trees": 100, "max_depth": 12}),
    "forest 50 x 8": ("forest", {"trees": 50, "max_depth": 8}),
    "boosting 200 x 3 x 6": ("boosting", {}),
    "boosting 60 x 3 x 4": ("boosting", {"rounds": 60, "max_depth": 4, "learning_rate": 0.2}),
    "oblivious 300 x 4": ("oblivious", {"trees": 300, "depth": 4, "learning_rate": 0.2}),
    "oblivious 100 x 6": ("oblivious", {"trees": 100, "depth": 6, "learning_rate": 0.2}),
    "oblivious 300 x 6": ("oblivious", {"trees": 300, "depth": 6}),
    "oblivious 200 x 7": ("oblivious", {"trees": 200, "depth": 7}),
    "oblivious 60 x 8": ("oblivious", {"trees": 60, "depth": 8, "learning_rate": 0.2}),
    "mlp 1 x 64-64": ("mlp", {"members": 1, "depth": 2, "activation": "relu"}),
}
COPIES, NOISE, SEED = 3, 0.2, 1


@dataclass(frozen=True)
class Route:
    """One way: what it says of the test rows, and how fast it says it."""

    probabilities: NDArray[np.float64]
    rate: float


def rate(graph: ModelProto, features: NDArray[np.float32]) -> float:
    """Rows per second of CPU."""
    session = open_session(graph.SerializeToString(), provider="cpu", source="benchmark")
    block = np.resize(features, (BLOCK_ROWS, features.shape[1]))
    best = np.inf
    for _ in range(REPEATS):
        start = time.process_time()
        session.run(None, {INPUT: block})
        best = min(best, time.process_time() - start)
    return BLOCK_ROWS / best


def tree_operator(
    trees: Trees, imputation: NDArray[np.float32], target: Callable[[int, int], int], k: int
) -> ModelProto:
    """Make the rows' sums with ONNX's own tree operator; `target` gives the sum that a tree's value belongs to."""
    nodes: dict[str, list[Any]] = {name: [] for name in ("tree", "id", "feature", "value", "mode", "true", "false")}
    leaves: dict[str, list[Any]] = {name: [] for name in ("tree", "node", "target", "weight")}
    for number, (feature, threshold, child, value, _) in enumerate(zip(*trees)):
        for i, first in enumerate(child):
            if i and first == 0:
                continue  # filling
            leaf = bool(np.isinf(threshold[i]))
            mode = "LEAF" if leaf else "BRANCH_LEQ"
            row = (number, i, feature[i], 0.0 if leaf else threshold[i], mode, 0 if leaf else first)
            for name, entry in zip(nodes, (*row, 0 if leaf else first + 1)):
                nodes[name].append(entry)
            for j, weight in enumerate(value[i] if leaf else []):
                for name, entry in zip(leaves, (number, i, target(number, j), weight)):
                    leaves[name].append(entry)
    operator = helper.make_node(
        "TreeEnsembleRegressor",
        ["measured"],
        [OUTPUT],
        domain="ai.onnx.ml",
        n_targets=k,
        nodes_treeids=nodes["tree"],
        nodes_nodeids=nodes["id"],
        nodes_featureids=[int(i) for i in nodes["feature"]],
        nodes_values=[float(value) for value in nodes["value"]],
        nodes_modes=nodes["mode"],
        nodes_truenodeids=[int(i) for i in nodes["true"]],
        nodes_falsenodeids=[int(i) for i in nodes["false"]],
        target_treeids=leaves["tree"],
        target_nodeids=leaves["node"],
        target_ids=leaves["target"],
        target_weights=[float(weight) for weight in leaves["weight"]],
    )
    first, constants = imputation_nodes(imputation, output="measured")
    graph = new_model([*first, operator], constants, n_features=len(imputation), n_classes=k)
    graph.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    return graph


def operator_route(fitted: Fit) -> ModelProto | None:
    """The tree operator's form of a forest or of boosting."""
    model, k = fitted.model, len(fitted.manifest["classes"])
    if fitted.manifest["kind"] == "boosting":
        return tree_operator(model.trees, model.imputation, lambda tree, _: tree % k, k)
    if fitted.manifest["kind"] != "forest":
        return None
    grown = [estimator.tree_ for estimator in model.estimator.estimators_]
    trees = pack(Tree(t.children_left, t.children_right, t.feature, t.threshold, t.value[:, 0]) for t in grown)
    return tree_operator(trees, model.imputation, lambda _, j: j, k)


def distil(path: Path, features: list[str], teacher: Fit, work: Path) -> Route:
    """Train perceptrons on the teacher's probabilities: each row once per class, weighted by them."""
    data = open_set(path, features)
    train, validation, test = (data.rows(split)[0] for split in ("train", "validation", "test"))
    k, random = len(data.classes), np.random.default_rng(SEED)
    rows = np.tile(train.features, (COPIES, 1))
    rows += (NOISE * np.nanstd(train.features, axis=0) * random.normal(size=rows.shape)).astype(np.float32)
    rows = np.concatenate([train.features, rows])
    soft = teacher.model.predict_probabilities(rows)
    wide = Examples(np.repeat(rows, k, axis=0), np.tile(np.arange(k), len(rows)), k * soft.ravel(), k)
    held = Examples(validation.features, validation.labels, np.ones(len(validation.labels), np.float32), k)
    settings = MlpSettings(members=1, depth=2, activation="relu", batch_size=2048, epochs=20)
    student = Mlp.fit(wide, held, settings, seed=SEED, place=Place(work, "cpu"))
    p = student.predict_probabilities
    calibration, _ = fit_calibration(p(validation.features), validation.labels, method="auto", seed=SEED)
    graph = append_calibration(CONVERTERS["mlp"](student), calibration)
    return Route(calibration.apply(p(test.features)), rate(graph, test.features))


def run(path: Path, features: list[str], work: Path) -> tuple[Rows, list[str], dict[str, Route]]:
    """Fit, export and time all routes on one training set."""
    data = open_set(path, features)
    test, _ = data.rows("test")
    routes: dict[str, Route] = {}
    for name, (kind, settings) in ROUTES.items():
        start = time.perf_counter()
        model = ModelConfig(name="route", kind=kind, features=features, settings=settings)
        folder = work / name.replace(" ", "")
        fit(path, model, seed=SEED, output_folder=folder, device="cpu")
        fitted = load_fit(folder)
        graph = append_calibration(CONVERTERS[kind](fitted.model), fitted.calibration)
        p = fitted.predict_probabilities(test.features)
        routes[name] = Route(p, rate(graph, test.features))
        operator = operator_route(fitted)
        if operator is not None:
            routes[f"{name}, tree operator"] = Route(p, rate(operator, test.features))
        print(f"  {name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    teacher = load_fit(work / TEACHER.replace(" ", ""))
    routes["distilled into mlp 1 x 64-64"] = distil(path, features, teacher, work)
    return test, data.classes, routes


def show(name: str, test: Rows, classes: list[str], routes: Mapping[str, Route]) -> None:
    """Print one table."""
    labels = test.labels
    drawn = {
        key: bootstrap(route.probabilities, labels, test.block, classes=classes, seed=SEED)
        for key, route in routes.items()
    }
    print(
        f"\n{name}: {len(labels)} test rows; in brackets the 95% interval of the difference from the first (paired)\n"
    )
    print(f"| route | M rows/s per core | {' | '.join(SHOWN)} |\n|{'---|' * (len(SHOWN) + 2)}")
    for key, route in routes.items():
        values = metrics_of(route.probabilities, labels, classes=classes)
        cells = []
        for metric in SHOWN:
            low, high = np.percentile(drawn[key][metric] - drawn[TEACHER][metric], [2.5, 97.5])
            cells.append(f"{values[metric]:.4f}" + (f" ({low:+.4f} to {high:+.4f})" if key != TEACHER else ""))
        same = ["same"] * len(SHOWN)
        print(f"| {key} | {route.rate / 1e6:.2f} | {' | '.join(same if 'operator' in key else cells)} |", flush=True)


def sdss_set(name: str, data: Path, work: Path) -> Path:
    """Write the training set of one split of an SDSS sample: a fifth of the sky locked."""
    path, ra, dec = sdss.SETS[name]
    features, labels, blocks = sdss.read(data / path, ra, dec)
    share = sdss.share_of(blocks, SEED)
    held = sdss.share_of(blocks, SEED + 1) < sdss.VALIDATION_SHARE
    split = np.where(share < 1 / sdss.FOLDS, "test", np.where(held, "validation", "train"))
    sdss.write_set(work / f"{name}.parquet", features, labels, split, blocks)
    return work / f"{name}.parquet"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--embedded", type=Path, help="a training set of the embedded survey")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        sets = {name: (sdss_set(name, options.data, work), ["photometric"]) for name in sdss.SETS}
        if options.embedded:
            sets = {"embedded survey": (options.embedded, ["photometric", "shape", "missing"])} | sets
        for name, (path, features) in sets.items():
            print(name, file=sys.stderr)
            show(name, *run(path, features, work / name.replace(" ", "_")))


if __name__ == "__main__":
    main()
