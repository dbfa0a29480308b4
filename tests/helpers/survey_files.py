"""A small survey as Parquet files on disk, one file a patch of sky, for running the whole workflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

BANDS = "ugrizy"
CENTRES = {"north": (40.0, 60.0), "wrap": (0.0, 5.0)}
"""Patches far apart, so that each is a group of its own; one lies across RA 0."""
ROWS = 3000
CLASSES = ["GALAXY", "QSO", "STAR"]
TILING = {"max_rows": 1500, "highest_order": 8, "group_order": 0}


def patch_table(name: str, *, seed: int = 0, rows: int = ROWS) -> pa.Table:
    """Make one patch: three classes of overlapping colours, LSST-like column names, nJy."""
    order = list(CENTRES).index(name)
    rng = np.random.default_rng([seed, order])
    ra0, dec0 = CENTRES[name]
    kind = rng.integers(0, 3, rows)
    columns: dict[str, Any] = {
        "objectId": (np.int64(1) << 55) + order * 1_000_000 + np.arange(rows, dtype=np.int64),
        "coord_ra": (ra0 + rng.uniform(-4, 4, rows) / np.cos(np.radians(dec0))) % 360,
        "coord_dec": dec0 + rng.uniform(-4, 4, rows),
        "ebv": rng.uniform(0.01, 0.1, rows).astype(np.float32),
    }
    magnitude = rng.uniform(18, 24, rows)
    for number, band in enumerate(BANDS):
        colour = np.array([0.35, 0.05, 0.15])[kind] * (number - 2) + rng.normal(0, 0.15, rows)
        flux = 10 ** ((31.4 - magnitude + colour) / 2.5)
        error = np.hypot(20.0, 0.02 * flux)
        columns[f"{band}_psfFlux"] = (flux + rng.normal(0, error)).astype(np.float32)
        columns[f"{band}_psfFluxErr"] = error.astype(np.float32)
    columns["class"] = np.array(CLASSES)[kind]
    return pa.table(columns)


def write_survey(folder: Path) -> None:
    """Write tables/, labels.parquet (of one of the patches), the YAML files and config.yaml into `folder`."""
    (folder / "tables").mkdir(parents=True)
    for name in CENTRES:
        pq.write_table(patch_table(name).drop_columns(["class"]), folder / "tables" / f"{name}.parquet")
    write_labels(folder)
    survey = {
        "name": "patches",
        "format": "parquet",
        "path": "tables",
        "bands": list(BANDS),
        "id": {"column": "objectId"},
        "ra": {"column": "coord_ra", "unit": "deg"},
        "dec": {"column": "coord_dec", "unit": "deg"},
        "photometry": {
            "psfFlux": {"column": "{band}_psfFlux", "error": "{band}_psfFluxErr", "unit": "nJy"},
        },
        "extinction": {
            "column": "ebv",
            "coefficients": dict(zip(BANDS, (4.78, 3.65, 2.70, 2.06, 1.58, 1.31), strict=True)),
        },
    }
    run = {
        "name": "patches",
        "survey": "survey.yaml",
        "models": ["forest.yaml", "mlp.yaml"],
        "tiling": TILING,
        "labels": {
            "path": "labels.parquet",
            "column": "class",
            "classes": CLASSES,
            "id": {"column": "objectId"},
        },
        "split": {"order": 5, "guard_arcsec": 30},
        "compute": {"memory_per_worker": "2GB"},
    }
    forest = {"name": "forest", "kind": "forest", "settings": {"trees": 10, "max_depth": 6}}
    mlp = {"name": "mlp", "kind": "mlp", "settings": {"members": 1, "epochs": 3}}
    for name, content in (("survey", survey), ("config", run), ("forest", forest), ("mlp", mlp)):
        write_yaml(folder / f"{name}.yaml", content)


def write_labels(folder: Path, *, flip: int | None = None) -> None:
    """Write the labels of `north`; `flip` changes the class of one row."""
    labels = patch_table("north").select(["objectId", "class"])
    if flip is not None:
        classes = labels["class"].to_pylist()
        classes[flip] = CLASSES[(CLASSES.index(classes[flip]) + 1) % len(CLASSES)]
        labels = labels.set_column(1, "class", pa.array(classes))
    pq.write_table(labels, folder / "labels.parquet")


def write_yaml(path: Path, content: dict[str, Any]) -> None:
    """Write a YAML file."""
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def edit_yaml(path: Path, **changes: Any) -> None:
    """Replace top-level keys of a YAML file."""
    write_yaml(path, {**yaml.safe_load(path.read_text()), **changes})
