"""Can a classifier tell two samples of the sky apart, and how well would it seem to by chance?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
PERMUTATIONS = 12
MOST_ROWS = 6_000
BAND = 3.0
"""Standard deviations on either side of what chance gives in the mean that are still chance."""


@dataclass(frozen=True)
class TwoSample:
    """How well a classifier tells two samples apart."""

    auc: float
    expected: float
    """Mean over random reassignments of whole blocks."""
    sigma: float
    """Their standard deviation."""

    @property
    def band(self) -> tuple[float, float]:
        """What chance may give."""
        return self.expected - BAND * self.sigma, self.expected + BAND * self.sigma

    @property
    def near_chance(self) -> bool:
        """Whether the AUC is within three standard deviations of what chance gives."""
        return abs(self.auc - self.expected) <= BAND * self.sigma


def tell_apart(
    features: Floats,
    in_second: NDArray[np.bool_],
    blocks: NDArray[np.int64],
    *,
    seed: int,
    most_rows: int = MOST_ROWS,
) -> TwoSample | None:
    """Try to tell two samples apart by the features: a classifier two-sample test.

    An AUC of 0.5 means that no feature, nor any combination that the classifier finds, says which sample a source is of
    (Lopez-Paz & Oquab 2017, arXiv:1610.06545, with the AUC in place of the accuracy). Sources of a block share dust,
    depth and stars, so half of the blocks teach and the others judge. Chance is what is left when the blocks' shares of
    the second sample are dealt out to other blocks, and the rows of a block to the samples by its share.

    Parameters
    ----------
    features : ndarray of float32, (n, features)
        NaN where not measured, which tells the samples apart as values do.
    in_second : ndarray of bool, (n,)
        Whether a row is of the second sample; a block may hold rows of one sample or of both.
    blocks : ndarray of int64, (n,)
        HEALPix pixel of each source's block.
    seed : int
    most_rows : int
        Of more, as many are taken, evenly.

    Returns
    -------
    TwoSample or None
        None where there are too few blocks to measure it.
    """
    rows = np.linspace(0, len(in_second) - 1, min(len(in_second), most_rows)).astype(int)
    features, in_second, blocks = features[rows], in_second[rows], blocks[rows]
    _, block = np.unique(blocks, return_inverse=True)
    share = np.bincount(block, in_second) / np.bincount(block)
    deal, draw = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    auc = _auc(features, in_second, block)
    chance = [_auc(features, _dealt(deal.permutation(share), block, draw), block) for _ in range(PERMUTATIONS)]
    known = np.array([value for value in chance if np.isfinite(value)])
    if not np.isfinite(auc) or len(known) < 2:
        return None
    return TwoSample(round(auc, 4), round(float(known.mean()), 4), round(float(known.std(ddof=1)), 4))


def _dealt(share: NDArray[np.float64], block: NDArray[np.int64], draw: np.random.Generator) -> NDArray[np.bool_]:
    """Put rows of each block at random into the second sample, by the block's share of it, rounded at random."""
    order = np.lexsort((draw.random(len(block)), block))
    counts = np.bincount(block)
    rank = np.empty(len(block))
    rank[order] = np.arange(len(block)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(rank + draw.random(len(counts))[block] < (share * counts)[block])


def folds(in_second: NDArray[np.bool_], block: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Cut the blocks (numbers from 0) in folds, 0 to n - 1 for each row, alike in blocks of one sample and of both."""
    kinds = np.zeros(block.max() + 1, dtype=int)
    kinds[block[in_second]] = 1
    kinds[block[~in_second]] += 2
    fold = np.zeros(len(kinds), dtype=int)
    for kind in np.unique(kinds):
        fold[kinds == kind] = np.arange(np.count_nonzero(kinds == kind)) % n
    return fold[block]


def _auc(features: Floats, in_second: NDArray[np.bool_], block: NDArray[np.int64]) -> float:
    """AUC of one sample against the other, learnt on half of the blocks and judged on the rest; NaN for too few."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    half, values = folds(in_second, block, 2), []
    for judge in (0, 1):
        learn, judged = half != judge, half == judge
        if len(np.unique(in_second[learn])) < 2 or len(np.unique(in_second[judged])) < 2:
            return float("nan")
        model = HistGradientBoostingClassifier(max_iter=15, max_leaf_nodes=8, early_stopping=False, random_state=0)
        with threadpool_limits(1, user_api="openmp"):  # for so few rows threads only wait for each other
            model.fit(features[learn], in_second[learn])
            shares = model.predict_proba(features[judged])[:, 1]
        values.append(roc_auc_score(in_second[judged], shares))
    return float(np.mean(values))
