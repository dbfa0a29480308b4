"""Calibration nodes against `Calibration.apply` in float64."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from skymill.export.calibrate import append_calibration
from skymill.export.graph import new_model, to_bytes
from skymill.models.calibration import Calibration


def random_probabilities(n: int) -> np.ndarray:
    """Rows that sum to 1: ordinary, nearly certain, exactly certain."""
    random = np.random.default_rng(4)
    ordinary = random.dirichlet([0.5, 1, 2], n)
    sharp = random.dirichlet([0.01, 0.01, 0.01], n)
    return np.concatenate([ordinary, sharp, np.eye(3), np.full((1, 3), 1 / 3)]).astype(np.float32)


def calibrated(probabilities: np.ndarray, calibration: Calibration) -> np.ndarray:
    identity = new_model([helper.make_node("Identity", ["features"], ["probabilities"])], [], n_features=3, n_classes=3)
    session = onnxruntime.InferenceSession(to_bytes(append_calibration(identity, calibration), {}))
    return session.run(["probabilities"], {"features": probabilities})[0]


CURVE = (np.array([0.0, 0.1, 0.4, 0.405, 1.0]), np.array([0.01, 0.05, 0.05, 0.9, 0.95]))
SHORT = (np.array([0.2, 0.7]), np.array([0.1, 0.8]))
EVERY = {
    "none": Calibration(),
    "sharper": Calibration("temperature", 0.4),
    "softer": Calibration("temperature", 3.0),
    "with bias": Calibration("temperature", 1.5, bias=(0.0, -1.2, 2.0)),
    "isotonic": Calibration("isotonic", knots=(CURVE, SHORT, CURVE)),
    "isotonic, one length": Calibration("isotonic", knots=(SHORT, SHORT, SHORT)),
}


@pytest.mark.parametrize("calibration", EVERY.values(), ids=EVERY.keys())
def test_graph_computes_what_apply_says(calibration):
    p = random_probabilities(5_000)
    found = calibrated(p, calibration)
    np.testing.assert_allclose(found, calibration.apply(p), atol=3e-6 if calibration.method != "isotonic" else 2e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_isotonic_graph_is_exact_at_its_knots_and_flat_outside():
    p = np.column_stack([[0.0, 0.1, 0.2, 0.7, 0.9, 1.0], np.full(6, 0.5), np.full(6, 0.5)]).astype(np.float32)
    flat = (np.array([0.0, 1.0]), np.array([0.5, 0.5]))
    found = calibrated(p, Calibration("isotonic", knots=(SHORT, flat, flat)))
    expected = np.array([0.1, 0.1, 0.1, 0.8, 0.8, 0.8])
    np.testing.assert_allclose(found[:, 0], expected / (expected + 1), rtol=1e-5)


def test_the_graph_given_is_left_as_it_was():
    graph = new_model([helper.make_node("Identity", ["features"], ["probabilities"])], [], n_features=3, n_classes=3)
    before = graph.SerializeToString(deterministic=True)
    append_calibration(graph, EVERY["softer"])
    assert graph.SerializeToString(deterministic=True) == before
    onnx.checker.check_model(graph)
