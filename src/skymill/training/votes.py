"""Votes of volunteers as a fitted model tells them: calibrated on the validation split, judged on the test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import gammaln

from skymill.config.votes import answer_names
from skymill.models.votes import Array, by_question, fractions, log_likelihood
from skymill.training.arrays import Rows, TrainingSetError
from skymill.training.metrics import magnitude_bins, share_with_interval

WIDEST = 20.0
"""By so much the calibration may multiply the concentrations of a question, or divide them."""
INTERVALS = {"coverage_68": 0.68, "coverage_95": 0.95}
FEWEST = 5
"""Rows of the validation split with votes for a question that its calibration needs."""


class TellsVotes(Protocol):
    """A fitted model that tells concentrations of answers."""

    @property
    def questions(self) -> Sequence[int]:
        """Answers of each question."""

    def concentrations(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give concentrations (n, a), not calibrated, of features (n, f)."""


@dataclass(frozen=True)
class Votes:
    """What volunteers were asked, and how a model's concentrations are calibrated."""

    questions: Mapping[str, Sequence[str]]
    """Answers of each question."""
    factors: Mapping[str, float]
    """By which the concentrations of each question are multiplied."""

    @property
    def sizes(self) -> list[int]:
        """Answers of each question."""
        return [len(answers) for answers in self.questions.values()]

    @property
    def in_order(self) -> list[float]:
        """The factors, in the order of the questions."""
        return [self.factors[name] for name in self.questions]

    def calibrated(self, concentrations: NDArray[np.floating]) -> Array:
        """Give calibrated concentrations of plain ones, (n, a)."""
        return np.asarray(concentrations * np.repeat(self.in_order, self.sizes))

    def told(self, model: TellsVotes, features: NDArray[np.float32]) -> Array:
        """Give calibrated concentrations (n, a) of features (n, f)."""
        return self.calibrated(model.concentrations(features).astype(np.float64))


def settle(
    model: TellsVotes,
    features: NDArray[np.float32],
    votes: NDArray[np.float32],
    questions: Mapping[str, Sequence[str]],
    *,
    method: str,
) -> Votes:
    """Calibrate a model on the validation split: one factor of the concentrations of each question.

    Parameters
    ----------
    model : TellsVotes
    features : ndarray of float32, (n, f)
    votes : ndarray, (n, a)
    questions : mapping of str to sequence of str
    method : str
        The model's `calibration`; `none` leaves the concentrations as they are.

    Raises
    ------
    TrainingSetError
        If hardly a row of the split has votes for one of the questions.
    """
    plain = Votes(questions, dict.fromkeys(questions, 1.0))
    asked = np.stack([own.sum(axis=1) > 0 for own in by_question(votes, plain.sizes)], axis=1).sum(axis=0)
    for name, n in zip(questions, asked.tolist()):
        if n < FEWEST:
            raise TrainingSetError(
                f"votes.{name}: expected at least {FEWEST} rows of the split 'validation' with votes, found {n}; give "
                "more, or take the question out of labels.votes"
            )
    if method == "none":
        return plain
    return Votes(questions, dict(zip(questions, fit_factors(model.concentrations(features), votes, plain.sizes))))


def fit_factors(
    concentrations: NDArray[np.floating], votes: NDArray[np.floating], questions: Sequence[int]
) -> list[float]:
    """Give the factor of each question's concentrations under which votes (n, a) are the most probable."""
    found = []
    for alpha, counts in zip(by_question(concentrations, questions), by_question(votes, questions), strict=True):

        def loss(logarithm: float, alpha: Array = alpha, counts: Array = counts) -> float:
            return -float(log_likelihood(np.exp(logarithm) * alpha, counts, [alpha.shape[1]]).sum())

        reach = np.log(WIDEST)
        found.append(float(np.exp(minimize_scalar(loss, bounds=(-reach, reach), method="bounded").x)))
    return found


def usual_concentrations(votes: NDArray[np.floating], questions: Sequence[int]) -> Array:
    """Give the concentrations (a,) of who knows nothing of a source but what all are like, from votes (n, a)."""
    mean = np.concatenate([own.sum(axis=0) / max(own.sum(), 1) for own in by_question(votes, questions)])
    mean = np.maximum(mean, 1e-6)
    factors = fit_factors(np.broadcast_to(10 * mean, votes.shape), votes, questions)
    return np.asarray(10 * mean * np.repeat(factors, questions))


def evaluate_votes(
    concentrations: Array,
    votes: NDArray[np.floating],
    magnitude: NDArray[np.floating],
    block: NDArray[np.integer],
    *,
    questions: Mapping[str, Sequence[str]],
    usual: Array,
    seed: int,
) -> dict[str, Any]:
    """Give what `metrics.json` holds of votes.

    Parameters
    ----------
    concentrations : ndarray, (n, a)
        Calibrated.
    votes : ndarray, (n, a)
    magnitude, block : ndarray, (n,)
        As of `metrics.evaluate`.
    questions : mapping of str to sequence of str
        Answers of each.
    usual : ndarray, (a,)
        `usual_concentrations` of the training rows.
    seed : int
        Of resamples, and of the chance in `pit`.

    Returns
    -------
    dict
        Of each question, over the rows that have votes for it: `answers`, `n`, `votes`, `overall` and `by_magnitude`.
        Their metrics, {value, low, high} each: ``log_score`` (minus the logarithm of the probability of the votes,
        nats a row; low is good), ``gain`` (by how much less that is than with `usual`), ``fraction_error`` (mean
        absolute difference of the fractions told and voted), ``fraction_error_if_right`` (what right concentrations
        give with so few votes), ``coverage_68`` and ``coverage_95`` (how often central intervals of an answer's votes
        hold them) and ``bias_<answer>`` (mean of the fraction voted less the one told).
    """
    sizes = [len(answers) for answers in questions.values()]
    parts = zip(*(by_question(each, sizes) for each in (concentrations, votes, usual[None])), strict=True)
    found = {}
    for (name, answers), (alpha, counts, common) in zip(questions.items(), parts, strict=True):
        asked = counts.sum(axis=1) > 0
        rows = _by_row(alpha[asked], counts[asked], common, answers, seed=seed)
        where = magnitude[asked], block[asked]
        bins = []
        for low, high in magnitude_bins(where[0]):
            here = (where[0] >= low) & (where[0] < high)
            bins.append({"low": low, "high": high, "n": int(here.sum()), "metrics": _means(rows, here, where[1], seed)})
        found[name] = {
            "answers": list(answers),
            "n": int(asked.sum()),
            "votes": float(counts.sum()),
            "overall": _means(rows, np.ones(len(where[1]), bool), where[1], seed),
            "by_magnitude": bins,
        }
    return found


def judge_votes(
    rows: Rows, *, model: TellsVotes, votes: Votes, usual: Array, seed: int
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Give metrics of the votes for some rows, and columns of them and of the concentrations told."""
    assert rows.votes is not None  # the model learned some of the same set
    found = votes.told(model, rows.features)
    metrics = evaluate_votes(
        found, rows.votes, rows.magnitude, rows.block, questions=votes.questions, usual=usual, seed=seed
    )
    names = answer_names(votes.questions)
    columns = {f"vote_{name}": rows.votes[:, number] for number, name in enumerate(names)}
    return metrics, columns | {f"concentration_{name}": found[:, number] for number, name in enumerate(names)}


def _means(rows: dict[str, Array], here: NDArray[np.bool_], block: NDArray[np.integer], seed: int) -> dict[str, Any]:
    return {name: share_with_interval(values[here], block[here], seed=seed) for name, values in rows.items()}


def _by_row(alpha: Array, counts: Array, usual: Array, answers: Sequence[str], *, seed: int) -> dict[str, Array]:
    """Give what each row (n,) adds to the metrics of a question, which are means of it."""
    generator, n_answers = np.random.default_rng(seed), [alpha.shape[1]]
    n = counts.sum(axis=1, keepdims=True)
    voted, (told, _) = counts / n, fractions(alpha, n_answers)
    score = -log_likelihood(alpha, counts, n_answers)[:, 0]
    common = -log_likelihood(np.broadcast_to(usual, alpha.shape), counts, n_answers)[:, 0]
    drawn = generator.multinomial(np.rint(n[:, 0]).astype(np.int64), _dirichlet(alpha, generator)) / np.maximum(n, 1)
    level = pit(alpha, counts, generator)
    held = {name: (np.abs(2 * level - 1) <= share).mean(axis=1) for name, share in INTERVALS.items()}
    return {
        "log_score": score,
        "gain": common - score,
        "fraction_error": np.abs(voted - told).mean(axis=1),
        "fraction_error_if_right": np.abs(drawn - told).mean(axis=1),
        **held,
        **{f"bias_{answer}": voted[:, number] - told[:, number] for number, answer in enumerate(answers)},
    }


def _dirichlet(alpha: Array, generator: np.random.Generator) -> Array:
    """Draw fractions (n, a), one of each row's distribution."""
    drawn = np.maximum(generator.standard_gamma(alpha), np.finfo(np.float64).tiny)
    return np.asarray(drawn / drawn.sum(axis=1, keepdims=True))


def pit(alpha: Array, counts: Array, generator: np.random.Generator) -> Array:
    """Give the probability of fewer votes for each answer, and a random part of that of as many, (n, a).

    Uniform where the concentrations are right (Czado, Gneiting & Held 2009, Biometrics 65, 1254, for counts); the votes
    for one answer are Beta-binomial. Votes that are no whole numbers are rounded.
    """
    votes = np.rint(counts)
    n = votes.sum(axis=1)
    levels = np.empty_like(alpha)
    total = alpha.sum(axis=1)
    for answer in range(alpha.shape[1]):
        probability = beta_binomial(n, alpha[:, answer], total - alpha[:, answer])
        cumulative = np.cumsum(probability, axis=1)
        rows, k = np.arange(len(n)), votes[:, answer].astype(np.int64)
        levels[:, answer] = cumulative[rows, k] - generator.random(len(n)) * probability[rows, k]
    return levels


def beta_binomial(n: Array, a: Array, b: Array) -> Array:
    """Give the probabilities of 0, 1, ... max(n) successes in n trials, (rows, max(n) + 1); 0 above a row's n."""
    k = np.arange(int(n.max(initial=0)) + 1)[None, :]
    n, a, b = n[:, None], a[:, None], b[:, None]
    rest = np.maximum(n - k, 0)
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(rest + 1)
    logarithm = ways + _log_beta(k + a, rest + b) - _log_beta(a, b)
    return np.where(k <= n, np.exp(logarithm), 0.0)


def _log_beta(a: Array, b: Array) -> Array:
    return np.asarray(gammaln(a) + gammaln(b) - gammaln(a + b))
