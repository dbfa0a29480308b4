"""The audit of the splits: nothing shared, nothing close, and train and test alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymill.sky import unit_vectors
from skymill.training.leaks import LeakageError

Floats = NDArray[np.float32]
PERMUTATIONS = 12
SHIFT_ROWS = 6_000


@dataclass(frozen=True)
class Shift:
    """How well a classifier tells train from test."""

    auc: float
    expected: float
    """Mean over random reassignments of whole blocks."""
    sigma: float
    """Their standard deviation."""

    @property
    def near_chance(self) -> bool:
        """Whether the AUC is within three standard deviations of what chance gives."""
        return abs(self.auc - self.expected) <= 3.0 * self.sigma


def check_splits(
    object_id: NDArray[np.int64],
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    split: NDArray[np.integer],
    *,
    guard_arcsec: float,
) -> dict[str, int]:
    """Make sure that no source is in two splits, and none within the guard of a source of another split.

    Raises
    ------
    LeakageError
        With the counts.
    """
    ids, counts = np.unique(object_id, return_counts=True)
    shared = int((counts > 1).sum())
    close = close_pairs(ra, dec, split, guard_arcsec)
    if shared or close:
        raise LeakageError(
            f"expected splits that share nothing, found {shared} ids twice (the first: {ids[counts > 1][:3]}) "
            f"and {close} sources within {guard_arcsec} arcsec of another split; a fault of skymill: please report it"
        )
    return {"shared_ids": shared, "close_pairs": close}


def close_pairs(
    ra: NDArray[np.float64], dec: NDArray[np.float64], split: NDArray[np.integer], radius_arcsec: float
) -> int:
    """Count the sources that have a source of another split within a radius."""
    from scipy.spatial import cKDTree

    if radius_arcsec == 0:
        return 0
    vectors = unit_vectors(ra, dec)
    reach = 2.0 * np.sin(np.radians(radius_arcsec / 3600.0) / 2.0)
    count = 0
    for each in np.unique(split):
        others = vectors[split != each]
        if len(others):
            distance, _ = cKDTree(others).query(vectors[split == each], distance_upper_bound=reach)
            count += int(np.isfinite(distance).sum())
    return count


def measure_shift(
    features: Floats, in_test: NDArray[np.bool_], blocks: NDArray[np.int64], *, seed: int
) -> Shift | None:
    """Try to tell train from test by the features.

    Sources of a block share dust, depth and stars, so blocks, not sources, are what is drawn: half of the blocks teach,
    the others judge, and chance is what random reassignments of blocks to train and test give.

    Parameters
    ----------
    features : ndarray of float32, (n, features)
    in_test : ndarray of bool, (n,)
    blocks : ndarray of int64, (n,)
        HEALPix pixel of each source's block.
    seed : int

    Returns
    -------
    Shift or None
        None where there are too few blocks to measure it.
    """
    rows = np.linspace(0, len(in_test) - 1, min(len(in_test), SHIFT_ROWS)).astype(int)
    features, in_test, blocks = features[rows], in_test[rows], blocks[rows]
    _, first, block = np.unique(blocks, return_index=True, return_inverse=True)
    block_in_test = in_test[first]
    generator = np.random.default_rng(seed)
    auc = _shift_auc(features, block_in_test[block], block)
    chance = [_shift_auc(features, generator.permutation(block_in_test)[block], block) for _ in range(PERMUTATIONS)]
    known = np.array([value for value in chance if np.isfinite(value)])
    if not np.isfinite(auc) or len(known) < 2:
        return None
    return Shift(round(auc, 4), round(float(known.mean()), 4), round(float(known.std(ddof=1)), 4))


def _shift_auc(features: Floats, in_test: NDArray[np.bool_], block: NDArray[np.int64]) -> float:
    """AUC of train against test, learnt on half of the blocks and judged on the rest; NaN where there are too few."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    half = np.zeros(block.max() + 1, dtype=int)
    for side in (False, True):
        half[np.unique(block[in_test == side])[::2]] = 1
    values = []
    for judge in (0, 1):
        learn, judged = half[block] != judge, half[block] == judge
        if len(np.unique(in_test[learn])) < 2 or len(np.unique(in_test[judged])) < 2:
            return float("nan")
        model = HistGradientBoostingClassifier(max_iter=15, max_leaf_nodes=8, early_stopping=False, random_state=0)
        with threadpool_limits(1, user_api="openmp"):  # for so few rows threads only wait for each other
            model.fit(features[learn], in_test[learn])
            shares = model.predict_proba(features[judged])[:, 1]
        values.append(roc_auc_score(in_test[judged], shares))
    return float(np.mean(values))
