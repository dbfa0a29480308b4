"""Votes of volunteers: calibrated and judged, against scipy, by hand, and on those of Galaxy Zoo 2."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from skymill.models.votes import by_question, log_likelihood
from skymill.training.arrays import TrainingSetError
from skymill.training.votes import beta_binomial, evaluate_votes, fit_factors, pit, settle, usual_concentrations

ZOO = Path(__file__).parents[3] / "shared" / "data" / "catalogues" / "morph_gz2_stripe82" / "gz2_table5.parquet"
QUESTIONS = {"smooth": ["yes", "no"], "arms": ["one", "two", "more"]}
SIZES = [2, 3]


def drawn(alpha: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Votes of n volunteers for each row of concentrations (m, a) of one question."""
    random = np.random.default_rng(seed)
    own = random.standard_gamma(alpha)
    return random.multinomial(n, own / own.sum(axis=1, keepdims=True)).astype(np.float64)


@given(st.integers(0, 60), st.floats(0.05, 200), st.floats(0.05, 200))
def test_the_beta_binomial_distribution_is_that_of_scipy(n: int, a: float, b: float) -> None:
    [found] = beta_binomial(np.array([float(n)]), np.array([a]), np.array([b]))
    np.testing.assert_allclose(found, stats.betabinom.pmf(np.arange(n + 1), n, a, b), rtol=1e-6, atol=1e-12)


def test_above_a_rows_votes_there_is_no_probability() -> None:
    found = beta_binomial(np.array([2.0, 5.0]), np.array([1.0, 2.0]), np.array([1.0, 3.0]))
    np.testing.assert_allclose(found[0], [1 / 3, 1 / 3, 1 / 3, 0, 0, 0])
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_the_level_of_right_concentrations_is_uniform_and_of_wrong_ones_not() -> None:
    alpha = np.random.default_rng(1).uniform(0.3, 12, (4000, 3))
    votes = drawn(alpha, 30, seed=2)
    for factor, is_right in ((1.0, True), (0.3, False), (4.0, False)):
        levels = pit(alpha * factor, votes, np.random.default_rng(3))
        p = [stats.kstest(levels[:, answer], "uniform").pvalue for answer in range(3)]
        assert (min(p) > 1e-3) == is_right


@pytest.mark.parametrize("factor", [0.25, 1.0, 6.0])
def test_the_factor_that_concentrations_lack_is_found(factor: float) -> None:
    alpha = np.random.default_rng(1).uniform(0.5, 8, (3000, 5))
    votes = np.concatenate([drawn(some * factor, 40, seed=4) for some in by_question(alpha, SIZES)], axis=1)
    np.testing.assert_allclose(fit_factors(alpha, votes, SIZES), [factor, factor], rtol=0.1)


def test_metrics_are_those_worked_out_by_hand() -> None:
    alpha = np.array([[1.0, 1.0], [1.0, 1.0], [3.0, 1.0]])
    votes = np.array([[2.0, 0.0], [0.0, 0.0], [1.0, 1.0]])  # nobody was asked about the second
    told = evaluate_votes(
        alpha, votes, np.array([20.0, 20.0, 20.0]), np.array([0, 1, 2]), questions={"q": ["a", "b"]},
        usual=np.array([1.0, 1.0]), seed=0,
    )["q"]  # fmt: skip
    assert (told["answers"], told["n"], told["votes"]) == (["a", "b"], 2, 4.0)
    overall = {name: metric["value"] for name, metric in told["overall"].items()}
    # Beta(1, 1): each number of two votes has 1/3; Beta(3, 1): one of two 2 B(4, 2) / B(3, 1) = 2 (1/20) / (1/3) = 3/10
    assert overall["log_score"] == pytest.approx(-(np.log(1 / 3) + np.log(0.3)) / 2)
    assert overall["gain"] == pytest.approx((0 + np.log(0.3) - np.log(1 / 3)) / 2)
    assert overall["fraction_error"] == pytest.approx((0.5 + 0.25) / 2)
    assert overall["bias_a"] == pytest.approx((0.5 - 0.25) / 2) == -overall["bias_b"]


def test_a_question_that_nobody_in_the_test_split_was_asked_has_no_metrics() -> None:
    told = evaluate_votes(
        np.ones((3, 2)), np.zeros((3, 2)), np.array([20.0, 21, np.nan]), np.arange(3), questions={"q": ["a", "b"]},
        usual=np.ones(2), seed=0,
    )["q"]  # fmt: skip
    assert (told["n"], told["votes"], told["by_magnitude"]) == (0, 0.0, [])
    assert all(metric == {"value": None, "low": None, "high": None} for metric in told["overall"].values())


def test_right_concentrations_have_the_error_and_the_coverage_that_they_promise() -> None:
    alpha = np.random.default_rng(1).uniform(0.5, 10, (5000, 5))
    votes = np.concatenate([drawn(some, 25, seed=4) for some in by_question(alpha, SIZES)], axis=1)
    block, magnitude = np.arange(5000) // 50, np.random.default_rng(5).uniform(18, 24, 5000)
    usual = usual_concentrations(votes, SIZES)
    told = evaluate_votes(alpha, votes, magnitude, block, questions=QUESTIONS, usual=usual, seed=0)
    for question in told.values():
        overall = question["overall"]
        assert overall["coverage_68"]["low"] < 0.68 < overall["coverage_68"]["high"]
        assert overall["coverage_95"]["value"] == pytest.approx(0.95, abs=0.01)
        assert overall["fraction_error"]["value"] == pytest.approx(
            overall["fraction_error_if_right"]["value"], rel=0.03
        )
        assert overall["gain"]["low"] > 0
        assert sum(each["n"] for each in question["by_magnitude"]) == 5000
        for answer in question["answers"]:
            assert overall[f"bias_{answer}"]["low"] < 0.003 and overall[f"bias_{answer}"]["high"] > -0.003


@dataclass
class Constant:
    """A model that says the same of every source."""

    alpha: np.ndarray
    questions: tuple[int, ...] = (2, 3)

    def concentrations(self, features: np.ndarray) -> np.ndarray:
        return np.broadcast_to(self.alpha, (len(features), len(self.alpha))).astype(np.float32)


def test_the_validation_split_settles_the_factors_unless_nothing_is_to_be_calibrated() -> None:
    truth = np.array([6.0, 2.0, 3.0, 3.0, 6.0])
    votes = np.concatenate(
        [drawn(some, 30, seed=6) for some in by_question(np.tile(truth, (2000, 1)), SIZES)], axis=1
    ).astype(np.float32)
    model, features = Constant(truth / 2), np.zeros((2000, 1), np.float32)
    settled = settle(model, features, votes, QUESTIONS, method="auto")
    np.testing.assert_allclose(settled.in_order, [2, 2], rtol=0.15)
    np.testing.assert_allclose(settled.told(model, features)[0], truth, rtol=0.15)
    plain = settle(model, features, votes, QUESTIONS, method="none")
    np.testing.assert_array_equal(plain.told(model, features)[0], truth / 2)
    votes[4:, 2:] = 0
    with pytest.raises(TrainingSetError, match=r"votes\.arms: expected at least 5 rows .* found 4"):
        settle(model, features, votes, QUESTIONS, method="auto")


def test_galaxy_zoos_votes_scatter_more_than_chance_and_a_dirichlet_distribution_holds_it() -> None:
    columns = ["a01_smooth", "a02_features_or_disk", "a03_star_or_artifact"]
    names = [f"t01_smooth_or_features_{name}_count" for name in columns]
    table = pq.read_table(ZOO, columns=names)
    votes = np.stack([table[name].to_numpy() for name in names], axis=1).astype(np.float64)
    half = np.arange(len(votes)) % 2 == 0
    usual = usual_concentrations(votes[half], [3])
    np.testing.assert_allclose(usual / usual.sum(), votes[half].sum(axis=0) / votes[half].sum(), rtol=1e-6)
    rest = votes[~half]
    told = evaluate_votes(
        np.tile(usual, (len(rest), 1)), rest, np.full(len(rest), 17.0), np.arange(len(rest)) // 100,
        questions={"smooth_or_features": columns}, usual=usual, seed=0,
    )["smooth_or_features"]["overall"]  # fmt: skip
    multinomial = stats.multinomial.logpmf(rest, rest.sum(axis=1).astype(int), usual / usual.sum())
    assert told["log_score"]["value"] < -multinomial.mean() - 1.5
    assert told["gain"]["value"] == pytest.approx(0, abs=1e-12)
    for change in (0.8, 1.25):  # it is the best of its kind
        other = log_likelihood(np.tile(usual * change, (half.sum(), 1)), votes[half], [3]).sum()
        assert other < log_likelihood(np.tile(usual, (half.sum(), 1)), votes[half], [3]).sum()
    assert 0.6 < told["coverage_68"]["value"] < 0.8
