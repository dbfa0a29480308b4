"""Importance weights: rows to learn from count as much as the survey has sources like them (Shimodaira 2000)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.config import ModelConfig
from skymill.features import magnitude_feature
from skymill.sky import at_order
from skymill.store.opening import open_catalogue
from skymill.training.arrays import open_set
from skymill.training.choosing import TrainingSetError
from skymill.training.survey_sample import draw_survey
from skymill.training.two_sample import folds

FOLDS = 5
MOST_ROWS = 50_000
"""Of each sample that the classifier learns from."""
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Importance:
    """How much each row to learn from counts."""

    weights: NDArray[np.float64]
    """(n,), mean 1, in the order of the train split's rows."""
    clip: float
    clipped: int
    """Rows whose weight was cut to `clip`."""
    survey: str
    """Version of the feature catalogue that was drawn from."""

    @property
    def effective_rows(self) -> float:
        """Rows of equal weight that would give as much scatter: (sum w)^2 / sum w^2 (Kish 1965)."""
        return float(self.weights.sum() ** 2 / (self.weights**2).sum())

    def as_dict(self) -> dict[str, Any]:
        """Give what `metrics.json` and the card say."""
        told = {"rows": len(self.weights), "effective_rows": self.effective_rows, "largest": float(self.weights.max())}
        return {**told, "clip": self.clip, "clipped": self.clipped, "survey": self.survey}


def weigh_rows(
    set_path: str | Path, model: ModelConfig, *, catalogue: str | Path, bands: Sequence[str], seed: int
) -> Importance:
    """Weigh the train split's rows of a model by the survey.

    Parameters
    ----------
    set_path : path
        A training set.
    model : ModelConfig
        Its `features` and `importance_clip`.
    catalogue : path
        Folder of the sealed feature catalogue.
    bands : sequence of str
        The survey's.
    seed : int

    Raises
    ------
    TrainingSetError
        If nothing of the survey can be scored, or there are too few blocks of sky.
    """
    data = open_set(set_path, model.features)
    train, _ = data.rows("train")
    features = open_catalogue(catalogue)
    survey = draw_survey(features, data.features, magnitude=magnitude_feature(bands))
    block = at_order(survey.healpix29, data.metadata["split"]["order"])
    ratio = density_ratio(train.features, train.block, survey.features, block, seed=seed)
    weights = np.minimum(ratio, model.importance_clip)
    clipped = int((ratio > model.importance_clip).sum())
    return Importance(weights / weights.mean(), model.importance_clip, clipped, features.version)


def density_ratio(
    train: Floats, train_block: NDArray[np.int64], survey: Floats, survey_block: NDArray[np.int64], *, seed: int
) -> NDArray[np.float64]:
    """Estimate how much denser the survey is than the rows to learn from, at each of these.

    Boosted trees tell the samples apart; a probability p of being the survey's is a ratio of densities p / (1 - p),
    times that of the samples' sizes (Bickel et al. 2009, JMLR 10, 2137). Each row is scored by trees that saw no row of
    its block of sky, and the scores are made probabilities by a logistic curve (Platt 1999) of the other folds.

    Parameters
    ----------
    train, survey : ndarray of float32, (n, f) and (m, f)
        NaN where not measured.
    train_block, survey_block : ndarray of int64, (n,) and (m,)
        Block of sky of each row.
    seed : int

    Returns
    -------
    ndarray of float64, (n,)
        Mean 1.

    Raises
    ------
    TrainingSetError
        If there are too few blocks.
    """
    here, there = _thin(len(train), MOST_ROWS), _thin(len(survey), MOST_ROWS)
    features = np.concatenate([train, survey[there]])
    in_survey = np.repeat([False, True], [len(train), len(there)])
    _, block = np.unique(np.concatenate([train_block, survey_block[there]]), return_inverse=True)
    fold = folds(in_survey, block, FOLDS)
    learns = np.concatenate([np.isin(np.arange(len(train)), here), np.ones(len(there), bool)])
    if any(len(np.unique(in_survey[learns & (fold != k)])) < 2 for k in range(FOLDS)):
        raise TrainingSetError(
            f"importance_weighting: {block.max() + 1} blocks of sky hold training rows or sources, too few to weigh "
            "them by; a higher split.order makes more of them"
        )
    score = _scores(features, in_survey, learns, fold, seed=seed)
    odds = np.exp(_calibrated(score, in_survey, learns, fold)[: len(train)])
    return np.asarray(odds / odds.mean())


def _scores(
    features: Floats,
    in_survey: NDArray[np.bool_],
    learns: NDArray[np.bool_],
    fold: NDArray[np.int64],
    *,
    seed: int,
) -> NDArray[np.float64]:
    """Log-odds of each row by trees that learnt from the other folds."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    score = np.empty(len(fold))
    for k in np.unique(fold):
        rows = learns & (fold != k)
        model = HistGradientBoostingClassifier(max_leaf_nodes=15, early_stopping=False, random_state=seed)
        with threadpool_limits(1, user_api="openmp"):  # the last bits of a sum depend on how it is shared out
            model.fit(features[rows], in_survey[rows])
            score[fold == k] = model.decision_function(features[fold == k])
    return score


def _calibrated(
    score: NDArray[np.float64], in_survey: NDArray[np.bool_], learns: NDArray[np.bool_], fold: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Log-odds by a logistic curve through the scores of the other folds."""
    from sklearn.linear_model import LogisticRegression

    log_odds = np.empty(len(fold))
    for k in np.unique(fold):
        rows = learns & (fold != k)
        curve = LogisticRegression(C=1e6).fit(score[rows, None], in_survey[rows])
        log_odds[fold == k] = curve.decision_function(score[fold == k, None])
    return log_odds


def _thin(n: int, most: int) -> NDArray[np.int64]:
    return np.linspace(0, n - 1, min(n, most)).astype(np.int64)
