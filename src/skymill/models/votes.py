"""Votes of volunteers as Dirichlet-multinomial counts: how probable they are, and the fractions behind them.

A network tells concentrations ``alpha`` of the answers of each question, so that n votes are distributed as n draws of
fractions that are themselves drawn from Dirichlet(alpha) (Mosimann 1962, Biometrika 49, 65); of galaxies first by
Walmsley et al. (2020, MNRAS 491, 1554).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def by_question(values: NDArray[np.floating], questions: Sequence[int]) -> list[Array]:
    """Part answers (n, a) into those of each question, which has so many; float64."""
    return np.split(np.asarray(values, np.float64), np.cumsum(questions)[:-1], axis=1)


def log_likelihood(
    concentrations: NDArray[np.floating], votes: NDArray[np.floating], questions: Sequence[int]
) -> Array:
    """Give the logarithm of the probability of the votes for each question, (n, q): 0 where nobody was asked.

    Parameters
    ----------
    concentrations, votes : ndarray, (n, a)
    questions : sequence of int, (q,)
        Answers of each question, in order.
    """
    from scipy.special import gammaln

    found = []
    for alpha, counts in zip(by_question(concentrations, questions), by_question(votes, questions), strict=True):
        total, n = alpha.sum(axis=1), counts.sum(axis=1)
        answers = gammaln(counts + alpha) - gammaln(alpha) - gammaln(counts + 1)
        found.append(gammaln(total) - gammaln(total + n) + gammaln(n + 1) + answers.sum(axis=1))
    return np.stack(found, axis=1)


def fractions(concentrations: NDArray[np.floating], questions: Sequence[int]) -> tuple[Array, Array]:
    """Give mean and standard deviation of the fraction of each answer, (n, a) both, as of a Dirichlet distribution."""
    means, errors = [], []
    for alpha in by_question(concentrations, questions):
        total = alpha.sum(axis=1, keepdims=True)
        mean = alpha / total
        means.append(mean)
        errors.append(np.sqrt(mean * (1 - mean) / (total + 1)))
    return np.concatenate(means, axis=1), np.concatenate(errors, axis=1)


def totals(concentrations: NDArray[np.floating], questions: Sequence[int]) -> Array:
    """Give the sum of the concentrations of each question, (n, q): how sure the fractions are, in votes."""
    return np.stack([alpha.sum(axis=1) for alpha in by_question(concentrations, questions)], axis=1)
