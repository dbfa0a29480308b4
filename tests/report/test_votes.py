"""Votes on a model's page: what is drawn, and that the table says what the metrics say."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from skymill.report.gather import VotesTest, read_votes
from skymill.report.votes import METRICS, draw_votes, questions_of
from skymill.training.votes import evaluate_votes

QUESTIONS = {"shape": ["smooth", "featured"], "arms": ["one", "two", "more"]}
N = 400


def judged_votes(*, arms: bool = True) -> SimpleNamespace:
    """A test set whose concentrations are right; without `arms` nobody was asked about these."""
    random = np.random.default_rng(3)
    alpha = random.uniform(0.5, 10, (N, 5))
    parts = [random.standard_gamma(each) for each in np.split(alpha, [2], axis=1)]
    votes = [random.multinomial(30, own / own.sum(axis=1, keepdims=True)) for own in parts]
    counts = np.concatenate([votes[0], votes[1] if arms else 0 * votes[1]], axis=1).astype(float)
    metrics = evaluate_votes(
        alpha, counts, np.full(N, 20.0), np.arange(N) % 20, questions=QUESTIONS, usual=np.ones(5), seed=1
    )
    return SimpleNamespace(metrics={"votes": metrics}, votes=VotesTest(counts, alpha))


def test_of_two_answers_one_is_drawn_and_of_more_each() -> None:
    shape, arms = questions_of(judged_votes())  # type: ignore[arg-type]
    assert [picture.title for picture in shape.gallery.pictures] == ["smooth"]
    assert [picture.title for picture in arms.gallery.pictures] == ["one", "two", "more"]
    assert (shape.n, shape.votes) == (N, 30 * N)
    assert [words for words, _, _ in shape.rows] == [words for words, _ in METRICS.values()]
    assert all("of 400 sources" in picture.alt for picture in arms.gallery.pictures)


def test_a_question_without_test_sources_has_no_figure() -> None:
    shape, arms = questions_of(judged_votes(arms=False))  # type: ignore[arg-type]
    assert len(shape.gallery.pictures) == 1 and arms.gallery.pictures == [] and arms.n == 0


def test_a_model_without_votes_has_no_section() -> None:
    assert questions_of(SimpleNamespace(metrics={}, votes=None)) == []  # type: ignore[arg-type]
    assert read_votes(None, {}) is None  # type: ignore[arg-type]


def test_means_lie_where_the_sources_do() -> None:
    random = np.random.default_rng(1)
    expected = random.uniform(0, 1, 800)
    axes = draw_votes(expected, np.clip(expected + 0.1, 0, 1), "smooth").axes[0]
    dots = np.array([each.lines[0].get_xydata()[0] for each in axes.containers])
    assert len(dots) == 8
    np.testing.assert_allclose(dots[:-1, 1] - dots[:-1, 0], 0.1, atol=0.02)
