"""Training without labels: of two pictures of a stamp, or of what a stamp shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skymill.models.augmenting import augmented
from skymill.models.embedder_network import Decoder, Photometry, UnitEncoder, projection
from skymill.models.registry import Examples
from skymill.models.stamp_training import StampTraining, spread_evenly, typical_noise

PHOTOMETRY_STAMPS = 4096
"""That the scales of the photometry are taken from."""
VALIDATION = 11
"""Purpose of a random stream: what is done to the stamps of validation, the same each epoch."""


class EmbedderTraining(StampTraining):
    """One fit without labels; a kind says what stands beside the encoder and what the loss of some stamps is."""

    VALIDATION_LOSS = "validation_loss"

    def __init__(self, train: Examples, validation: Examples, settings: Any, seed: int) -> None:
        noise = torch.from_numpy(typical_noise(train.features))
        encoder = UnitEncoder(noise, **settings.sizes)
        aside = self.aside(settings, noise, train.features)
        super().__init__(train, validation, settings, seed, {"encoder": encoder, **aside})

    def aside(self, settings: Any, noise: Tensor, stamps: NDArray[np.float32]) -> dict[str, nn.Module]:
        """Give the networks that are there only while it learns, of the noise of the bands and the training stamps."""
        raise NotImplementedError

    def stamp_losses(self, flux: Tensor, weight: Tensor, generator: torch.Generator) -> Tensor:
        """Give the losses of stamps (m, bands, k, k)."""
        raise NotImplementedError

    def losses(self, rows: NDArray[np.intp], generator: torch.Generator) -> Tensor:
        return self.stamp_losses(*self.stamps(self.train_examples, rows), generator)

    def validation_loss(self) -> float:
        """Give the mean over batches as large as those of the training, since a contrast depends on that."""
        generator = torch.Generator(device=self.device).manual_seed((self.seed << 8) + VALIDATION)
        rows = np.arange(len(self.validation_examples.labels))
        batches = np.array_split(rows, max(1, round(len(rows) / self.settings.batch_size)))
        losses = [self.stamp_losses(*self.stamps(self.validation_examples, some), generator) for some in batches]
        return float(torch.cat(losses).mean())


class ContrastiveTraining(EmbedderTraining):
    """Two pictures of each stamp, and the photometry of the stamp from either."""

    def aside(self, settings: Any, noise: Tensor, stamps: NDArray[np.float32]) -> dict[str, nn.Module]:
        aside: dict[str, nn.Module] = {"projection": projection(settings.vector)}
        if settings.photometry:
            some = torch.from_numpy(spread_evenly(stamps, PHOTOMETRY_STAMPS))
            aside["photometry"] = Photometry(noise, some[:, 0], some[:, 1], settings.vector)
        return aside

    def stamp_losses(self, flux: Tensor, weight: Tensor, generator: torch.Generator) -> Tensor:
        pictures = [augmented(flux, weight, self.settings, generator) for _ in range(2)]
        both = self.network["encoder"](*(torch.cat(side) for side in zip(*pictures)))
        losses = contrast(self.network["projection"](both), self.settings.temperature)
        if not self.settings.photometry:
            return losses
        photometry = self.network["photometry"]
        measured = photometry.measured(flux, weight).repeat(2, 1)
        wrong = nn.functional.smooth_l1_loss(photometry(both), measured, reduction="none").mean(dim=1)
        return losses + self.settings.photometry * wrong.view(2, -1).mean(dim=0)


class AutoencoderTraining(EmbedderTraining):
    """The stamp as it was, from a worse picture of it."""

    def aside(self, settings: Any, noise: Tensor, stamps: NDArray[np.float32]) -> dict[str, nn.Module]:
        bands, size = stamps.shape[2], stamps.shape[-1]
        return {"decoder": Decoder(vector=settings.vector, bands=bands, size=size, width=settings.width)}

    def stamp_losses(self, flux: Tensor, weight: Tensor, generator: torch.Generator) -> Tensor:
        worse, target, seen = self.pictures(flux, weight, generator)
        found = self.network["decoder"](self.network["encoder"](*worse))
        return misfit(found, target, seen)

    def pictures(
        self, flux: Tensor, weight: Tensor, generator: torch.Generator
    ) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor]:
        """Give stamps with more noise and without some bands; and as they are, stretched, and where they were seen.

        Both are turned alike: what is asked for lies where it is seen.
        """
        place = self.settings.model_copy(update={"noise": 0.0, "band_dropout": 0.0, "blur_px": 0.0})
        flux, weight = augmented(flux, weight, place, generator)
        stretched, seen = self.network["encoder"].stretch(flux, weight).chunk(2, dim=1)
        still = {"turn": False, "shift_px": 0, "subpixel": False, "extinction_mag": []}
        return augmented(flux, weight, self.settings.model_copy(update=still), generator), stretched, seen


class VaeTraining(AutoencoderTraining):
    """The same through a vector that is drawn from a normal distribution."""

    def aside(self, settings: Any, noise: Tensor, stamps: NDArray[np.float32]) -> dict[str, nn.Module]:
        return super().aside(settings, noise, stamps) | {"log_variance": nn.Linear(settings.vector, settings.vector)}

    def stamp_losses(self, flux: Tensor, weight: Tensor, generator: torch.Generator) -> Tensor:
        worse, target, seen = self.pictures(flux, weight, generator)
        mean = self.network["encoder"].raw(*worse)
        log_variance = self.network["log_variance"](mean)
        drawn = torch.randn(mean.shape, generator=generator, device=mean.device)
        found = self.network["decoder"](mean + torch.exp(log_variance / 2) * drawn)
        n_seen = seen.sum(dim=(1, 2, 3)).clamp_min(1)
        return misfit(found, target, seen) + self.settings.beta * divergence(mean, log_variance) / n_seen


def contrast(vectors: Tensor, temperature: float) -> Tensor:
    """Give the normalised temperature-scaled cross-entropy (Chen et al. 2020, eq. 1) of pairs.

    Parameters
    ----------
    vectors : Tensor, (2 n, d)
        Rows k and n + k are two pictures of one thing.
    temperature : float

    Returns
    -------
    Tensor, (n,)
        Mean of the two of each pair.
    """
    n = len(vectors) // 2
    unit = nn.functional.normalize(vectors.float(), dim=1)
    similar = unit @ unit.T / temperature
    similar = similar.masked_fill(torch.eye(2 * n, dtype=torch.bool, device=vectors.device), -torch.inf)
    partner = torch.arange(2 * n, device=vectors.device).roll(n)
    return nn.functional.cross_entropy(similar, partner, reduction="none").view(2, n).mean(dim=0)


def misfit(found: Tensor, target: Tensor, seen: Tensor) -> Tensor:
    """Give the mean squared difference of the pixels that were seen, (n,), of stamps (n, bands, k, k)."""
    squares = ((found - target) ** 2 * seen).sum(dim=(1, 2, 3))
    return squares / seen.sum(dim=(1, 2, 3)).clamp_min(1)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Give the Kullback-Leibler divergence of normal distributions from the unit one (Kingma & Welling 2014, app. B).

    Both are (n, d); it is (n,).
    """
    return (mean**2 + log_variance.exp() - 1 - log_variance).sum(dim=1) / 2
