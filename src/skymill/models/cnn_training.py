"""Training of the convolutional network with Lightning: exact resume, averaged weights, the best epoch kept."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from skymill.models.cnn_network import Encoder, Head
from skymill.models.registry import Examples, Place
from skymill.models.torch_place import one_cycle
from skymill.models.torch_place import train as run_training

if TYPE_CHECKING:
    from skymill.models.cnn import CnnSettings

SMALLEST_PROBABILITY = 1e-12
EVALUATION_STAMPS = 256
NOISE_STAMPS = 512
"""Stamps that the typical noise of a band is taken from."""
logger = logging.getLogger(__name__)


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


class Training(LightningModule):
    """One fit. All state beyond the weights goes through the checkpoint, and every epoch and step draws
    from its own seed, so that a killed fit goes on to the same bits."""

    def __init__(self, train: Examples, validation: Examples, settings: CnnSettings, seed: int) -> None:
        super().__init__()
        self.settings, self.seed = settings, seed
        self.train_examples, self.validation_examples = train, validation
        sizes = {"width": settings.width, "stages": settings.stages, "depth": settings.depth, "vector": settings.vector}
        self.shape = {**sizes, "classes": train.n_classes}
        self.network = nn.ModuleDict(
            {
                "encoder": Encoder(torch.from_numpy(typical_noise(train.features)), **sizes),
                "head": Head(settings.vector, train.n_classes),
            }
        )
        self.average = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
        self.loss = nn.CrossEntropyLoss(reduction="none", label_smoothing=settings.label_smoothing)
        self.best: dict[str, Tensor] = {}
        self.epochs: list[dict[str, float]] = []

    @property
    def n_batches(self) -> int:
        """Steps of an epoch; batches are of nearly equal size: batch norm can make nothing of a last single stamp."""
        return max(1, round(len(self.train_examples.labels) / self.settings.batch_size))

    def train_dataloader(self) -> DataLoader[int]:
        """A step needs only its number: stamps are read from the disk as they are needed."""
        return DataLoader(range(self.n_batches), batch_size=None)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[int]:
        return DataLoader(range(1), batch_size=None)  # type: ignore[arg-type]

    def on_train_epoch_start(self) -> None:
        random = np.random.default_rng([self.seed, self.current_epoch])
        self.batches = np.array_split(random.permutation(len(self.train_examples.labels)), self.n_batches)
        self.loss_sum = torch.zeros((), device=self.device)

    def training_step(self, batch: Tensor, step: int) -> Tensor:
        rows = np.sort(self.batches[step])  # in the order of the disk
        stamps = torch.from_numpy(self.train_examples.features[rows]).to(self.device)
        generator = torch.Generator(device=self.device).manual_seed((self.seed << 31) + self.global_step)
        flux, weight = augmented(stamps[:, 0], stamps[:, 1], self.settings, generator)
        labels = torch.from_numpy(self.train_examples.labels[rows]).to(self.device)
        counts = torch.from_numpy(self.train_examples.weights[rows]).to(self.device)
        losses = self.loss(self.network["head"](self.network["encoder"](flux, weight)), labels) * counts
        self.loss_sum += losses.detach().float().mean()
        return losses.mean()

    def on_train_batch_end(self, *_: Any) -> None:
        """Average the weights; early on over few steps, so that the first ones are forgotten."""
        keep = min(self.settings.averaging, (1 + self.global_step) / (10 + self.global_step))
        for name, tensor in self.network.state_dict().items():
            average = self.average[name] = self.average[name].to(tensor.device)
            if tensor.is_floating_point():
                average.mul_(keep).add_(tensor.detach(), alpha=1 - keep)
            else:
                average.copy_(tensor)

    def validation_step(self, batch: Tensor, step: int) -> None:
        """Log-loss of the averaged weights, at the classes' own frequencies: class weights are taken out."""
        trained = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
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
        epoch = {
            "epoch": self.current_epoch,
            "train_loss": float(self.loss_sum) / self.n_batches,
            "validation_log_loss": total / len(examples.labels),
        }
        self.epochs.append(epoch)
        logger.info("epoch %d: train loss %.4f, validation log-loss %.4f", *epoch.values())
        if epoch["validation_log_loss"] <= min(row["validation_log_loss"] for row in self.epochs):
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.average.items()}
        self.network.load_state_dict(trained)

    def configure_optimizers(self) -> Any:
        return one_cycle(
            self.network.parameters(),
            learning_rate=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            steps=self.settings.epochs * self.n_batches,
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["progress"] = {"best": self.best, "average": self.average, "epochs": self.epochs}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name, value in checkpoint["progress"].items():
            setattr(self, name, value)


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


def augmented(flux: Tensor, weight: Tensor, settings: CnnSettings, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Change stamps (n, bands, k, k) in ways that do not change what their sources are.

    What a shift moves out on one side comes in on the other.
    """
    device, n = flux.device, len(flux)
    both = torch.stack([flux, weight], dim=1)  # (n, 2, bands, k, k)
    if settings.turn:
        which = torch.randint(8, (n,), generator=generator, device=device)
        for number in range(1, 8):
            some = which == number
            turned = torch.rot90(both[some], number % 4, dims=(-2, -1))
            both[some] = turned.flip(-1) if number >= 4 else turned
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
