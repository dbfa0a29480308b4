"""Training of the convolutional network: cross-entropy of the labels, and the likelihood of votes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skymill.models.augmenting import augmented
from skymill.models.cnn import Cnn
from skymill.models.registry import Examples
from skymill.models.stamp_training import StampTraining, typical_noise
from skymill.models.starting import start_from
from skymill.models.votes_network import log_likelihood

if TYPE_CHECKING:
    from skymill.models.cnn import CnnSettings

SMALLEST_PROBABILITY = 1e-12
EVALUATION_STAMPS = 256


class Training(StampTraining):
    """One fit of the network."""

    VALIDATION_LOSS = Cnn.LOSSES[1]

    def __init__(
        self,
        train: Examples,
        validation: Examples,
        settings: CnnSettings,
        seed: int,
        kind: type[Cnn] = Cnn,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.questions = list(train.questions) if settings.votes_weight else []
        self.shape: dict[str, Any] = {**settings.sizes, "classes": train.n_classes}
        self.shape |= {"questions": self.questions} if self.questions else {}
        encoder, head = kind.member(torch.from_numpy(typical_noise(train.features)), self.shape)
        if start is not None:
            start_from(encoder, start, start=settings.start)
        super().__init__(train, validation, settings, seed, {"encoder": encoder, "head": head})
        self.loss = nn.CrossEntropyLoss(reduction="none", label_smoothing=settings.label_smoothing)

    def losses(self, rows: NDArray[np.intp], generator: torch.Generator) -> Tensor:
        flux, weight = augmented(*self.stamps(self.train_examples, rows), self.settings, generator)
        labels = torch.from_numpy(self.train_examples.labels[rows]).to(self.device)
        counts = torch.from_numpy(self.train_examples.weights[rows]).to(self.device)
        vectors = self.network["encoder"](flux, weight)
        found: Tensor = self.loss(self.network["head"](vectors), labels) * counts
        if self.questions:
            importance = self.train_examples.importance
            some = 1.0 if importance is None else torch.from_numpy(importance[rows]).to(self.device)
            found = found + some * self._votes_loss(vectors, self.train_examples, rows)
        return found

    def _votes_loss(self, vectors: Tensor, examples: Examples, rows: NDArray[np.intp] | slice) -> Tensor:
        """Give what the votes for some rows add to the loss of each, (m,)."""
        assert examples.votes is not None  # there are questions
        votes = torch.from_numpy(examples.votes[rows]).to(self.device)
        told: Tensor = self.network["head"].votes(vectors)
        return -self.settings.votes_weight * log_likelihood(told.float(), votes, self.questions)

    def validation_loss(self) -> float:
        """Give the log-loss at the classes' own frequencies, class weights taken out, and what votes add to it."""
        examples, total = self.validation_examples, 0.0
        class_weights = torch.from_numpy(self.train_examples.class_weights)
        for start in range(0, len(examples.labels), EVALUATION_STAMPS):
            some = slice(start, start + EVALUATION_STAMPS)
            vectors = self.network["encoder"](*self.stamps(examples, some))
            logits = self.network["head"](vectors)
            probabilities = logits.double().softmax(-1).cpu() / class_weights
            probabilities /= probabilities.sum(-1, keepdim=True)
            own = probabilities.gather(1, torch.from_numpy(examples.labels[some])[:, None])
            total -= float(own.clamp_min(SMALLEST_PROBABILITY).log().sum())
            if self.questions:
                total += float(self._votes_loss(vectors, examples, some).sum())
        return total / len(examples.labels)
