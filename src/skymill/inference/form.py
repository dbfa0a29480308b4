"""What a classification tile is made of: columns of features in, ids, flags and scores out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.config.votes import answer_names
from skymill.inference.kernel import INFERENCE_FLAGS, NO_CLASS, STAMP_FLAGS, Scores, set_dtype
from skymill.models.votes import fractions, totals
from skymill.store.flags import with_flags
from skymill.store.variable import IDENTITY, Variable

DISTANCE, EMBEDDING, DISAGREEMENT = "training_distance", "embedding", "disagreement"
"""Names of the columns, as of the graph's outputs."""
COVERAGE, MASKED, BANDS_MISSING = "coverage_frac", "masked_frac", "bands_missing"
"""Columns of a model that looks at pixels."""


def places(present: Sequence[str], wanted: Sequence[str]) -> NDArray[np.intp]:
    """Give the place of each wanted feature among those that are present."""
    return np.array([present.index(name) for name in wanted])


def tile_rows(
    block: Mapping[str, NDArray[Any]], scores: Scores, questions: Mapping[str, Sequence[str]] = {}
) -> dict[str, NDArray[Any]]:
    """Put rows of the tile together: ids and positions stay, flags are added to; `questions` as of `tile_form`."""
    return {
        **{name: block[name] for name in IDENTITY},
        "flags": block["flags"] | scores.flags,
        "probabilities": scores.probabilities,
        "class": scores.best,
        "entropy": scores.entropy,
        **({} if scores.conformal_set is None else {"conformal_set": scores.conformal_set}),
        **({} if scores.distance is None else {DISTANCE: scores.distance}),
        **({} if scores.embedding is None else {EMBEDDING: scores.embedding}),
        **({} if scores.disagreement is None else {DISAGREEMENT: scores.disagreement}),
        **({} if scores.votes is None else _votes(scores.votes, questions)),
    }


def _votes(concentrations: NDArray[np.float32], questions: Mapping[str, Sequence[str]]) -> dict[str, NDArray[Any]]:
    """Give the columns of votes, float32 (n,) each."""
    sizes = [len(answers) for answers in questions.values()]
    (fraction, error), total = fractions(concentrations, sizes), totals(concentrations, sizes)
    names = answer_names(questions)
    columns = {f"{name}_fraction": fraction[:, number] for number, name in enumerate(names)}
    columns |= {f"{name}_fraction_err": error[:, number] for number, name in enumerate(names)}
    columns |= {f"{question}_concentration": total[:, number] for number, question in enumerate(questions)}
    return {name: values.astype(np.float32) for name, values in columns.items()}


def tile_form(
    identity: Mapping[str, Variable],
    classes: tuple[str, ...],
    coverage: float | None = None,
    *,
    distance: bool = False,
    disagreement: bool = False,
    embedding: int = 0,
    questions: Mapping[str, Sequence[str]] = {},
    bands: tuple[str, ...] = (),
) -> dict[str, Variable]:
    """Describe the arrays of a tile; ids and positions are described as in the feature tile.

    Parameters
    ----------
    identity : mapping of str to Variable
    classes : tuple of str
    coverage : float, optional
        Of the conformal sets; None where the model has none.
    distance : bool
        Whether the model tells how far a row is from the training rows.
    disagreement : bool
        Whether it tells how far its members disagree.
    embedding : int
        Length of the vectors that the model gives; 0 where it gives none.
    questions : mapping of str to sequence of str
        What volunteers were asked, and its answers; empty where the model tells no votes.
    bands : tuple of str
        Of the stamps that it looks at; none for a model of features.
    """
    probabilities = Variable.of_rows(
        np.float32,
        dim="class_name",
        columns=classes,
        units="1",
        long_name="calibrated probability of each class",
        ucd="stat.probability",
    )
    best = Variable.of_rows(
        np.int8,
        long_name="most probable class",
        ucd="src.class",
        flag_values=[NO_CLASS, *range(len(classes))],
        flag_meanings=" ".join(["not_scored", *classes]),
    )
    entropy = Variable.of_rows(
        np.float32, units="1", long_name="Shannon entropy of the probabilities in nats", ucd="stat.value"
    )
    flags = with_flags(identity["flags"], STAMP_FLAGS if bands else INFERENCE_FLAGS)
    scores = {"probabilities": probabilities, "class": best, "entropy": entropy}
    if coverage is not None:
        scores["conformal_set"] = _conformal_set(classes, coverage)
    if distance:
        scores[DISTANCE] = distance_form()
    if embedding:
        scores[EMBEDDING] = Variable.of_rows(
            np.float16,
            dim=EMBEDDING,
            size=embedding,
            units="1",
            long_name="vector of length 1 that lies near those of sources that look alike",
        )
    if disagreement:
        scores[DISAGREEMENT] = Variable.of_rows(
            np.float32,
            units="1",
            long_name="mutual information of class and member of the ensemble in nats: 0 where all members agree",
            ucd="stat.value",
        )
    scores |= _votes_form(questions)
    if bands:
        scores |= pixels_form(bands)
    return {**identity, "flags": flags, **scores}


def _votes_form(questions: Mapping[str, Sequence[str]]) -> dict[str, Variable]:
    """Describe the columns of votes, as `_votes` gives them."""
    fraction, error, total = {}, {}, {}
    for question, answers in questions.items():
        for answer in answers:
            told = f"of volunteers asked {question} who would answer {answer}"
            name = f"{question}_{answer}_fraction"
            fraction[name] = Variable.of_rows(
                np.float32, units="1", long_name=f"fraction {told}", ucd="stat.probability"
            )
            error[f"{name}_err"] = Variable.of_rows(
                np.float32,
                units="1",
                long_name=f"standard deviation of the fraction {told}",
                ucd="stat.error;stat.probability",
            )
        total[f"{question}_concentration"] = Variable.of_rows(
            np.float32,
            units="1",
            long_name=f"concentration of the Dirichlet distribution of the fractions of {question}: in votes, how sure "
            "they are",
        )
    return fraction | error | total


def distance_form() -> Variable:
    """Describe the distance from the training rows."""
    return Variable.of_rows(
        np.float16,
        units="1",
        long_name="distance from the rows the model learned from; above 1 is outside, infinite where no such row "
        "has the same features measured",
    )


def pixels_form(bands: tuple[str, ...]) -> dict[str, Variable]:
    """Describe what is said of a source's stamp."""
    shares = {
        COVERAGE: "share of the stamp's pixels that lie on the image and have weight, mean over bands",
        MASKED: "share of the stamp's pixels that lie on the image and are masked, mean over bands",
    }
    return {
        **{name: Variable.of_rows(np.float16, units="1", long_name=meaning) for name, meaning in shares.items()},
        BANDS_MISSING: Variable.of_rows(
            set_dtype(len(bands)),
            long_name="bands in which no pixel of the stamp has weight",
            flag_masks=[1 << number for number in range(len(bands))],
            flag_meanings=" ".join(bands),
        ),
    }


def _conformal_set(classes: tuple[str, ...], coverage: float) -> Variable:
    return Variable.of_rows(
        set_dtype(len(classes)),
        long_name=f"classes that cannot be excluded: of each class, at least {coverage:g} of the sources have it here",
        ucd="src.class",
        flag_masks=[1 << number for number in range(len(classes))],
        flag_meanings=" ".join(classes),
    )
