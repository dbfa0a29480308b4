"""The second output of a graph against the distance it was made from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from skymill.export.distance import append_distance
from skymill.export.graph import imputation_nodes, new_model, to_bytes
from skymill.export.tensors import check_tensors
from skymill.models.distance import FARTHEST
from skymill.sessions.entry import ModelFileError
from skymill.training.distance import fit_distance


@pytest.fixture(scope="module")
def distance(lab):
    train, validation = (lab.sources(2_000, seed=seed)[0] for seed in (1, 2))
    train[:, 3], validation[:, 3] = np.nan_to_num(train[:, 3]), np.nan_to_num(validation[:, 3])
    return fit_distance(train, validation, indicator=np.arange(5) == 4, quantile=0.99)[0]


def graph_of(distance, *, imputes: np.ndarray | None = None):
    """A model that gives its features back, imputed with some values or not at all."""
    nodes, constants = imputation_nodes(imputes, output="measured") if imputes is not None else ([], [])
    source = "features" if imputes is None else "measured"
    nodes = [*nodes, helper.make_node("Identity", [source], ["probabilities"])]
    return append_distance(new_model(nodes, constants, n_features=5, n_classes=5), distance)


def run(graph, rows: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(to_bytes(graph, {}))
    check_tensors(session, n_features=5, n_classes=5, source="test")
    return session.run(["training_distance"], {"features": rows})[0]


def hard_rows(lab) -> np.ndarray:
    rows = lab.sources(5_000, seed=3)[0]
    for start, value in enumerate([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e20, 1e-42, 0, 60]):
        single = rows[start::9]
        single[np.arange(len(single)), np.arange(len(single)) % 5] = value
    rows[:3] = np.array([3e38, -3e38, np.nan])[:, None]
    return rows


@pytest.mark.parametrize("way", ["none", "the same", "other values"])
@pytest.mark.parametrize("looked_at", [True, False], ids=["patterns", "no patterns"])
def test_the_graph_gives_the_distance_whatever_the_model_imputes(lab, distance, way, looked_at):
    distance = distance if looked_at else replace(distance, patterns=distance.patterns[:0])
    imputes = {"none": None, "the same": distance.imputation, "other values": distance.imputation + 1}[way]
    rows = hard_rows(lab)
    expected = distance(rows)
    found = run(graph_of(distance, imputes=imputes), rows)
    np.testing.assert_allclose(found, expected, rtol=3e-4, atol=3e-4)
    assert expected[0] == FARTHEST and (expected < 1).any() and ((expected > 1) & (expected < 10)).any()
    assert np.isinf(expected).any() == looked_at


def test_what_the_model_imputes_alike_is_not_imputed_twice(distance):
    operators = [
        [node.op_type for node in graph_of(distance, imputes=values).graph.node].count("Where")
        for values in (distance.imputation, distance.imputation + 1)
    ]
    assert operators == [2, 3]  # one of them puts infinity where the pattern is new


def test_a_distance_of_another_shape_is_refused(distance):
    graph = graph_of(distance)
    graph.graph.output[1].CopyFrom(helper.make_tensor_value_info("training_distance", TensorProto.FLOAT, ["n", 1]))
    graph.graph.node.append(helper.make_node("Unsqueeze", ["flat", "axis"], ["training_distance"]))
    for node in graph.graph.node[:-1]:
        node.output[:] = ["flat" if name == "training_distance" else name for name in node.output]
    graph.graph.initializer.append(helper.make_tensor("axis", TensorProto.INT64, [1], [1]))
    with pytest.raises(ModelFileError, match=r"output 'training_distance': expected tensor\(float\) of shape \(n,\)"):
        run(graph, np.zeros((2, 5), np.float32))
