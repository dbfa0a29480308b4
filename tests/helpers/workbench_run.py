"""A run's folder up to its training set, written by hand: what the commands of the workbench start from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from skymill.config import read_yaml

REPOSITORY = Path(__file__).resolve().parents[2]
CLASSES = ["GALAXY", "STAR", "QSO"]
FEATURES = {"r_asinh_mag": "photometric", "g_minus_r": "photometric", "g_missing": "missing"}
SMALL = {"members": 1, "width": 8, "depth": 1, "epochs": 3, "batch_size": 128}


def write_run(folder: Path, *, n: int = 900, models: dict[str, dict[str, Any]] | None = None) -> Path:
    """Write a run's file and its training set; give the file. Models by name: changes of a small `mlp`."""
    files = []
    for name, changes in (models or {"small": {}}).items():
        model = {"name": name, "kind": "mlp", "features": list(FEATURES), "settings": SMALL, **changes}
        files.append(str(folder / f"{name}.yaml"))
        Path(files[-1]).write_text(yaml.safe_dump(model))
    shipped = read_yaml(REPOSITORY / "config" / "config.yaml")
    run = {
        **shipped,
        "survey": str(REPOSITORY / shipped["survey"]),
        "models": files,
        "output": str(folder / "results"),
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    write_set(folder, table(n))
    return folder / "run.yaml"


def write_set(folder: Path, rows: pa.Table) -> None:
    """Write a training set where the workflow would, in place of the one that is there."""
    training = folder / "results" / "training"
    (training / "sets").mkdir(parents=True, exist_ok=True)
    described = [
        {"name": name, "unit": "mag", "definition": f"the {name}", "group": group, "indicator": group == "missing"}
        for name, group in FEATURES.items()
    ]
    metadata = {"classes": CLASSES, "features": described, "suspects": [], "split": {"order": 6}}
    pq.write_table(rows.replace_schema_metadata({"skymill": json.dumps(metadata)}), training / "set.parquet")
    sha256 = hashlib.sha256((training / "set.parquet").read_bytes()).hexdigest()
    (training / "set.parquet").rename(training / "sets" / f"{sha256[:12]}.parquet")
    (training / "set.json").write_text(json.dumps({"sha256": sha256, "file": f"sets/{sha256[:12]}.parquet"}))


def table(n: int) -> pa.Table:
    """Three overlapping classes; 60 % train, 20 % validation, 20 % test."""
    random = np.random.default_rng(6)
    labels = random.choice(3, size=n, p=[0.5, 0.3, 0.2])
    centres = np.array([[20.0, 0.5], [21.0, 1.5], [19.0, 0.1]])
    features = (centres[labels] + random.normal(scale=0.5, size=(n, 2))).astype(np.float32)
    features[random.random((n, 2)) < 0.05] = np.nan
    features[:, 0] = np.where(np.isnan(features).all(axis=1), np.float32(20), features[:, 0])
    return pa.table(
        {
            "objectId": np.arange(n) + 2**60,
            "_healpix_29": np.arange(n) << 42,
            "label": labels.astype(np.int8),
            "split": np.array(["train", "train", "train", "validation", "test"])[np.arange(n) % 5],
            "magnitude": features[:, 0],
            "r_asinh_mag": features[:, 0],
            "g_minus_r": features[:, 1],
            "g_missing": np.isnan(features[:, 1]).astype(np.float32),
        }
    )
