"""Training of the convolutional network with Lightning: exact resume, averaged weights, the best epoch kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skymill.models.cnn_network import Encoder, Head
from skymill.models.registry import Examples, Place
from skymill.models.stamp_training import StampTraining
from skymill.models.torch_place import train as run_training

if TYPE_CHECKING:
    from skymill.models.cnn import CnnSettings, NetworkSettings

SMALLEST_PROBABILITY = 1e-12
EVALUATION_STAMPS = 256
NOISE_STAMPS = 512
"""Stamps that the typical noise of a band is taken from."""


def train_network(
    train: Examples, validation: Examples, settings: CnnSettings, *, seed: int, place: Place
) -> tuple[Encoder, Head, dict[str, int], list[dict[str, float]]]:
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

    def __init__(self, train: Examples, validation: Examples, settings: CnnSettings, seed: int) -> None:
        super().__init__(settings, seed, len(train.labels))
        self.train_examples, self.validation_examples = train, validation
        sizes = {"width": settings.width, "stages": settings.stages, "depth": settings.depth, "vector": settings.vector}
        self.shape = {**sizes, "classes": train.n_classes}
        encoder = Encoder(torch.from_numpy(typical_noise(train.features)), **sizes)
        self.begin(nn.ModuleDict({"encoder": encoder, "head": Head(settings.vector, train.n_classes)}))
        self.loss = nn.CrossEntropyLoss(reduction="none", label_smoothing=settings.label_smoothing)

    def losses_of(self, rows: NDArray[np.int64]) -> Tensor:
        stamps = torch.from_numpy(self.train_examples.features[rows]).to(self.device)
        flux, weight = augmented(stamps[:, 0], stamps[:, 1], self.settings, self.generator)
        labels = torch.from_numpy(self.train_examples.labels[rows]).to(self.device)
        counts = torch.from_numpy(self.train_examples.weights[rows]).to(self.device)
        losses: Tensor = self.loss(self.network["head"](self.network["encoder"](flux, weight)), labels) * counts
        return losses

    def validation_loss(self) -> float:
        """Log-loss at the classes' own frequencies: class weights are taken out."""
        examples, total = self.validation_examples, 0.0
        class_weights = torch.from_numpy(self.train_examples.class_weights)
        for start in range(0, len(examples.labels), EVALUATION_STAMPS):
            some = slice(start, start + EVALUATION_STAMPS)
            stamps = torch.from_numpy(np.array(examples.features[some])).to(self.device)
            logits = self.network["head"](self.network["encoder"](stamps[:, 0], stamps[:, 1]))
            probabilities = logits.double().softmax(-1).cpu() / class_weights
            probabilities /= probabilities.sum(-1, keepdim=True)
            own = probabilities.gather(1, torch.from_numpy(examples.labels[some])[:, None])
            total -= float(own.clamp_min(SMALLEST_PROBABILITY).log().sum())
        return total / len(examples.labels)


def typical_noise(stamps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the median noise of a pixel in each band, (bands,), nJy, from stamps (n, 2, bands, k, k) spread evenly.

    A band without any weight has that of the others.
    """
    chosen = np.unique(np.linspace(0, len(stamps) - 1, NOISE_STAMPS).astype(int))
    weight = np.asarray(stamps[chosen, 1], dtype=np.float64)
    by_band = np.moveaxis(weight, 1, 0).reshape(weight.shape[1], -1)
    noise = np.array([np.median(band[band > 0]) ** -0.5 if (band > 0).any() else np.nan for band in by_band])
    overall = np.nanmedian(noise) if np.isfinite(noise).any() else 1.0
    return np.where(np.isfinite(noise), noise, overall).astype(np.float32)


def augmented(
    flux: Tensor, weight: Tensor, settings: NetworkSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Change stamps (n, bands, k, k) in ways that do not change what their sources are.

    What a shift moves out on one side comes in on the other.
    """
    device, n = flux.device, len(flux)
    both = torch.stack([flux, weight], dim=1)  # (n, 2, bands, k, k)
    if settings.turn:
        both = turned(both, torch.randint(8, (n,), generator=generator, device=device))
    if settings.shift_px:
        shifts = torch.randint(-settings.shift_px, settings.shift_px + 1, (2,), generator=generator, device=device)
        both = torch.roll(both, shifts.tolist(), dims=(-2, -1))
    flux, weight = both[:, 0], both[:, 1]
    if settings.noise:
        more = settings.noise * torch.rand((n, 1, 1, 1), generator=generator, device=device)
        sigma = torch.where(weight > 0, weight, torch.inf).rsqrt()
        flux = flux + more * sigma * torch.randn(flux.shape, generator=generator, device=device)
        weight = weight / (1 + more**2)
    if settings.band_dropout:
        kept = torch.rand(flux.shape[:2], generator=generator, device=device) >= settings.band_dropout
        weight = weight * kept[:, :, None, None]
    return flux * (weight > 0), weight


def turned(images: Tensor, which: Tensor) -> Tensor:
    """Give images (n, ..., k, k) turned by `which` (n,) quarters, and mirrored from 4 on."""
    found = images.clone()
    for number in range(1, 8):
        some = which == number
        quarters = torch.rot90(images[some], number % 4, dims=(-2, -1))
        found[some] = quarters.flip(-1) if number >= 4 else quarters
    return found
