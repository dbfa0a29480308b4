"""From features to class, entropy and flags: everything that computes a value of a classification tile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymill.models.distance import LIMIT
from skymill.survey.flags import Flag

UNSCORABLE = Flag(20, "unscorable", "nothing is measured that the model could judge by, so it was not asked")
MODEL_FAILED = Flag(
    21,
    "model_failed",
    "the model gave no probabilities (a NaN, a negative number, a sum other than 1), no vector of length 1 or no votes",
)
OUTSIDE_TRAINING = Flag(
    22, "outside_training", "out of the range of the training rows, or measured in other features than any of them"
)
NO_PIXELS = Flag(23, "no_pixels", "the image that it was measured on could not be read, so the model was not asked")
INFERENCE_FLAGS = (UNSCORABLE, MODEL_FAILED, OUTSIDE_TRAINING)
"""Bits 20 to 23 are this stage's, lower ones those of the features and the survey."""
STAMP_FLAGS = (*INFERENCE_FLAGS, NO_PIXELS)
"""Of a model that looks at pixels."""
NO_CLASS = -1
SUM_TOLERANCE = 1e-3
LENGTH_TOLERANCE = 1e-2
SMALLEST = np.finfo(np.float32).tiny
"""Keeps the logarithm finite where a class has no probability; p log p is 0 there."""


class Answer(NamedTuple):
    """What a model gives for m rows."""

    output: NDArray[np.float32]
    """(m, classes): probabilities; of a model of structure packed posteriors, (m, width)."""
    distance: NDArray[np.float32] | None = None
    """(m,), from the training rows; None where the model does not tell."""
    embedding: NDArray[np.floating[Any]] | None = None
    """(m, d), of length 1; None where the model gives none."""
    disagreement: NDArray[np.float32] | None = None
    """(m,), of the model's members, nats; None where it does not tell."""
    votes: NDArray[np.float32] | None = None
    """(m, answers), concentrations of what volunteers would say; None where it does not tell."""


Model = Callable[..., Answer]
"""Takes features (m, f), or flux and inverse variance of stamps (m, bands, size, size)."""


class Scores(NamedTuple):
    """What a model says of n rows."""

    probabilities: NDArray[np.float32]
    """(n, classes); NaN where not scored."""
    best: NDArray[np.int8]
    """(n,), index of the most probable class (the first of equals), -1 where not scored."""
    entropy: NDArray[np.float32]
    """(n,), in nats; NaN where not scored."""
    flags: NDArray[np.int32]
    """(n,), bits of `STAMP_FLAGS`."""
    conformal_set: NDArray[np.signedinteger[Any]] | None = None
    """(n,), a bit for each class that cannot be excluded; 0 where not scored. None for a model without thresholds."""
    distance: NDArray[np.float16] | None = None
    """(n,), from the training rows; NaN where not scored, None where the model does not tell."""
    embedding: NDArray[np.float16] | None = None
    """(n, d), of length 1; NaN where not scored, None where the model gives none."""
    disagreement: NDArray[np.float32] | None = None
    """(n,), of the model's members, nats; NaN where not scored, None where the model does not tell."""
    votes: NDArray[np.float32] | None = None
    """(n, answers), concentrations of what volunteers would say; NaN where not scored, None where the model does not
    tell."""


def gate(features: NDArray[Any], columns: NDArray[np.intp]) -> NDArray[np.float32]:
    """Give columns of a matrix as ONNX Runtime must have them: native byte order, float32, C-contiguous.

    ONNX Runtime reads big-endian memory as garbage without an error, so nothing reaches it but through here.
    """
    if not np.array_equal(columns, np.arange(features.shape[1])):
        features = np.take(features, columns, axis=1)  # five times faster than features[:, columns]
    return np.ascontiguousarray(features, dtype=np.float32)


def score(
    model: Model,
    features: NDArray[np.float32],
    *,
    n_classes: int,
    deciding: Sequence[int],
    block_rows: int,
    pad: bool = False,
    thresholds: NDArray[np.float32] | None = None,
) -> Scores:
    """Run a model over rows and judge what it gives.

    Parameters
    ----------
    model : callable
        Takes float32 (m, f), gives an `Answer`, with distances always or never.
    features : ndarray of float32, (n, f)
        Native and C-contiguous; NaN and infinite mean not measured.
    n_classes : int
    deciding : sequence of int
        Columns of which a row needs a finite one to be scored.
    block_rows : int
        Rows given to the model at once.
    pad : bool
        Fill the last block up to `block_rows`, for devices that compile a shape.
    thresholds : ndarray of float32, (classes,), optional
        Probability of each class from which on it is in a row's conformal set.

    Returns
    -------
    Scores
    """
    answer = predict(model, features, n_classes=n_classes, block_rows=block_rows, pad=pad)
    lacking = np.where(has_measurement(features, deciding), np.int32(0), np.int32(UNSCORABLE.mask))
    return judge(answer, lacking, thresholds=thresholds)


def judge(answer: Answer, lacking: NDArray[np.int32], *, thresholds: NDArray[np.float32] | None = None) -> Scores:
    """Judge what a model gives; its arrays are changed.

    Parameters
    ----------
    answer : Answer
        Of n rows.
    lacking : ndarray of int32, (n,)
        The bit that says why a row has no answer, whatever stands there; 0 where it has one.
    thresholds : ndarray of float32, (classes,), optional
        As of `score`.

    Returns
    -------
    Scores
    """
    probabilities, distance, embedding, disagreement, votes = answer
    by_class = np.ascontiguousarray(probabilities.T)  # (classes, n): reductions over classes run along memory
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        sound = (np.abs(by_class.sum(axis=0) - 1) <= SUM_TOLERANCE) & (by_class.min(axis=0) >= 0)
        failed = ~(sound & _of_length_one(embedding) & _concentrations(votes))
        entropy = -(by_class * np.log(np.maximum(by_class, SMALLEST))).sum(axis=0)
    best = by_class.argmax(axis=0).astype(np.int8)
    entropy = np.maximum(entropy, np.float32(0))  # no -0.0 where one class has all
    flags = np.zeros(len(best), np.int32)
    unasked = lacking != 0
    if distance is not None:
        flags[~(distance <= LIMIT)] = OUTSIDE_TRAINING.mask
    flags[failed] = MODEL_FAILED.mask
    flags[unasked] = lacking[unasked]
    lost = failed | unasked
    if lost.any():
        probabilities[lost], entropy[lost], best[lost] = np.nan, np.nan, NO_CLASS
        by_class[:, lost] = np.nan
        for told in (distance, embedding, disagreement, votes):
            if told is not None:
                told[lost] = np.nan
    sets = None if thresholds is None else conformal_sets(by_class, thresholds)
    far, vectors = (None if told is None else half(told) for told in (distance, embedding))
    return Scores(probabilities, best, entropy, flags, sets, far, vectors, disagreement, votes)


def conformal_sets(by_class: NDArray[np.float32], thresholds: NDArray[np.float32]) -> NDArray[np.signedinteger[Any]]:
    """Give the classes at or above their threshold (n,), class 0 as bit 0, of probabilities (classes, n)."""
    dtype = set_dtype(len(thresholds))
    sets = np.zeros(by_class.shape[1], dtype)
    for number, (probability, threshold) in enumerate(zip(by_class, thresholds)):
        sets |= (probability >= threshold).astype(dtype) << dtype.type(number)
    return sets


def set_dtype(n_classes: int) -> np.dtype[np.signedinteger[Any]]:
    """Give the smallest signed integer with a bit for each class."""
    return np.dtype(next(f"<i{size}" for size in (2, 4, 8) if n_classes < 8 * size))


def predict(model: Model, features: NDArray[np.float32], *, n_classes: int, block_rows: int, pad: bool) -> Answer:
    """Run a model block by block."""
    probabilities = np.empty((len(features), n_classes), np.float32)
    distances = []
    for start in range(0, len(features), block_rows):
        block = features[start : start + block_rows]
        n = len(block)
        if pad and n < block_rows:
            block = np.concatenate([block, np.full((block_rows - n, features.shape[1]), np.nan, np.float32)])
        answer = model(block)
        probabilities[start : start + n] = answer.output[:n]
        if answer.distance is not None:
            distances.append(answer.distance[:n])
    return Answer(probabilities, np.concatenate(distances) if distances else None)


def half(told: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
    """Give distances or vectors as a catalogue holds them."""
    with np.errstate(over="ignore"):  # what is too far for float16 is infinitely far
        return told.astype(np.float16)


def _of_length_one(embedding: NDArray[np.floating[Any]] | None) -> NDArray[np.bool_] | np.bool_:
    """Tell which rows (n,) are unit vectors, to what float16 keeps; all where there are none."""
    if embedding is None:
        return np.True_
    length = np.sqrt(np.einsum("nd,nd->n", embedding, embedding, dtype=np.float32))
    return np.asarray(np.abs(length - 1) <= LENGTH_TOLERANCE)


def _concentrations(votes: NDArray[np.float32] | None) -> NDArray[np.bool_] | np.bool_:
    """Tell which rows (n,) hold concentrations, finite and not negative; all where there are none."""
    return np.True_ if votes is None else (np.isfinite(votes) & (votes >= 0)).all(axis=1)


def has_measurement(features: NDArray[np.float32], deciding: Sequence[int]) -> NDArray[np.bool_]:
    """Tell rows (n,) of which at least one of the columns `deciding` is finite."""
    # Nearly every row has its first feature, so the others are looked at for the few that lack it.
    measured = np.isfinite(features[:, deciding[0]])
    unsure = np.flatnonzero(~measured)
    measured[unsure] = np.isfinite(features[unsure][:, deciding]).any(axis=1)
    return measured
