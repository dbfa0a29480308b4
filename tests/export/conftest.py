"""A small training set with hard rows, and models fitted on it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skymill.config import ModelConfig
from skymill.features.recipe import Recipe
from skymill.models import members_of
from skymill.store import file_sha256, short
from skymill.training.fitting import fit

CLASSES = ["star", "galaxy", "quasar"]
FEATURES = ["g_asinh_mag", "r_asinh_mag", "g_minus_r", "g_extent", "g_missing"]
GROUPS = ["photometric", "photometric", "photometric", "value", "missing"]
RECIPE = Recipe(
    bands=("g", "r"),
    colour_flux="psfFlux",
    size_flux=None,
    has_errors=False,
    softening_nJy=(8.0, 8.0),
    extinction=None,
    radius_unit=None,
    psf_band=None,
    values=(("g_extent", "mag"),),
)
ROWS = 3_000
MODELS = {
    "forest": {"kind": "forest", "settings": {"trees": 20, "max_depth": 8}},
    "boosting": {"kind": "boosting", "settings": {"rounds": 12}},
    "oblivious": {"kind": "oblivious", "settings": {"trees": 60, "depth": 5}},
    "linear_cut": {
        "kind": "linear_cut",
        "settings": {"cuts": [{"coefficients": {"g_extent": 1.0, "g_minus_r": 0.3}, "above": 0.5}]},
    },
    "svm": {"kind": "svm", "settings": {"landmarks": 100}},
    "knn": {"kind": "knn", "settings": {"references": 200, "neighbours": 15}},
    "mlp": {"kind": "mlp", "settings": {"members": 2, "width": 16, "epochs": 3}},
    "ensemble": {"kind": "ensemble", "settings": {"members": ["oblivious", "linear_cut", "mlp"]}},
}


def sources(n: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, 5) with one in ten missing, and labels (n,) that overlap."""
    random = np.random.default_rng(seed)
    labels = random.integers(3, size=n)
    g = random.normal(22, 1.5, n) + 0.3 * labels
    colour = random.normal([0.4, 0.9, 0.1], 0.3, (n, 3))[np.arange(n), labels]
    extent = random.normal([0.0, 0.6, 0.05], 0.2, (n, 3))[np.arange(n), labels]
    features = np.column_stack([g, g - colour, colour, extent, np.zeros(n)]).astype(np.float32)
    measured = features[:, :4]
    measured[random.random(measured.shape) < 0.1] = np.nan
    features[:, 4] = np.isnan(features[:, 0])
    return features, labels


def write_set(output: Path) -> Path:
    """Write a training set as the stage `training_set` does."""
    features, labels = sources(ROWS, seed=3)
    split = np.array(["train", "validation", "test"])[np.arange(ROWS) % 3]
    columns = {
        "objectId": np.arange(ROWS),
        "_healpix_29": np.arange(ROWS) << 40,
        "label": labels.astype(np.int8),
        "split": split,
        "magnitude": features[:, 1],
        **{name: features[:, i] for i, name in enumerate(FEATURES)},
    }
    described = [
        {"name": name, "unit": "mag", "definition": name, "group": group, "indicator": group == "missing"}
        for name, group in zip(FEATURES, GROUPS, strict=True)
    ]
    content = {"classes": CLASSES, "features": described, "suspects": [], "split": {"order": 6}}
    metadata = {"skymill": json.dumps(content)}
    table = pa.table(columns).replace_schema_metadata(metadata)
    folder = output / "training" / "sets"
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "new.parquet")
    return (folder / "new.parquet").rename(folder / f"{short(file_sha256(folder / 'new.parquet'))}.parquet")


def model_config(name: str, *, calibration: str = "temperature", **changes: object) -> ModelConfig:
    """Settings of a small model that fits in a second."""
    return ModelConfig(name=name, features=FEATURES, calibration=calibration, **{**MODELS[name], **changes})


@dataclass(frozen=True)
class Lab:
    """What the tests need of the fits: where they are, and how their rows and settings are made."""

    output: Path
    classes = CLASSES
    features = FEATURES
    recipe = RECIPE
    sources = staticmethod(sources)
    config = staticmethod(model_config)

    def fit(self, name: str, calibration: str) -> Path:
        """The manifest of a fit."""
        return self.output / "training" / name / calibration / "manifest.json"


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A results folder with a training set and every model with every calibration; tests only read it."""
    output = tmp_path_factory.mktemp("fitted")
    training_set = write_set(output)
    for name in MODELS:
        for calibration in ("temperature", "isotonic"):
            folder = output / "training" / name / calibration
            model = model_config(name, calibration=calibration)
            members = {
                member: output / "training" / member / calibration for member in members_of(model.kind, model.settings)
            }
            fit(training_set, model, seed=1, output_folder=folder, device="cpu", members=members)
    return Lab(output)
