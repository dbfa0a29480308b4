"""Judge a settled model on the locked test split: metrics, conformal sets, what its features are worth."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymill.models.conformal import ConformalSets
from skymill.models.distance import TrainingDistance
from skymill.training.arrays import LabelledSet, Rows
from skymill.training.attribution import ROWS, attribution_table, sample_rows, shapley_values
from skymill.training.conformal import evaluate_sets
from skymill.training.importance import permutation_importance
from skymill.training.metrics import evaluate

Predict = Callable[[NDArray[np.float32]], NDArray[np.float64]]
JudgeVotes = Callable[[Rows], tuple[dict[str, Any], dict[str, NDArray[Any]]]]


class Judged(NamedTuple):
    """What the test split says of a model."""

    metrics: dict[str, Any]
    importance: dict[str, Any]
    predictions: bytes
    """`predictions.parquet`"""
    attributions: bytes
    """`attributions.parquet`"""
    rows: int
    outside: int
    """Rows further from the training rows than the distance's limit."""
    left_out: int
    """Rows without anything measured that the model could judge by."""


def judge(
    data: LabelledSet,
    predict: Predict,
    sets: ConformalSets | None,
    distance: TrainingDistance,
    background: NDArray[np.float32],
    *,
    judge_votes: JudgeVotes | None = None,
    seed: int,
) -> Judged:
    """Read the test split, once, after everything about the model is settled.

    Parameters
    ----------
    data : LabelledSet
    predict : callable
        Calibrated probabilities (n, k) of features (n, f).
    sets : ConformalSets, optional
    distance : TrainingDistance
    background : ndarray of float32, (b, f)
        Rows to learn from, against which single sources are explained.
    judge_votes : callable, optional
        For a model that tells votes: gives metrics of those for the test rows, and columns of `predictions.parquet`.
    seed : int
        Of resamples, permutations and samples.
    """
    test, left_out = data.rows("test")
    p = predict(test.features)
    metrics = evaluate(p, test.labels, test.magnitude, test.block, classes=data.classes, seed=seed)
    if sets is not None:
        where = (test.labels, test.magnitude, test.block)
        metrics["conformal"] = evaluate_sets(sets, p, *where, classes=data.classes, seed=seed)
    importance = permutation_importance(
        predict,
        test.features,
        test.labels,
        test.block,
        described=data.features,
        seed=seed,
    )
    attributions = _attributions(data, predict, test, background, seed=seed)
    outside = int((distance(test.features) > 1).sum())
    columns = _predictions(test, p, data.classes)
    if judge_votes is not None:
        metrics["votes"], told = judge_votes(test)
        columns |= told
    predictions = _parquet(columns)
    return Judged(metrics, importance, predictions, attributions, len(test.labels), outside, left_out)


def _attributions(
    data: LabelledSet, predict: Predict, test: Rows, background: NDArray[np.float32], *, seed: int
) -> bytes:
    rows = sample_rows(test.labels, ROWS, seed=seed)
    return attribution_table(
        shapley_values(predict, test.features[rows], background, seed=seed),
        test.features[rows],
        object_id=test.object_id[rows],
        labels=test.labels[rows],
        names=[feature["name"] for feature in data.features],
        classes=data.classes,
    )


def _predictions(test: Rows, probabilities: NDArray[np.float64], classes: list[str]) -> dict[str, NDArray[Any]]:
    return {
        "objectId": test.object_id,
        "label": test.labels.astype(np.int8),
        "magnitude": test.magnitude,
        **{f"p_{name}": probabilities[:, k].astype(np.float32) for k, name in enumerate(classes)},
    }


def _parquet(columns: Mapping[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    contiguous = {name: np.ascontiguousarray(values) for name, values in columns.items()}
    pq.write_table(pa.table(contiguous), buffer, compression="zstd")
    return buffer.getvalue()
