"""A kind of your own: a perceptron with one hidden layer, to be changed as you like.

What a kind has to offer: `kind` and `Settings`; `fit`, `predict_probabilities`, `save`, `load` and `history`; and
`to_onnx`, whose graph must give what `predict_probabilities` gives. Import torch inside functions: this file is read
each time the workflow is planned. Calibration, metrics, the parity gate and the catalogue come by themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from skymill.config.base import Settings
from skymill.models import Examples, Place
from skymill.models.cleaning import Scaler

if TYPE_CHECKING:
    import onnx

FILE = "weights.npz"


class SkeletonSettings(Settings):
    """Hyperparameters; an unknown one in the model's file is an error."""

    width: int = Field(32, ge=1)
    """Neurons of the hidden layer."""
    epochs: int = Field(20, ge=1)
    """The learning rate rises over the first tenth, then falls to nothing along a cosine."""
    batch_size: int = Field(128, ge=1)
    """Rows of one training step."""
    learning_rate: float = Field(0.01, gt=0)
    """The highest."""


class Skeleton:
    """A fitted perceptron: ``softmax(second @ relu(first @ scaled + bias) + bias)``."""

    kind = "skeleton"
    Settings = SkeletonSettings

    def __init__(self, scaler: Scaler, layers: dict[str, NDArray[np.float32]], epochs: list[dict[str, float]]) -> None:
        self.scaler = scaler
        self.layers = layers
        self._epochs = epochs

    @classmethod
    def fit(cls, train: Examples, validation: Examples, settings: Any, *, seed: int, place: Place) -> Self:
        """Learn from `train`; `validation` may only choose when to stop. After a kill it goes on."""
        import torch
        from lightning.pytorch import LightningModule
        from torch import nn
        from torch.utils.data import DataLoader

        from skymill.models.torch_place import one_cycle
        from skymill.models.torch_place import train as run_training

        scaler = Scaler.measure(train.features, clip_quantile=0.001)
        rows, held_out = (torch.from_numpy(scaler.scaled(each.features)).float() for each in (train, validation))
        labels, held_out_labels, weights = map(torch.from_numpy, (train.labels, validation.labels, train.weights))
        n_batches = -(-len(rows) // settings.batch_size)

        class Training(LightningModule):
            """One fit; each epoch draws from its own seed, so that a killed fit goes on to the same bits."""

            def __init__(self) -> None:
                super().__init__()
                self.first = nn.Linear(rows.shape[1], settings.width)
                self.second = nn.Linear(settings.width, train.n_classes)
                self.epochs: list[dict[str, float]] = []

            def forward(self, scaled: torch.Tensor) -> torch.Tensor:
                """Give logits (n, classes) of standardised features (n, f)."""
                logits: torch.Tensor = self.second(torch.relu(self.first(scaled)))
                return logits

            def train_dataloader(self) -> DataLoader[int]:
                return DataLoader(range(n_batches), batch_size=None)  # type: ignore[arg-type]

            def val_dataloader(self) -> DataLoader[int]:
                return DataLoader(range(1), batch_size=None)  # type: ignore[arg-type]

            def on_train_epoch_start(self) -> None:
                generator = torch.Generator().manual_seed((seed << 31) + self.current_epoch)
                self.batches = torch.randperm(len(rows), generator=generator).tensor_split(n_batches)
                self.losses: list[float] = []

            def training_step(self, batch: torch.Tensor, step: int) -> torch.Tensor:
                some = self.batches[step]
                logits = self(rows[some].to(self.device))
                losses = nn.functional.cross_entropy(logits, labels[some].to(self.device), reduction="none")
                loss = (losses * weights[some].to(self.device)).mean()
                self.losses.append(float(loss.detach()))
                return loss

            def validation_step(self, batch: torch.Tensor, step: int) -> None:
                logits = self(held_out.to(self.device))
                loss = float(nn.functional.cross_entropy(logits, held_out_labels.to(self.device)))
                mean = float(np.mean(self.losses))
                self.epochs.append({"epoch": self.current_epoch, "train_loss": mean, "validation_log_loss": loss})

            def configure_optimizers(self) -> Any:
                steps = settings.epochs * n_batches
                return one_cycle(
                    self.parameters(), learning_rate=settings.learning_rate, weight_decay=0.01, steps=steps
                )

            def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
                checkpoint["progress"] = self.epochs

            def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
                self.epochs = checkpoint["progress"]

        batch = f"batch_size {settings.batch_size}; set a lower one"
        module = run_training(Training, place, seed=seed, epochs=settings.epochs, precision="32", batch=batch)
        layers = {name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()}
        return cls(scaler, layers, module.epochs)

    def predict_probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give probabilities (n, classes), not calibrated, of features (n, f); NaN and infinite: not measured."""
        scaled, layers = self.scaler.scaled(features).astype(np.float32), self.layers
        hidden = np.maximum(scaled @ layers["first.weight"].T + layers["first.bias"], 0)
        logits = hidden @ layers["second.weight"].T + layers["second.bias"]
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))

    def save(self, folder: Path) -> list[str]:
        """Write plain arrays, the same bytes for the same model."""
        arrays = {**self.scaler._asdict(), **self.layers}
        arrays["epochs"] = np.array([list(row.values()) for row in self._epochs])
        np.savez(folder / FILE, **arrays)
        return [FILE]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(folder / FILE) as stored:
            scaler = Scaler(*(stored[name] for name in Scaler._fields))
            layers = {name: stored[name] for name in stored.files if "." in name}
            columns = ("train_loss", "validation_log_loss")
            epochs = [{"epoch": int(row[0]), **dict(zip(columns, row[1:].tolist()))} for row in stored["epochs"]]
        return cls(scaler, layers, epochs)

    def history(self) -> list[dict[str, float]]:
        """Per epoch: number, training loss, log-loss on validation."""
        return self._epochs

    def to_onnx(self) -> onnx.ModelProto:
        """Give the graph ``features`` (n, f) -> ``probabilities`` (n, classes), the scaler within."""
        from skymill.export.graph import constant, new_model, node, scaling_nodes
        from skymill.export.metadata import OUTPUT

        nodes, constants = scaling_nodes(self.scaler, output="scaled")
        nodes += [
            node("Gemm", ["scaled", "first.weight", "first.bias"], "sums", transB=1),
            node("Relu", ["sums"], "hidden"),
            node("Gemm", ["hidden", "second.weight", "second.bias"], "logits", transB=1),
            node("Softmax", ["logits"], OUTPUT, axis=1),
        ]
        constants += [constant(name, values) for name, values in self.layers.items()]
        n_classes, n_features = len(self.layers["second.bias"]), self.layers["first.weight"].shape[1]
        return new_model(nodes, constants, n_features=n_features, n_classes=n_classes)
