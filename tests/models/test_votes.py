"""Votes of volunteers: their likelihood against scipy, the network that tells them, and its ONNX file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from drawn_stamps import SIZE, draw
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from skymill.config.model import StampSettings
from skymill.export import stamp_network as export_cnn
from skymill.models import Cnn, Examples, Place
from skymill.models.cnn import CnnSettings
from skymill.models.votes import fractions, log_likelihood, totals
from skymill.models.votes_network import Concentrations, VoteHead, WithVotes
from skymill.models.votes_network import log_likelihood as torch_log_likelihood

QUESTIONS = (2, 3)
SMALL = CnnSettings(
    width=8, stages=2, depth=1, vector=8, epochs=20, batch_size=25, averaging=0.9, votes_weight=1.0, band_dropout=0
)
TRUE = np.array([[[0.8, 0.2], [0.3, 0.7]], [[0.1, 0.9], [0.6, 0.4]]])
"""Fractions of the answers to two questions, of points and of discs: [class, question, answer]."""
VOLUNTEERS, CONCENTRATION = 40, 15.0


def asked(examples: Examples, seed: int) -> Examples:
    """Let volunteers answer two questions; every tenth source is shown to nobody."""
    random = np.random.default_rng(seed)
    votes = []
    for question in range(2):
        mean = TRUE[examples.labels, question]
        own = random.beta(CONCENTRATION * mean[:, 0], CONCENTRATION * mean[:, 1])
        first = random.binomial(VOLUNTEERS, own)
        votes += [first, VOLUNTEERS - first]
    counts = np.stack(votes, axis=1).astype(np.float32)
    counts[::10] = 0
    return replace(examples, votes=counts, questions=(2, 2))


@pytest.fixture(scope="module")
def train() -> Examples:
    return asked(draw(400, seed=1), seed=11)


@pytest.fixture(scope="module")
def validation() -> Examples:
    return asked(draw(200, seed=2), seed=12)


@pytest.fixture(scope="module")
def model(train: Examples, validation: Examples, tmp_path_factory: pytest.TempPathFactory) -> Cnn:
    return Cnn.fit(train, validation, SMALL, seed=5, place=Place(tmp_path_factory.mktemp("votes"), "cpu"))


counted = arrays(np.int64, (4, 5), elements=st.integers(0, 60))
positive = arrays(np.float64, (4, 5), elements=st.floats(0.01, 500))


@given(counted, positive)
def test_the_likelihood_is_that_of_scipy(votes: np.ndarray, alpha: np.ndarray) -> None:
    found = log_likelihood(alpha, votes, QUESTIONS)
    for row in range(4):
        for question, some in enumerate((slice(2), slice(2, 5))):
            wanted = stats.dirichlet_multinomial.logpmf(votes[row, some], alpha[row, some], votes[row, some].sum())
            np.testing.assert_allclose(found[row, question], wanted, rtol=1e-9, atol=1e-8)


@given(counted, positive, positive)
def test_what_a_network_learns_by_differs_from_it_by_nothing_of_its_own(
    votes: np.ndarray, alpha: np.ndarray, other: np.ndarray
) -> None:
    learned = [
        torch_log_likelihood(torch.tensor(a), torch.tensor(votes, dtype=torch.double), [2, 3]) for a in (alpha, other)
    ]
    known = [log_likelihood(a, votes, QUESTIONS).sum(axis=1) for a in (alpha, other)]
    np.testing.assert_allclose((learned[0] - learned[1]).numpy(), known[0] - known[1], rtol=1e-5, atol=1e-3)


@given(positive)
def test_fractions_are_those_of_dirichlet_distributions(alpha: np.ndarray) -> None:
    mean, error = fractions(alpha, QUESTIONS)
    for row in range(4):
        for some in (slice(2), slice(2, 5)):
            wanted = stats.dirichlet(alpha[row, some])
            np.testing.assert_allclose(mean[row, some], wanted.mean(), rtol=1e-9)
            np.testing.assert_allclose(error[row, some] ** 2, wanted.var(), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(totals(alpha, QUESTIONS), np.stack([alpha[:, :2].sum(1), alpha[:, 2:].sum(1)], 1))


def test_it_tells_what_was_voted_beside_the_classes(model: Cnn, validation: Examples) -> None:
    vectors = model.encode(validation.features)
    assert (model.predict_probabilities(vectors).argmax(axis=1) == validation.labels).mean() > 0.9
    told = model.concentrations(vectors)
    mean, _ = fractions(told, model.questions)
    wanted = TRUE[validation.labels].reshape(-1, 4)
    assert np.abs(mean - wanted).mean() < 0.1
    assert (told > 0).all()
    certain = np.median(totals(told, model.questions))
    assert CONCENTRATION / 3 < certain < CONCENTRATION * 3


def test_what_nobody_was_asked_about_teaches_no_votes(validation: Examples) -> None:
    head, vectors = VoteHead(4, [2, 2]), torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    torch_log_likelihood(head(vectors), torch.zeros(6, 4), [2, 2]).sum().backward()
    assert all(torch.all(each.grad == 0) for each in head.parameters())


def test_an_answer_that_nobody_gives_has_a_likelihood_still() -> None:
    head = VoteHead(3, [2, 3])
    torch.nn.init.constant_(head.fractions.bias, 0.0)
    with torch.no_grad():
        head.fractions.bias[1] = -500.0
    told = head(torch.zeros(4, 3))
    likelihood = torch_log_likelihood(told, torch.tensor([[5.0, 0, 1, 1, 1], [4, 1, 0, 0, 0]] * 2), [2, 3])
    likelihood.sum().backward()
    assert torch.isfinite(likelihood).all() and (told > 0).all()
    assert all(torch.isfinite(each.grad).all() for each in head.parameters())


def test_without_weight_votes_are_left_out(train: Examples, validation: Examples, tmp_path: Path) -> None:
    few = SMALL.model_copy(update={"votes_weight": 0.0, "epochs": 2})
    plain = Cnn.fit(train, validation, few, seed=5, place=Place(tmp_path / "a", "cpu"))
    none = [replace(each, votes=None, questions=()) for each in (train, validation)]
    same = Cnn.fit(*none, few, seed=5, place=Place(tmp_path / "b", "cpu"))
    assert plain.questions == [] and "questions" not in plain.shape
    np.testing.assert_array_equal(plain.encode(validation.features), same.encode(validation.features))


def test_saved_and_loaded_it_tells_the_same(model: Cnn, validation: Examples, tmp_path: Path) -> None:
    model.save(tmp_path)
    again, vectors = Cnn.load(tmp_path), model.encode(validation.features)
    np.testing.assert_array_equal(again.concentrations(vectors), model.concentrations(vectors))


@pytest.mark.parametrize("members", [1, 3])
def test_its_file_tells_the_same_votes_times_the_factors(
    model: Cnn, train: Examples, validation: Examples, tmp_path: Path, members: int
) -> None:
    if members > 1:
        several = SMALL.model_copy(update={"members": members, "epochs": 2})
        model = Cnn.fit(train, validation, several, seed=5, place=Place(tmp_path, "cpu"))
    graph = export_cnn.append_votes(model, [2.0, 0.5], export_cnn.convert(model))
    if members > 1:
        graph = export_cnn.append_disagreement(model, graph)
    whole = export_cnn.prepend_encoder(model, graph, StampSettings(size_px=SIZE, bands=["g", "r"]))
    session = onnxruntime.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    flux, weight = (np.ascontiguousarray(validation.features[:, layer]) for layer in (0, 1))
    probabilities, votes = session.run(["probabilities", "votes"], {"flux": flux, "inverse_variance": weight})
    vectors = model.encode(validation.features)
    np.testing.assert_allclose(probabilities, model.predict_probabilities(vectors), atol=1e-5)
    np.testing.assert_allclose(votes, model.concentrations(vectors) * [2, 2, 0.5, 0.5], rtol=1e-3)


def test_several_networks_tell_their_mean_fractions_and_geometric_mean_totals() -> None:
    heads = [WithVotes(torch.nn.Identity(), VoteHead(3, [2, 3])) for _ in range(2)]
    joined = torch.nn.Module()
    joined.members = torch.nn.ModuleList(heads)
    vectors = torch.rand(5, 6, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        found = Concentrations(joined, torch.ones(2))(vectors).numpy()
        alone = [head.votes(part).numpy() for head, part in zip(heads, vectors.chunk(2, dim=1))]
    means = [fractions(each, QUESTIONS)[0] for each in (found, *alone)]
    np.testing.assert_allclose(means[0], (means[1] + means[2]) / 2, rtol=1e-5)
    sums = [totals(each, QUESTIONS) for each in (found, *alone)]
    np.testing.assert_allclose(sums[0], np.sqrt(sums[1] * sums[2]), rtol=1e-5)
