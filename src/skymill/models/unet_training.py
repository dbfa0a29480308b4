"""Training of the U-Net with Lightning: exact resume, the best epoch kept."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from skymill.models.registry import Place
from skymill.models.torch_place import one_cycle
from skymill.models.torch_place import train as run_training
from skymill.models.unet import Scenes
from skymill.models.unet_network import CHANNELS, UNet

if TYPE_CHECKING:
    from skymill.models.unet import UnetSettings

CENTRE, OFFSET, COMPANION = 10.0, 0.1, 0.1
"""Weights of the losses beside that of the classes: few pixels are centres, and offsets are counted in pixels."""
logger = logging.getLogger(__name__)


def train_network(
    train: Scenes, validation: Scenes, settings: UnetSettings, *, seed: int, place: Place
) -> tuple[UNet, dict[str, int], list[dict[str, float]]]:
    """Train to the end, from `place.workdir`'s last epoch where there is one.

    Raises
    ------
    ValueError
        If the device is not possible here.
    MemoryError
        If a batch does not fit; the message says what to set.
    """
    module = run_training(
        lambda: Training(train, validation, settings, seed),
        place,
        seed=seed,
        epochs=settings.epochs,
        precision="32",
        batch=f"batch_size {settings.batch_size} and crop_px {settings.crop_px}; set settings.batch_size to "
        f"{max(1, settings.batch_size // 2)} or lower",
        gradient_clip_val=settings.clip_gradient,
    )
    module.network.load_state_dict(module.best)
    return module.network.cpu().eval(), module.shape, module.epochs


class Training(LightningModule):
    """One fit. All state beyond the weights goes through the checkpoint, and every epoch draws from its own seed, so
    that a killed fit goes on to the same bits."""

    def __init__(self, train: Scenes, validation: Scenes, settings: UnetSettings, seed: int) -> None:
        super().__init__()
        self.settings, self.seed = settings, seed
        self.scenes, self.validation = train, validation
        self.shape = {"width": settings.width, "levels": settings.levels, "depth": settings.depth}
        self.network = UNet(torch.from_numpy(typical_noise(train.inverse_variance)), **self.shape)
        self.best: dict[str, Tensor] = {}
        self.epochs: list[dict[str, float]] = []

    @property
    def n_batches(self) -> int:
        """Steps of an epoch, in which as many pixels are seen as there are."""
        parts = len(self.scenes) * (self.settings.scene_px / self.settings.crop_px) ** 2
        return max(1, round(parts / self.settings.batch_size))

    def train_dataloader(self) -> DataLoader[int]:
        """A step needs only its number."""
        return DataLoader(range(self.n_batches), batch_size=None)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[int]:
        return DataLoader(range(len(self.validation)), batch_size=None)  # type: ignore[arg-type]

    def on_train_epoch_start(self) -> None:
        self.random = np.random.default_rng([self.seed, self.current_epoch])
        self.loss_sum = torch.zeros((), device=self.device)

    def training_step(self, batch: Tensor, step: int) -> Tensor:
        loss = self._loss(random_parts(self.scenes, self.settings, self.random))
        self.loss_sum += loss.detach()
        return loss

    def on_validation_epoch_start(self) -> None:
        self.validation_sum = 0.0

    def validation_step(self, batch: Tensor, step: int) -> None:
        scene = slice(step, step + 1)
        self.validation_sum += float(self._loss(part(self.validation, scene)))

    def on_validation_epoch_end(self) -> None:
        epoch = {
            "epoch": self.current_epoch,
            "train_loss": float(self.loss_sum) / self.n_batches,
            "validation_loss": self.validation_sum / len(self.validation),
        }
        self.epochs.append(epoch)
        logger.info("epoch %d: train loss %.4f, validation loss %.4f", *epoch.values())
        if epoch["validation_loss"] <= min(row["validation_loss"] for row in self.epochs):
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()}

    def _loss(self, scenes: Scenes) -> Tensor:
        """Cross-entropy of classes, centres and companions, and the distance by which offsets are wrong."""
        there = {name: torch.from_numpy(values).to(self.device) for name, values in vars(scenes).items()}
        scores, _ = self.network(there["flux"], there["inverse_variance"])
        classes, centre, offset, companion = scores.split([*CHANNELS.values()], dim=1)
        on_source = torch.isfinite(there["offset"]).all(dim=1)
        wrong = offset.movedim(1, -1)[on_source] - there["offset"].movedim(1, -1)[on_source]  # (pixels, 2)
        paired = functional.binary_cross_entropy_with_logits(companion[:, 0][on_source], there["companion"][on_source])
        return (
            functional.cross_entropy(classes, there["classes"].long())
            + CENTRE * functional.binary_cross_entropy_with_logits(centre[:, 0], there["centre"])
            + OFFSET * wrong.abs().mean()
            + COMPANION * paired
        )

    def configure_optimizers(self) -> Any:
        return one_cycle(
            self.network.parameters(),
            learning_rate=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            steps=self.settings.epochs * self.n_batches,
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["progress"] = {"best": self.best, "epochs": self.epochs}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name, value in checkpoint["progress"].items():
            setattr(self, name, value)


def typical_noise(inverse_variance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the median noise of a pixel in each band, (bands,), nJy, of (n, bands, h, w); 1 where none has a weight."""
    by_band = np.moveaxis(inverse_variance, 1, 0).reshape(inverse_variance.shape[1], -1)
    noise = [np.median(band[band > 0]) ** -0.5 if (band > 0).any() else 1.0 for band in by_band]
    return np.array(noise, np.float32)


def part(scenes: Scenes, which: Any, rows: slice = slice(None), columns: slice = slice(None)) -> Scenes:
    """Give some of the scenes, or a part of them."""
    return Scenes(**{name: values[which][..., rows, columns] for name, values in vars(scenes).items()})


def random_parts(scenes: Scenes, settings: UnetSettings, random: np.random.Generator) -> Scenes:
    """Cut parts out of scenes, turned and mirrored at random, with bands taken away."""
    side = settings.crop_px
    parts = []
    for scene in random.integers(len(scenes), size=settings.batch_size):
        row, column = random.integers(settings.scene_px - side + 1, size=2)
        cut = part(scenes, slice(scene, scene + 1), slice(row, row + side), slice(column, column + side))
        kept = random.random(len(settings.bands)) >= settings.band_dropout
        parts.append(without_bands(turned(cut, *(random.random(3) < 0.5)), kept))
    return Scenes(**{name: np.concatenate([vars(each)[name] for each in parts]) for name in vars(scenes)})


def turned(scenes: Scenes, upside_down: bool, mirrored: bool, transposed: bool) -> Scenes:
    """Mirror scenes along rows, along columns and along the diagonal; offsets turn with them."""
    values = dict(vars(scenes))
    for axis, wanted in enumerate((upside_down, mirrored)):
        if wanted:
            values = {name: np.flip(each, axis - 2) for name, each in values.items()}
            sign = np.where(np.arange(2) == axis, -1, 1).astype(np.float32)
            values["offset"] = values["offset"] * sign[:, None, None]
    if transposed:
        values = {name: np.swapaxes(each, -1, -2) for name, each in values.items()}
        values["offset"] = values["offset"][:, ::-1]
    return Scenes(**values)


def without_bands(scenes: Scenes, kept: NDArray[np.bool_]) -> Scenes:
    """Take the weights and the light of some bands away."""
    bands = kept[:, None, None]
    return replace(scenes, flux=scenes.flux * bands, inverse_variance=scenes.inverse_variance * bands)
