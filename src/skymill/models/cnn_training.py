"""Training of the convolutional network: cross-entropy of the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skymill.models.augmenting import augmented
from skymill.models.cnn import Cnn
from skymill.models.registry import Examples
from skymill.models.stamp_training import StampTraining, typical_noise

if TYPE_CHECKING:
    from skymill.models.cnn import CnnSettings

SMALLEST_PROBABILITY = 1e-12
EVALUATION_STAMPS = 256


class Training(StampTraining):
    """One fit of the network."""

    VALIDATION_LOSS = Cnn.LOSSES[1]

    def __init__(
        self, train: Examples, validation: Examples, settings: CnnSettings, seed: int, kind: type[Cnn] = Cnn
    ) -> None:
        self.shape = {**settings.sizes, "classes": train.n_classes}
        encoder, head = kind.network(torch.from_numpy(typical_noise(train.features)), self.shape)
        super().__init__(train, validation, settings, seed, {"encoder": encoder, "head": head})
        self.loss = nn.CrossEntropyLoss(reduction="none", label_smoothing=settings.label_smoothing)

    def losses(self, rows: NDArray[np.intp], generator: torch.Generator) -> Tensor:
        flux, weight = augmented(*self.stamps(self.train_examples, rows), self.settings, generator)
        labels = torch.from_numpy(self.train_examples.labels[rows]).to(self.device)
        counts = torch.from_numpy(self.train_examples.weights[rows]).to(self.device)
        found: Tensor = self.loss(self.network["head"](self.network["encoder"](flux, weight)), labels) * counts
        return found

    def validation_loss(self) -> float:
        """Give the log-loss at the classes' own frequencies: class weights are taken out."""
        examples, total = self.validation_examples, 0.0
        class_weights = torch.from_numpy(self.train_examples.class_weights)
        for start in range(0, len(examples.labels), EVALUATION_STAMPS):
            some = slice(start, start + EVALUATION_STAMPS)
            logits = self.network["head"](self.network["encoder"](*self.stamps(examples, some)))
            probabilities = logits.double().softmax(-1).cpu() / class_weights
            probabilities /= probabilities.sum(-1, keepdim=True)
            own = probabilities.gather(1, torch.from_numpy(examples.labels[some])[:, None])
            total -= float(own.clamp_min(SMALLEST_PROBABILITY).log().sum())
        return total / len(examples.labels)
