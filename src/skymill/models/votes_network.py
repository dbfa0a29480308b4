"""The tensors that tell votes: from vectors to concentrations of the answers of each question (`models.votes`)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

LEAST, MOST = -3.0, 8.0
"""Bounds of the logarithm of a question's total concentration: from 0.05 to 3,000 votes."""
SMALLEST = 1e-6
"""Fraction of an answer that nobody gives: of none at all no likelihood would be known."""


class VoteHead(nn.Module):
    """Vectors to concentrations: of each question the fractions of its answers (a softmax) and, times these, their sum.

    Parameters
    ----------
    vector : int
        Length of a vector.
    questions : sequence of int, (q,)
        Answers of each.
    """

    def __init__(self, vector: int, questions: Sequence[int]) -> None:
        super().__init__()
        self.questions = list(questions)
        self.fractions = nn.Linear(vector, sum(questions))
        self.totals = nn.Linear(vector, len(questions))

    def forward(self, vectors: Tensor) -> Tensor:
        """Give concentrations (n, answers) of vectors (n, vector)."""
        seen = torch.relu(vectors)
        totals = self.totals(seen).clamp(LEAST, MOST).exp()
        fractions = [
            part.softmax(dim=1).clamp_min(SMALLEST) for part in self.fractions(seen).split(self.questions, dim=1)
        ]
        return torch.cat([fraction * totals[:, n : n + 1] for n, fraction in enumerate(fractions)], dim=1)


class WithVotes(nn.Module):
    """A head that tells classes, and one that tells votes, of the same vectors."""

    def __init__(self, classes: nn.Module, votes: VoteHead) -> None:
        super().__init__()
        self.classes, self.votes = classes, votes

    def forward(self, vectors: Tensor) -> Tensor:
        """Give logits (n, classes) of vectors (n, vector)."""
        logits: Tensor = self.classes(vectors)
        return logits


class Concentrations(nn.Module):
    """What the heads of one or several networks say of votes, as it is exported.

    Of several the mean of their fractions, and the geometric mean of their total concentrations.

    Parameters
    ----------
    head : WithVotes or MeanHead of these
    factors : Tensor, (q,)
        By which the calibration multiplies the concentrations of each question.
    """

    factors: Tensor

    def __init__(self, head: nn.Module, factors: Tensor) -> None:
        super().__init__()
        heads = list(getattr(head, "members", [head]))
        self.heads = nn.ModuleList([each.votes for each in heads])
        self.questions = heads[0].votes.questions
        self.register_buffer("factors", factors)

    def forward(self, features: Tensor) -> Tensor:
        """Give concentrations (n, answers) of vectors (n, members * vector)."""
        told = [head(part) for head, part in zip(self.heads, features.chunk(len(self.heads), dim=1))]
        found = []
        for number, parts in enumerate(zip(*(each.split(self.questions, dim=1) for each in told))):
            sums = torch.stack([part.sum(dim=1, keepdim=True) for part in parts])
            fractions = (torch.stack(parts) / sums).mean(dim=0)
            found.append(fractions * sums.log().mean(dim=0).exp() * self.factors[number])
        return torch.cat(found, dim=1)


def log_likelihood(concentrations: Tensor, votes: Tensor, questions: Sequence[int]) -> Tensor:
    """Give what `models.votes.log_likelihood` does, summed over the questions, (n,), without what no concentration
    changes."""
    found = torch.zeros(len(votes), device=votes.device)
    for alpha, counts in zip(concentrations.split(list(questions), dim=1), votes.split(list(questions), dim=1)):
        total, n = alpha.sum(dim=1), counts.sum(dim=1)
        answers = torch.lgamma(counts + alpha) - torch.lgamma(alpha)
        found = found + torch.lgamma(total) - torch.lgamma(total + n) + answers.sum(dim=1)
    return found
