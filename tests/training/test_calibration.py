"""Calibration recovers what was done to the probabilities."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from skymill.models.calibration import FLOOR, Calibration
from skymill.training.calibration import KNOTS, fit_calibration, log_loss
from skymill.training.metrics import expected_calibration_error, metrics_of

N = 6000
Sample = tuple[NDArray[np.float64], NDArray[np.int64]]


@pytest.fixture(scope="module")
def truth() -> Sample:
    """True probabilities and labels drawn from them."""
    generator = np.random.default_rng(8)
    logits = generator.normal(scale=2.0, size=(N, 3)) + np.array([1.0, 0.0, -1.0])
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    return p, (generator.random(N)[:, None] > p.cumsum(axis=1)).sum(axis=1)


def sharpened(p: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    raised = p**power
    return raised / raised.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_is_found_again(truth: Sample, temperature: float) -> None:
    p, labels = truth
    calibration, _ = fit_calibration(sharpened(p, temperature), labels, method="temperature", seed=0)
    assert calibration.temperature == pytest.approx(temperature, rel=0.06)
    np.testing.assert_allclose(calibration.apply(sharpened(p, temperature)), p, atol=0.03)


def test_the_bias_takes_class_weights_out_again(truth: Sample) -> None:
    """A model fitted with weights w learns p w / sum; the calibration gives p back."""
    p, labels = truth
    weights = np.array([0.4, 1.0, 4.0])
    weighed = p * weights / (p * weights).sum(axis=1, keepdims=True)
    calibration, _ = fit_calibration(weighed, labels, method="temperature", class_weights=weights, seed=0)
    assert calibration.temperature == pytest.approx(1.0, rel=0.05)
    np.testing.assert_allclose(calibration.apply(weighed), p, atol=0.02)


def test_isotonic_mends_what_no_temperature_can_and_auto_takes_it(truth: Sample) -> None:
    p, labels = truth
    bent = 0.5 * p**3 + 0.25  # rising, but neither 0 nor 1 is ever reached
    bent /= bent.sum(axis=1, keepdims=True)
    calibration, tried = fit_calibration(bent, labels, method="auto", seed=0)
    assert calibration.method == "isotonic"
    assert tried["isotonic"] < tried["temperature"] - 0.01
    before, after = (expected_calibration_error(each, labels) for each in (bent, calibration.apply(bent)))
    assert after < before / 5


def test_auto_takes_the_temperature_where_it_is_the_truth(truth: Sample) -> None:
    p, labels = truth
    calibration, tried = fit_calibration(sharpened(p[:400], 2.0), labels[:400], method="auto", seed=0)
    assert calibration.method == "temperature"
    assert set(tried) == {"temperature", "isotonic"}


def test_isotonic_is_a_small_rising_curve_that_keeps_the_order(truth: Sample) -> None:
    p, labels = truth
    calibration, _ = fit_calibration(p, labels, method="isotonic", seed=0)
    for x, y in calibration.knots:
        assert len(x) <= KNOTS + 2
        assert (np.diff(x) > 0).all() and (np.diff(y) >= 0).all() and y[0] > 0
    before, after = (metrics_of(each, labels, classes=["a", "b", "c"])["roc_auc"] for each in (p, calibration.apply(p)))
    assert after == pytest.approx(before, abs=0.003)


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_exact_zeros_and_ones_stay_finite(method: str) -> None:
    """A forest gives them: some of the rows at 0 are of the class all the same."""
    p = np.repeat([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]], 50, axis=0)
    labels = np.array([0] * 45 + [1] * 5 + [1] * 50 + [0] * 25 + [1] * 25)
    calibrated = fit_calibration(p, labels, method=method, seed=0)[0].apply(p)
    np.testing.assert_allclose(calibrated.sum(axis=1), 1.0)
    assert calibrated.min() > 0
    assert log_loss(calibrated, labels) < log_loss(p, labels)


def test_none_changes_nothing(truth: Sample) -> None:
    p, labels = truth
    np.testing.assert_array_equal(fit_calibration(p, labels, method="none", seed=0)[0].apply(p), p)


@pytest.mark.parametrize("method", ["none", "temperature", "isotonic"])
def test_json_keeps_every_bit(truth: Sample, method: str) -> None:
    p, labels = truth
    weights = np.array([0.4, 1.0, 4.0])
    calibration, _ = fit_calibration(p, labels, method=method, class_weights=weights, seed=0)
    again = Calibration.from_dict(json.loads(json.dumps(calibration.as_dict())))
    np.testing.assert_array_equal(again.apply(p), calibration.apply(p))


def test_the_formula_of_the_temperature_by_hand() -> None:
    calibrated = Calibration("temperature", 2.0, (0.0, np.log(3.0))).apply(np.array([[0.64, 0.36], [1.0, 0.0]]))
    np.testing.assert_allclose(calibrated[0], [0.8 / 2.6, 1.8 / 2.6])
    np.testing.assert_allclose(calibrated[1], [1 / (1 + 3 * FLOOR**0.5), 3 * FLOOR**0.5 / (1 + 3 * FLOOR**0.5)])
