"""Training of networks on stamps with Lightning: exact resume, averaged weights, the best epoch kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sized
from typing import Any, TypeVar

import numpy as np
import torch
from lightning.pytorch import LightningModule
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from skymill.models.registry import Examples, Place
from skymill.models.torch_place import one_cycle
from skymill.models.torch_place import train as run_training

NOISE_STAMPS = 512
"""Stamps that the typical noise of a band is taken from."""
Course = TypeVar("Course", bound="StampTraining")
Rows = TypeVar("Rows", bound=Sized)
logger = logging.getLogger(__name__)


def train_best(
    course: Callable[[Rows, Rows, Any, int], Course],
    examples: tuple[Rows, Rows],
    settings: Any,
    seed: int,
    place: Place,
) -> Course:
    """Train to the end, from `place.workdir`'s last epoch where there is one, and give it as it was best.

    Parameters
    ----------
    course : type of StampTraining
    examples : pair of Examples, or of other rows that can be counted
        To learn from, and for validation.
    settings : StampNetworkSettings
        Those of the kind.
    seed : int
    place : Place

    Raises
    ------
    ValueError
        If the precision or the device is not possible here, or no epoch has a finite loss on validation.
    MemoryError
        If a batch does not fit; the message says what to set.
    """
    trained = run_training(
        lambda: course(*examples, settings, seed),
        place,
        seed=seed,
        epochs=settings.epochs,
        precision=settings.precision,
        batch=f"batch_size {settings.batch_size} and width {settings.width}; set settings.batch_size to "
        f"{max(2, settings.batch_size // 2)} or lower",
        gradient_clip_val=settings.clip_gradient,
    )
    if not trained.best:
        raise ValueError(
            f"{place.workdir}: no epoch has a finite loss on validation; lower settings.learning_rate "
            f"({settings.learning_rate:g})"
            + ("" if settings.precision == "32" else f", or set settings.precision to '32' ('{settings.precision}')")
        )
    trained.network.load_state_dict(trained.best)
    trained.network.cpu().eval()
    return trained


class StampTraining(LightningModule):
    """One fit. All state beyond the weights goes through the checkpoint, and every epoch and step draws
    from its own seed, so that a killed fit goes on to the same bits.

    A kind says what a step's loss is and what the loss on validation is.
    """

    VALIDATION_LOSS: str
    """Its name; the epoch where it is lowest is kept."""

    def __init__(self, train: Any, validation: Any, settings: Any, seed: int, network: dict[str, nn.Module]) -> None:
        super().__init__()
        noise = next(value for name, value in network["encoder"].state_dict().items() if name.endswith("stretch.noise"))
        dust, bands = settings.extinction_mag, noise.numel()
        if len(dust) not in (0, bands):
            raise ValueError(
                f"settings.extinction_mag: expected a number for each of the {bands} bands of the stamps, or none, "
                f"found {len(dust)}"
            )
        self.settings, self.seed = settings, seed
        self.train_examples, self.validation_examples = train, validation
        self.network: Any = nn.ModuleDict(network)
        self.average = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
        self.best: dict[str, Tensor] = {}
        self.epochs: list[dict[str, float]] = []
        self.loss_sum = torch.zeros(())
        self._batches: tuple[int, list[NDArray[np.intp]]] = (-1, [])

    def losses(self, rows: NDArray[np.intp], generator: torch.Generator) -> Tensor:
        """Give the loss of each of some training rows, (m,)."""
        raise NotImplementedError

    def validation_loss(self) -> float:
        """Give the mean loss of the validation rows."""
        raise NotImplementedError

    @property
    def n_batches(self) -> int:
        """Steps of an epoch; batches are of nearly equal size: batch norm can make nothing of a last single stamp."""
        return max(1, round(len(self.train_examples) / self.settings.batch_size))

    def train_dataloader(self) -> DataLoader[int]:
        """A step needs only its number: stamps are read from the disk as they are needed."""
        return DataLoader(range(self.n_batches), batch_size=None)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[int]:
        return DataLoader(range(1), batch_size=None)  # type: ignore[arg-type]

    def on_train_epoch_start(self) -> None:
        """Begin an epoch; not called where a killed fit goes on amid one."""
        self.loss_sum = torch.zeros((), device=self.device)

    def batches(self, epoch: int) -> list[NDArray[np.intp]]:
        """Give the rows of each step of an epoch."""
        if epoch != self._batches[0]:
            rows = np.random.default_rng([self.seed, epoch]).permutation(len(self.train_examples))
            self._batches = epoch, np.array_split(rows, self.n_batches)
        return self._batches[1]

    def training_step(self, batch: Tensor, step: int) -> Tensor:
        rows = np.sort(self.batches(self.current_epoch)[step])  # in the order of the disk
        generator = torch.Generator(device=self.device).manual_seed((self.seed << 31) + self.global_step)
        loss = self.losses(rows, generator).mean()
        self.loss_sum = self.loss_sum.to(self.device) + loss.detach().float()
        return loss

    def stamps(self, examples: Examples, rows: NDArray[np.intp] | slice) -> tuple[Tensor, Tensor]:
        """Give flux and inverse variance of some rows, (m, bands, k, k), where the network is."""
        found = torch.from_numpy(np.array(examples.features[rows])).to(self.device)
        return found[:, 0], found[:, 1]

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        """Make a step and average the weights, before anything is kept of it; early on over few steps, so that the
        first ones are forgotten."""
        steps = self.global_step + 1
        super().optimizer_step(*arguments, **options)
        keep = min(self.settings.averaging, (1 + steps) / (10 + steps))
        for name, tensor in self.network.state_dict().items():
            average = self.average[name] = self.average[name].to(tensor.device)
            if tensor.is_floating_point():
                average.mul_(keep).add_(tensor.detach(), alpha=1 - keep)
            else:
                average.copy_(tensor)

    def validation_step(self, batch: Tensor, step: int) -> None:
        """Judge the averaged weights, and keep them where they are the best yet."""
        trained = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        name = self.VALIDATION_LOSS
        epoch = {
            "epoch": self.current_epoch,
            "train_loss": float(self.loss_sum) / self.n_batches,
            name: self.validation_loss(),
        }
        self.epochs.append(epoch)
        logger.info("epoch %d: train loss %.4f, validation loss %.4f", *epoch.values())
        if epoch[name] <= min((row[name] for row in self.epochs if np.isfinite(row[name])), default=-np.inf):
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
        kept = ("best", "average", "epochs", "loss_sum")
        checkpoint["progress"] = {name: getattr(self, name) for name in kept}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name, value in checkpoint["progress"].items():
            setattr(self, name, value)


def typical_noise(stamps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the median noise of a pixel in each band, (bands,), nJy, from stamps (n, 2, bands, k, k) spread evenly.

    A band without any weight has that of the others.
    """
    weight = spread_evenly(stamps, NOISE_STAMPS)[:, 1].astype(np.float64)
    by_band = np.moveaxis(weight, 1, 0).reshape(weight.shape[1], -1)
    noise = np.array([np.median(band[band > 0]) ** -0.5 if (band > 0).any() else np.nan for band in by_band])
    overall = np.nanmedian(noise) if np.isfinite(noise).any() else 1.0
    return np.where(np.isfinite(noise), noise, overall).astype(np.float32)


def spread_evenly(stamps: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """Read up to so many of the stamps, spread evenly over all."""
    return np.array(stamps[np.unique(np.linspace(0, len(stamps) - 1, most).astype(int))])
