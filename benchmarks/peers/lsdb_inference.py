"""The peer of inference, in its own environment: lsdb's `map_partitions` with scikit-learn's `predict_proba`.

Fits a forest and a perceptron on the rows it is given, each behind a median imputer, and keeps one copy in each worker,
so that no task carries a model. A job opens the catalogue, asks for the columns it needs, and writes a HATS catalogue.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import lsdb
import numpy as np
import pandas as pd
from answering import answer
from distributed import Client, LocalCluster, Worker, get_worker
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

KEPT = ["objectId", "coord_ra", "coord_dec"]


def main() -> None:
    """Fit, start the workers, do the jobs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, required=True, help="features, labels and weights to learn from (.npz)")
    parser.add_argument("--perceptron", type=Path, required=True, help="where its weights are written (.npz)")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with np.load(arguments.rows) as stored:
        rows = {name: stored[name] for name in stored.files}
    features, classes = rows["names"].tolist(), rows["classes"].tolist()
    models = {"forest": fit_forest(rows), "mlp": fit_perceptron(rows, arguments.perceptron)}
    with (
        LocalCluster(arguments.workers, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster,
        Client(cluster) as client,
    ):
        client.run(keep, models=models)

        def job(catalogue: str, model: str, output: str, level: int | None) -> dict[str, Any]:
            opened = lsdb.open_catalog(catalogue, columns=[*KEPT, *features])
            scored = opened.map_partitions(classify, model=model, features=features, classes=classes)
            how = {} if level is None else {"write_table_kwargs": {"compression": "zstd", "compression_level": level}}
            scored.write_catalog(output, catalog_name="scored", as_collection=False, progress_bar=False, **how)
            return {}

        answer(job, {"iterations": models["mlp"][-1].n_iter_})


def fit_forest(rows: dict[str, Any]) -> Pipeline:
    """Grow the forest of the settings given with the rows."""
    settings = {name: int(rows[name]) for name in ("n_estimators", "max_depth", "min_samples_leaf", "random_state")}
    model = make_pipeline(SimpleImputer(strategy="median"), RandomForestClassifier(max_features="sqrt", **settings))
    return model.fit(rows["features"], rows["labels"], randomforestclassifier__sample_weight=rows["weights"])


def fit_perceptron(rows: dict[str, Any], path: Path) -> Pipeline:
    """Train the perceptron and write what it is made of."""
    perceptron = MLPClassifier(tuple(rows["hidden"].tolist()), early_stopping=True, random_state=1, max_iter=60)
    model = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), perceptron)
    model.fit(rows["features"], rows["labels"])
    imputer, scaler, _ = (step for _, step in model.steps)
    weights = {f"weight{number}": weight for number, weight in enumerate(perceptron.coefs_)}
    biases = {f"bias{number}": bias for number, bias in enumerate(perceptron.intercepts_)}
    np.savez(path, imputation=imputer.statistics_, mean=scaler.mean_, scale=scaler.scale_, **weights, **biases)
    return model


def keep(dask_worker: Worker, models: dict[str, Pipeline]) -> None:
    """Hold the models in a worker."""
    dask_worker.kept_models = models
    logging.getLogger("distributed").setLevel(logging.ERROR)


def classify(rows: pd.DataFrame, *, model: str, features: list[str], classes: list[str]) -> pd.DataFrame:
    """Give ids, positions, probabilities and the most probable class."""
    probabilities = np.empty((0, len(classes)))
    if len(rows):  # lsdb asks with none for the form of the answer
        measured = rows[features].to_numpy(np.float32, na_value=np.nan)
        probabilities = get_worker().kept_models[model].predict_proba(measured)
    found = rows[KEPT].copy()
    for number, name in enumerate(classes):
        found[f"p_{name}"] = probabilities[:, number].astype(np.float32)
    found["class"] = probabilities.argmax(axis=1).astype(np.int8)
    return found


if __name__ == "__main__":
    main()
