"""Decision trees as an ONNX graph of plain tensor operators: all rows take one step in all trees at a time.

ONNX Runtime's own tree operator follows one row through one tree; on the CPU this takes up to twice as long
(benchmarks/tree_routes.py), on a GPU there is no such operator.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from skymill.export.graph import constant, node
from skymill.models.trees import Trees

GROUP = 20
"""Trees that are walked together: what a pass over 2,000 rows holds stays in a core's cache."""
Graph = tuple[list[onnx.NodeProto], list[onnx.TensorProto]]


def walk(trees: Trees, columns: str, output: str) -> Graph:
    """Sum the values of trees.

    Parameters
    ----------
    trees : Trees
        With k values in a leaf.
    columns : str
        Name of finite features, float32 (f, n): rows along the last axis, so that operators run over long rows.
    output : str
        Name of the sums, float32 (k, n); names inside begin with it.
    """
    nodes, constants, sums = [], [constant(f"{output}_over_trees", [0], np.int64)], []
    for number, start in enumerate(range(0, len(trees.feature), GROUP)):
        prefix = f"{output}{number}"
        group = trees.some(slice(start, start + GROUP))
        arrived, tables = _leaves(group, columns, prefix)
        nodes += arrived
        constants += tables
        for k in range(trees.value.shape[2]):
            constants.append(constant(f"{prefix}_leaves{k}", group.value[:, :, k]))
            looked_up = node(
                "GatherElements", [f"{prefix}_leaves{k}", arrived[-1].output[0]], f"{prefix}_values{k}", axis=1
            )
            nodes += [
                looked_up,
                node("ReduceSum", [looked_up.output[0], f"{output}_over_trees"], f"{prefix}_sum{k}", keepdims=1),
            ]
        sums.append(f"{prefix}_sums")
        nodes.append(node("Concat", [f"{prefix}_sum{k}" for k in range(trees.value.shape[2])], sums[-1], axis=0))
    return [*nodes, node("Sum", sums, output)], constants


def _leaves(trees: Trees, columns: str, prefix: str) -> Graph:
    """Walk to the leaves; the last node gives their numbers, int32 (trees, n)."""
    feature, threshold, child = (f"{prefix}_{name}" for name in ("feature", "threshold", "child"))
    root_feature, root_threshold, root_child = (f"{prefix}_root_{name}" for name in ("feature", "threshold", "child"))
    constants = [
        constant(feature, trees.feature, np.int32),
        constant(threshold, trees.threshold),
        constant(child, trees.child, np.int32),
        constant(root_feature, trees.feature[:, 0], np.int64),
        constant(root_threshold, trees.threshold[:, :1]),
        constant(root_child, trees.child[:, :1], np.int32),
    ]
    nodes = [
        node("Gather", [columns, root_feature], f"{prefix}_x0", axis=0),
        *_step(f"{prefix}_x0", root_threshold, root_child, prefix, 0),
    ]
    for depth in range(1, trees.depth.max()):
        here = nodes[-1].output[0]
        at, limit, first, x = (f"{prefix}_{name}{depth}" for name in ("at", "limit", "first", "x"))
        nodes += [
            node("GatherElements", [feature, here], at, axis=1),
            node("GatherElements", [threshold, here], limit, axis=1),
            node("GatherElements", [child, here], first, axis=1),
            node("GatherElements", [columns, at], x, axis=0),
            *_step(x, limit, first, prefix, depth),
        ]
    return nodes, constants


def _step(x: str, threshold: str, child: str, prefix: str, depth: int) -> list[onnx.NodeProto]:
    return [
        node("Greater", [x, threshold], f"{prefix}_beyond{depth}"),
        node("Cast", [f"{prefix}_beyond{depth}"], f"{prefix}_side{depth}", to=TensorProto.INT32),
        node("Add", [child, f"{prefix}_side{depth}"], f"{prefix}_node{depth}"),
    ]
