"""What vectors know: their neighbours, a map of them, and how well they tell things that are no matter of class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
RESAMPLES = 500
CONFIDENCE = 0.95
PENALTY = 1.0


@dataclass(frozen=True)
class Nuisance:
    """How well one thing that should not matter can be read from the vectors, by a linear model."""

    name: str
    measure: str
    value: float
    low: float
    high: float
    chance: float

    @property
    def shows(self) -> bool:
        """Whether the vectors tell more of it than chance."""
        return self.low > self.chance


def standardised(vectors: NDArray[np.floating], like: NDArray[np.floating]) -> NDArray[np.float64]:
    """Subtract the mean and divide by the scatter of the vectors `like`; (n, vector)."""
    scale = like.std(axis=0, dtype=np.float64)
    return np.asarray((vectors - like.mean(axis=0, dtype=np.float64)) / np.where(scale > 0, scale, 1.0))


def neighbours(queries: NDArray[np.floating], among: NDArray[np.floating], number: int) -> NDArray[np.int64]:
    """Give the nearest of the vectors `among` (m, vector) to each query (n, vector): their rows, (n, number)."""
    from sklearn.neighbors import NearestNeighbors

    tree = NearestNeighbors(n_neighbors=number).fit(standardised(among, among))
    return np.asarray(tree.kneighbors(standardised(queries, among), return_distance=False))


def flat_map(vectors: NDArray[np.floating], *, seed: int) -> tuple[NDArray[np.float64], str]:
    """Lay vectors out in a plane, (n, 2), and say by which method.

    UMAP (McInnes et al. 2018, arXiv:1802.03426) where umap-learn is installed, else the first two principal components.
    """
    scaled = standardised(vectors, vectors)
    if find_spec("umap") is not None:
        from umap import UMAP

        return np.asarray(UMAP(random_state=seed, n_jobs=1).fit_transform(scaled), dtype=np.float64), "UMAP"
    from sklearn.decomposition import PCA

    pca = PCA(2, svd_solver="full").fit(scaled)
    share = pca.explained_variance_ratio_.sum()
    return pca.transform(scaled), f"principal components, {100 * share:.0f} % of the scatter"


def tell_number(name: str, vectors: NDArray[np.floating], value: NDArray[np.floating], *, seed: int) -> Nuisance:
    """Predict a number by ridge regression, each fifth of the rows by the others.

    The measure is R^2, the share of the value's variance that the prediction explains; chance, the mean, has 0. The
    interval is the bootstrap's over rows.
    """
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), Ridge(PENALTY))
    folds = KFold(FOLDS, shuffle=True, random_state=seed)
    said = cross_val_predict(model, np.asarray(vectors, np.float64), np.asarray(value, np.float64), cv=folds)

    def explained(rows: NDArray[np.int64]) -> float:
        scatter = float(np.var(value[rows], dtype=np.float64))
        return 1 - float(np.mean((value[rows] - said[rows]) ** 2)) / scatter if scatter > 0 else 0.0

    return Nuisance(name, "R²", *_with_interval(explained, len(value), seed), chance=0.0)


def tell_group(name: str, vectors: NDArray[np.floating], group: NDArray[np.integer], *, seed: int) -> Nuisance:
    """Predict which group a row is of by logistic regression, each fifth of the rows by the others.

    The measure is the balanced accuracy; chance has 1 / groups. The interval is the bootstrap's over rows.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=1000, class_weight="balanced"))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    groups = np.unique(group)
    right = cross_val_predict(model, np.asarray(vectors, np.float64), group, cv=folds) == group

    def accuracy(rows: NDArray[np.int64]) -> float:
        shares = [right[rows][group[rows] == each].mean() for each in groups if (group[rows] == each).any()]
        return float(np.mean(shares))

    return Nuisance(name, "balanced accuracy", *_with_interval(accuracy, len(group), seed), chance=1 / len(groups))


def _with_interval(measure: Callable[[NDArray[np.int64]], float], n: int, seed: int) -> tuple[float, float, float]:
    random = np.random.default_rng(seed)
    drawn = [measure(random.integers(0, n, n)) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return measure(np.arange(n)), float(low), float(high)
