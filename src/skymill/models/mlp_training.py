"""Training of the perceptrons with Lightning: exact resume, early stop, the best epoch kept."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader

from skymill.models.mlp_network import Preprocessing, StackedNetwork
from skymill.models.registry import Examples, Place
from skymill.models.torch_place import one_cycle
from skymill.models.torch_place import train as run_training

if TYPE_CHECKING:
    from skymill.models.mlp import MlpSettings

SMALLEST_PROBABILITY = 1e-12
EVALUATION_ROWS = 16_384
FIRST_STEP_SEED = 1 << 30
"""Seeds of steps begin beyond those of epochs."""
logger = logging.getLogger(__name__)


def train_network(
    train: Examples, validation: Examples, settings: MlpSettings, *, seed: int, place: Place
) -> tuple[StackedNetwork, Preprocessing, list[dict[str, float]]]:
    """Train to the end, from `place.workdir`'s last epoch where there is one.

    Raises
    ------
    ValueError
        If the precision or the device is not possible here.
    MemoryError
        If a batch does not fit; the message says what to set.
    """
    preprocessing = Preprocessing.measure(train.features, clip_quantile=settings.clip_quantile)
    module = run_training(
        lambda: Training(train, validation, settings, preprocessing, seed),
        place,
        seed=seed,
        epochs=settings.epochs,
        precision=settings.precision,
        batch=f"batch_size {settings.batch_size} and {settings.members} members of width {settings.width}; set "
        f"settings.batch_size to {max(1, settings.batch_size // 2)} or lower",
    )
    module.network.load_state_dict(module.best)
    return module.network.cpu().eval(), preprocessing, module.epochs


class Training(LightningModule):
    """One fit. All state beyond the weights goes through the checkpoint, and every epoch and step draws
    from its own seed, so that a killed fit goes on to the same bits."""

    features: Tensor
    labels: Tensor
    weights: Tensor
    validation_features: Tensor
    validation_labels: Tensor
    class_weights: Tensor

    def __init__(
        self, train: Examples, validation: Examples, settings: MlpSettings, preprocessing: Preprocessing, seed: int
    ) -> None:
        super().__init__()
        self.settings = settings
        self.seed = seed
        sizes = [train.features.shape[1], *[settings.width] * settings.depth, train.n_classes]
        self.network = StackedNetwork(
            sizes, members=settings.members, activation=settings.activation, dropout=settings.dropout
        )
        self.loss = nn.CrossEntropyLoss(reduction="none", label_smoothing=settings.label_smoothing)
        data = {
            "features": preprocessing.scaled(torch.from_numpy(train.features)),
            "labels": torch.from_numpy(train.labels),
            "weights": torch.from_numpy(train.weights),
            "validation_features": preprocessing.scaled(torch.from_numpy(validation.features)),
            "validation_labels": torch.from_numpy(validation.labels),
            "class_weights": torch.from_numpy(train.class_weights),
        }
        for name, tensor in data.items():
            self.register_buffer(name, tensor, persistent=False)
        self.best: dict[str, Tensor] = {}
        self.best_epoch = 0
        self.epochs: list[dict[str, float]] = []

    @property
    def n_batches(self) -> int:
        return -(-len(self.labels) // self.settings.batch_size)

    def train_dataloader(self) -> DataLoader[int]:
        """The rows are already on the device; a step needs only its number."""
        return DataLoader(range(self.n_batches), batch_size=None)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[int]:
        return DataLoader(range(1), batch_size=None)  # type: ignore[arg-type]

    def on_train_epoch_start(self) -> None:
        generator = torch.Generator().manual_seed((self.seed << 31) + self.current_epoch)
        keys = torch.rand(self.settings.members, len(self.labels), generator=generator)
        self.batches = torch.argsort(keys, dim=1).to(self.device).tensor_split(self.n_batches, dim=1)
        self.loss_sum = torch.zeros((), device=self.device)

    def training_step(self, batch: Tensor, step: int) -> Tensor:
        torch.manual_seed((self.seed << 31) + FIRST_STEP_SEED + self.global_step)  # of dropout and noise
        rows = self.batches[step]  # (members, b)
        features = self.features[rows]  # (members, b, f)
        if self.settings.input_noise:
            features = features + self.settings.input_noise * torch.randn_like(features)
        logits = self.network(features)
        losses = self.loss(logits.flatten(0, 1), self.labels[rows].flatten()) * self.weights[rows].flatten()
        self.loss_sum += losses.detach().float().mean()
        return losses.mean() * self.settings.members  # each member sees the gradient it would see alone

    def validation_step(self, batch: Tensor, step: int) -> None:
        """Log-loss at the classes' own frequencies: what the weights of fitting did to them is taken out."""
        total = torch.zeros((), device=self.device, dtype=torch.float64)
        for features, labels in zip(
            self.validation_features.split(EVALUATION_ROWS), self.validation_labels.split(EVALUATION_ROWS)
        ):
            logits = self.network(features.expand(self.settings.members, -1, -1))
            probabilities = logits.double().softmax(-1).mean(0) / self.class_weights
            probabilities /= probabilities.sum(-1, keepdim=True)
            total -= probabilities.gather(1, labels[:, None]).clamp_min(SMALLEST_PROBABILITY).log().sum()
        log_loss = float(total) / len(self.validation_labels)
        epoch = {
            "epoch": self.current_epoch,
            "train_loss": float(self.loss_sum) / self.n_batches,
            "validation_log_loss": log_loss,
        }
        self.epochs.append(epoch)
        logger.info("epoch %d: train loss %.4f, validation log-loss %.4f", *epoch.values())
        if log_loss <= min(row["validation_log_loss"] for row in self.epochs):
            self.best_epoch = self.current_epoch
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()}
        self._stop_when_done()

    def on_train_start(self) -> None:
        self._stop_when_done()

    def _stop_when_done(self) -> None:
        if self.epochs and self.epochs[-1]["epoch"] - self.best_epoch >= self.settings.patience:
            self.trainer.should_stop = True

    def configure_optimizers(self) -> Any:
        return one_cycle(
            self.network.parameters(),
            learning_rate=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            steps=self.settings.epochs * self.n_batches,
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["progress"] = {"best": self.best, "best_epoch": self.best_epoch, "epochs": self.epochs}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name, value in checkpoint["progress"].items():
            setattr(self, name, value)
