"""Training of a structure model: the log-density of true values under the posteriors of their stamps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skymill.models.cnn_training import EVALUATION_STAMPS, augmented, turned, typical_noise
from skymill.models.registry import Place
from skymill.models.stamp_training import StampTraining
from skymill.models.structure_network import MixtureHead, PsfEncoder, log_density
from skymill.models.torch_place import train as run_training

if TYPE_CHECKING:
    from skymill.models.structure import Galaxies, StructureSettings


def train_network(
    train: Galaxies, validation: Galaxies, settings: StructureSettings, *, seed: int, place: Place
) -> tuple[PsfEncoder, MixtureHead, dict[str, int], list[dict[str, float]]]:
    """Train to the end, from `place.workdir`'s last epoch where there is one.

    Raises
    ------
    ValueError
        If the precision or the device is not possible here.
    MemoryError
        If a batch does not fit; the message says what to set.
    """
    module = run_training(
        lambda: Training(train, validation, settings, seed),
        place,
        seed=seed,
        epochs=settings.epochs,
        precision=settings.precision,
        batch=f"batch_size {settings.batch_size} and width {settings.width}; set settings.batch_size to "
        f"{max(2, settings.batch_size // 2)} or lower",
        gradient_clip_val=settings.clip_gradient,
    )
    module.network.load_state_dict(module.best)
    network = module.network.cpu().eval()
    return network["encoder"], network["head"], module.shape, module.epochs  # type: ignore[return-value]


class Training(StampTraining):
    """One fit of encoder and head."""

    def __init__(self, train: Galaxies, validation: Galaxies, settings: StructureSettings, seed: int) -> None:
        super().__init__(settings, seed, len(train))
        self.galaxies, self.held_out, self.components = train, validation, settings.components
        sizes = {"width": settings.width, "stages": settings.stages, "depth": settings.depth, "vector": settings.vector}
        sides = {"size_px": train.stamps.shape[-1], "psf_px": train.psf.shape[-1]}
        self.shape = {**sizes, **sides, "components": settings.components}
        noise, targets = torch.from_numpy(typical_noise(train.stamps)), torch.from_numpy(train.targets)
        encoder = PsfEncoder(noise, **sides, **sizes)
        spread = targets.std(dim=0).clamp_min(torch.finfo(targets.dtype).eps)
        head = MixtureHead(settings.vector, settings.components, targets.mean(dim=0), spread)
        self.begin(nn.ModuleDict({"encoder": encoder, "head": head}))

    def losses_of(self, rows: NDArray[np.int64]) -> Tensor:
        stamps, psf = self._images(self.galaxies, rows)
        generator = self.generator
        if self.settings.turn:  # what blurred a stamp turns with it
            which = torch.randint(8, (len(rows),), generator=generator, device=self.device)
            stamps, psf = turned(stamps, which), turned(psf, which)
        unturned = self.settings.model_copy(update={"turn": False})
        flux, weight = augmented(stamps[:, 0], stamps[:, 1], unturned, generator)
        return -self._log_density(flux, weight, psf, self.galaxies.targets[rows])

    def validation_loss(self) -> float:
        total = 0.0
        for start in range(0, len(self.held_out), EVALUATION_STAMPS):
            rows = np.arange(start, min(start + EVALUATION_STAMPS, len(self.held_out)))
            stamps, psf = self._images(self.held_out, rows)
            logs = self._log_density(stamps[:, 0], stamps[:, 1], psf, self.held_out.targets[rows])
            total -= float(logs.double().sum())
        return total / len(self.held_out)

    def _images(self, galaxies: Galaxies, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        stamps, psf = (torch.from_numpy(images[rows]).to(self.device) for images in (galaxies.stamps, galaxies.psf))
        return stamps, psf

    def _log_density(self, flux: Tensor, weight: Tensor, psf: Tensor, targets: NDArray[np.float32]) -> Tensor:
        packed = self.network["head"](self.network["encoder"](flux, weight, psf))
        return log_density(packed.float(), torch.from_numpy(targets).to(self.device), self.components)
