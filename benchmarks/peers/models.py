"""The models of both sides: those that scikit-learn fits, as ONNX files, and ours as the workflow ships them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from skymill import export, features, training
from skymill.config import RunConfig, load_model
from skymill.export.converters import CONVERTERS
from skymill.export.graph import to_bytes
from skymill.export.metadata import ModelInput, ModelSchema
from skymill.models import Mlp
from skymill.models.mlp_network import Preprocessing, StackedNetwork
from skymill.store import file_sha256, short
from skymill.survey import open_survey
from skymill.training.arrays import LabelledSet, open_set
from skymill.training.fitting import load_fit

CONFIG = Path(__file__).resolve().parents[2] / "config" / "models"
SHIPPED = ("forest", "mlp", "oblivious")
FEATURES = ("photometric", "shape", "missing")
HIDDEN = (64, 64, 64)
SEED = 42


def write_rows(training_set: Path, path: Path) -> LabelledSet:
    """Write for the peer what the forest and the perceptron learn from, and the settings of `config/models`."""
    data = open_set(training_set, FEATURES)
    train, _ = data.rows("train")
    forest = load_model(CONFIG / "forest.yaml").settings
    np.savez(
        path,
        features=train.features,
        labels=train.labels,
        weights=np.ones(len(train.labels), np.float32),
        names=[feature["name"] for feature in data.features],
        classes=data.classes,
        hidden=HIDDEN,
        n_estimators=forest["trees"],
        max_depth=forest["max_depth"],
        min_samples_leaf=forest["min_samples_leaf"],
        random_state=SEED,
    )
    return data


def ship(training_set: Path, folder: Path) -> dict[str, Path]:
    """Fit, calibrate and export as the workflow does, unless that is done; give the ONNX files."""
    kept = folder / "training" / "sets" / f"{short(file_sha256(training_set))}.parquet"
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(training_set, kept)
    found = {}
    for name in SHIPPED:
        fitted, told = folder / "training" / name / "fit", folder / "models" / name / "manifest.json"
        model = load_model(CONFIG / f"{name}.yaml")
        if not told.is_file():
            training.fit(kept, model, seed=SEED, output_folder=fitted, device="cpu", threads=2)
            export.to_onnx(fitted / "manifest.json", output=folder, model=model, recipe=recipe())
        found[name] = told.parent / f"{json.loads(told.read_text())['onnx']}.onnx"
    return found


def recipe() -> features.Recipe:
    """What the features of the embedded survey are made of."""
    from peers.feature_tables import embedded

    run = RunConfig(name="peers", survey="")
    return features.make_recipe(open_survey(embedded(1_000_000)).config, run.features)


def bare_forest(folder: Path, data: LabelledSet) -> Path:
    """Export the shipped forest without calibration and distance: what `predict_proba` gives."""
    model = load_fit(folder / "training" / "forest" / "fit").model
    return write_onnx(folder, "forest", model, data)


def bare_perceptron(folder: Path, data: LabelledSet, weights: Path) -> Path:
    """Export the perceptron that scikit-learn trained."""
    with np.load(weights) as stored:
        arrays = {name: torch.from_numpy(stored[name].astype(np.float32)) for name in stored.files}
    return write_onnx(folder, "mlp", as_mlp(arrays), data)


def as_mlp(arrays: dict[str, torch.Tensor]) -> Mlp:
    """Put imputation, mean, scale, weights and biases into our perceptron; nothing is clipped."""
    layers = range(sum(name.startswith("weight") for name in arrays))
    sizes = [len(arrays["mean"]), *(len(arrays[f"bias{layer}"]) for layer in layers)]
    network = StackedNetwork(sizes, members=1, activation="relu", dropout=0.0)
    for layer in layers:
        network.weights[layer].data = arrays[f"weight{layer}"][None]
        network.biases[layer].data = arrays[f"bias{layer}"][None, None]
    infinite = torch.full_like(arrays["mean"], torch.inf)
    preprocessing = Preprocessing(arrays["imputation"], -infinite, infinite, arrays["mean"], arrays["scale"])
    return Mlp(network.eval(), preprocessing, [])


def write_onnx(folder: Path, kind: str, model: object, data: LabelledSet) -> Path:
    """Write a model by the workflow's own converter, with the schema that inference needs."""
    keys = ("name", "unit", "definition", "indicator", "group")
    inputs = tuple(ModelInput(**{key: feature[key] for key in keys}) for feature in data.features)
    schema = ModelSchema(kind, kind, "classification", inputs, tuple(data.classes), None, {}, {})
    content = to_bytes(CONVERTERS[kind](model), schema.as_metadata())
    path = folder / "models" / f"bare_{kind}" / f"{short(hashlib.sha256(content).hexdigest())}.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def largest_difference(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """Give the largest difference of probabilities in rows that we scored; others are NaN here by design."""
    scored = np.isfinite(ours[:, 0])
    return float(np.abs(ours[scored] - theirs[scored]).max(initial=0.0))
