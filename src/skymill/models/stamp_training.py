"""What trainings of networks on stamps share: exact resume, averaged weights, the best epoch kept."""

from __future__ import annotations

import logging
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from skymill.models.torch_place import one_cycle

if TYPE_CHECKING:
    from skymill.models.cnn import NetworkSettings

logger = logging.getLogger(__name__)


class StampTraining(LightningModule):
    """One fit of `network`. All state beyond the weights goes through the checkpoint, and every epoch and step draws
    from its own seed, so that a killed fit goes on to the same bits."""

    network: nn.ModuleDict

    def __init__(self, settings: NetworkSettings, seed: int, n_rows: int) -> None:
        super().__init__()
        self.settings, self.seed, self.n_rows = settings, seed, n_rows
        self.average: dict[str, Tensor] = {}
        self.best: dict[str, Tensor] = {}
        self.epochs: list[dict[str, float]] = []

    def begin(self, network: nn.ModuleDict) -> None:
        """Take a network in its first state."""
        self.network = network
        self.average = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @abstractmethod
    def losses_of(self, rows: NDArray[np.int64]) -> Tensor:
        """Give the losses of rows to learn from, (n,), of stamps changed as `settings` say."""

    @abstractmethod
    def validation_loss(self) -> float:
        """Give the mean log-loss of the validation rows with the network's present weights."""

    @property
    def n_batches(self) -> int:
        """Steps of an epoch; batches are of nearly equal size: batch norm can make nothing of a last single stamp."""
        return max(1, round(self.n_rows / self.settings.batch_size))

    @property
    def generator(self) -> torch.Generator:
        """Give the step's own source of random numbers."""
        return torch.Generator(device=self.device).manual_seed((self.seed << 31) + self.global_step)

    def train_dataloader(self) -> DataLoader[int]:
        """A step needs only its number: stamps are read from the disk as they are needed."""
        return DataLoader(range(self.n_batches), batch_size=None)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[int]:
        return DataLoader(range(1), batch_size=None)  # type: ignore[arg-type]

    def on_train_epoch_start(self) -> None:
        random = np.random.default_rng([self.seed, self.current_epoch])
        self.batches = np.array_split(random.permutation(self.n_rows), self.n_batches)
        self.loss_sum = torch.zeros((), device=self.device)

    def training_step(self, batch: Tensor, step: int) -> Tensor:
        losses = self.losses_of(np.sort(self.batches[step]))  # in the order of the disk
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
        """Log-loss of the averaged weights, which are kept where it is the lowest."""
        trained = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        epoch = {
            "epoch": self.current_epoch,
            "train_loss": float(self.loss_sum) / self.n_batches,
            "validation_log_loss": self.validation_loss(),
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
