"""Decision trees as plain arrays in which a node's children lie side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Trees(NamedTuple):
    """Trees of one ensemble, filled up to the same number of nodes.

    A row goes from `node` to ``child[node] + (x[feature[node]] > threshold[node])``. A leaf is its own child and has an
    infinite threshold, so a finite row that has reached one stays.
    """

    feature: NDArray[np.int32]
    """(trees, nodes)"""
    threshold: NDArray[np.float32]
    """(trees, nodes)"""
    child: NDArray[np.int32]
    """(trees, nodes)"""
    value: NDArray[np.float32]
    """(trees, nodes, k)"""
    depth: NDArray[np.int32]
    """(trees,): steps from the root to the deepest leaf."""

    def some(self, rows: slice) -> Trees:
        """Some of the trees."""
        return Trees(self.feature[rows], self.threshold[rows], self.child[rows], self.value[rows], self.depth[rows])

    def predict(self, features: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Give each tree's values (n, k) of finite features (n, f)."""
        columns = np.ascontiguousarray(features.T)
        rows = np.arange(len(features))
        for feature, threshold, child, value, depth in zip(*self):
            node = np.zeros(len(features), dtype=np.int32)
            for _ in range(depth):
                node = child[node] + (columns[feature[node], rows] > threshold[node])
            yield value[node]


class Tree(NamedTuple):
    """One tree as libraries keep it; `left` is negative in a leaf."""

    left: NDArray[np.integer]
    right: NDArray[np.integer]
    feature: NDArray[np.integer]
    threshold: NDArray[np.float64]
    value: NDArray[np.float64]
    """(nodes, k)"""


def pack(trees: Iterable[Tree]) -> Trees:
    """Number each tree's nodes by level, siblings side by side."""
    packed = [_by_level(tree) for tree in trees]
    widest = max(len(tree.child) for tree, _ in packed)

    def filled(name: str, dtype: type, fill: float = 0.0) -> NDArray[Any]:
        arrays = [getattr(tree, name) for tree, _ in packed]
        shape = (len(arrays), widest, *arrays[0].shape[1:])
        table = np.full(shape, fill, dtype=dtype)
        for row, values in zip(table, arrays):
            row[: len(values)] = values
        return table

    return Trees(
        filled("feature", np.int32),
        filled("threshold", np.float32, np.inf),
        filled("child", np.int32),
        filled("value", np.float32),
        np.array([depth for _, depth in packed], dtype=np.int32),
    )


class _Levelled(NamedTuple):
    feature: NDArray[np.integer]
    threshold: NDArray[np.float32]
    child: NDArray[np.integer]
    value: NDArray[np.float64]


def _by_level(tree: Tree) -> tuple[_Levelled, int]:
    levels = [np.zeros(1, dtype=np.int64)]
    while len(inner := levels[-1][tree.left[levels[-1]] >= 0]):
        levels.append(np.column_stack([tree.left[inner], tree.right[inner]]).astype(np.int64).ravel())
    order = np.concatenate(levels)
    position = np.empty(len(tree.left), dtype=np.int64)
    position[order] = np.arange(len(order))
    leaf = tree.left[order] < 0
    levelled = _Levelled(
        np.where(leaf, 0, tree.feature[order]),
        np.where(leaf, np.inf, round_down(tree.threshold[order])).astype(np.float32),
        np.where(leaf, np.arange(len(order)), position[tree.left[order]]),
        tree.value[order],
    )
    return levelled, len(levels) - 1


def round_down(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to the float32 below, which moves no float32 value to the other side of ``x <= threshold``."""
    near = thresholds.astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)
