"""Training of the perceptrons with Lightning: exact resume, early stop, the best epoch kept."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from skymill.models.mlp_network import Preprocessing, StackedNetwork
from skymill.models.registry import Examples, Place

if TYPE_CHECKING:
    from skymill.models.mlp import MlpSettings

LAST = "last.ckpt"
WARM_UP = 0.1
"""Share of the steps in which the learning rate rises."""
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
    accelerator = _accelerator(place.device, settings.precision)
    preprocessing = Preprocessing.measure(train.features, clip_quantile=settings.clip_quantile)
    with _reproducible(seed):
        module = Training(train, validation, settings, preprocessing, seed)
        trainer = Trainer(
            accelerator=accelerator,
            devices=1,
            max_epochs=settings.epochs,
            precision="32-true" if settings.precision == "32" else settings.precision,
            callbacks=[
                ModelCheckpoint(place.workdir, "last", save_on_train_epoch_end=True, enable_version_counter=False)
            ],
            default_root_dir=place.workdir,
            deterministic=True,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        last = place.workdir / LAST
        try:
            trainer.fit(module, ckpt_path=last if last.exists() else None, weights_only=True)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
            raise MemoryError(
                f"out of memory on {accelerator} with batch_size {settings.batch_size} and {settings.members} members "
                f"of width {settings.width}; set settings.batch_size to {max(1, settings.batch_size // 2)} or lower"
            ) from error
    if trainer.interrupted:
        raise KeyboardInterrupt
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
        optimiser = torch.optim.AdamW(
            self.network.parameters(), self.settings.learning_rate, weight_decay=self.settings.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, self.settings.learning_rate, total_steps=self.settings.epochs * self.n_batches, pct_start=WARM_UP
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["progress"] = {"best": self.best, "best_epoch": self.best_epoch, "epochs": self.epochs}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name, value in checkpoint["progress"].items():
            setattr(self, name, value)


def _accelerator(device: str, precision: str) -> str:
    gpu = torch.cuda.is_available()
    if device == "cuda" and not gpu:
        raise ValueError(
            "device 'cuda': torch sees no GPU here; use device 'cpu' or 'auto', or install a CUDA build of torch"
        )
    accelerator = "gpu" if gpu and device != "cpu" else "cpu"
    if accelerator == "cpu" and precision == "16-mixed":
        raise ValueError("settings.precision '16-mixed' needs a GPU; use 'bf16-mixed' or '32' on the CPU")
    return accelerator


def _out_of_memory(error: BaseException) -> bool:
    """On the CPU torch raises a plain RuntimeError, known by its text alone."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """One thread, seeded, deterministic kernels; the process is left as it was found."""
    threads = torch.get_num_threads()
    loud = {name: logging.getLogger(name).level for name in ("lightning.pytorch", "lightning.fabric")}
    state = torch.get_rng_state()
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    for name in loud:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)
        torch.set_rng_state(state)
        for name, level in loud.items():
            logging.getLogger(name).setLevel(level)
