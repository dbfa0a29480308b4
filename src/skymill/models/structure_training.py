"""Training of a structure model: the log-density of true values under the posteriors of their stamps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skymill.models.augmenting import augmented, turned
from skymill.models.cnn_training import EVALUATION_STAMPS
from skymill.models.stamp_training import StampTraining, typical_noise
from skymill.models.structure_network import MixtureHead, PsfEncoder, log_density

if TYPE_CHECKING:
    from skymill.models.structure import Galaxies, StructureSettings


class Training(StampTraining):
    """One fit of encoder and head."""

    VALIDATION_LOSS = "validation_log_loss"

    def __init__(self, train: Galaxies, validation: Galaxies, settings: StructureSettings, seed: int) -> None:
        sizes = settings.sizes
        sides = {"size_px": train.stamps.shape[-1], "psf_px": train.psf.shape[-1]}
        shape = {**sizes, **sides, "components": settings.components}
        noise, targets = torch.from_numpy(typical_noise(train.stamps)), torch.from_numpy(train.targets)
        encoder = PsfEncoder(noise, **sides, **sizes)
        spread = targets.std(dim=0).clamp_min(torch.finfo(targets.dtype).eps)
        head = MixtureHead(settings.vector, settings.components, targets.mean(dim=0), spread)
        super().__init__(train, validation, settings, seed, {"encoder": encoder, "head": head})
        self.shape, self.components = shape, settings.components

    def losses(self, rows: NDArray[np.intp], generator: torch.Generator) -> Tensor:
        stamps, psf = self._images(self.train_examples, rows)
        if self.settings.turn:  # what blurred a stamp turns with it
            which = torch.randint(8, (len(rows),), generator=generator, device=self.device)
            stamps, psf = turned(stamps, which), turned(psf, which)
        unturned = self.settings.model_copy(update={"turn": False})
        flux, weight = augmented(stamps[:, 0], stamps[:, 1], unturned, generator)
        return -self._log_density(flux, weight, psf, self.train_examples.targets[rows])

    def validation_loss(self) -> float:
        total = 0.0
        for start in range(0, len(self.validation_examples), EVALUATION_STAMPS):
            rows = np.arange(start, min(start + EVALUATION_STAMPS, len(self.validation_examples)))
            stamps, psf = self._images(self.validation_examples, rows)
            logs = self._log_density(stamps[:, 0], stamps[:, 1], psf, self.validation_examples.targets[rows])
            total -= float(logs.double().sum())
        return total / len(self.validation_examples)

    def _images(self, galaxies: Galaxies, rows: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
        stamps, psf = (torch.from_numpy(images[rows]).to(self.device) for images in (galaxies.stamps, galaxies.psf))
        return stamps, psf

    def _log_density(self, flux: Tensor, weight: Tensor, psf: Tensor, targets: NDArray[np.float32]) -> Tensor:
        packed = self.network["head"](self.network["encoder"](flux, weight, psf))
        return log_density(packed.float(), torch.from_numpy(targets).to(self.device), self.components)
