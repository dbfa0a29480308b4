"""A small ensemble of multilayer perceptrons (Lakshminarayanan et al. 2017, arXiv:1612.01474), trained side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from skymill.config import base
from skymill.models.registry import Examples, Place, register

if TYPE_CHECKING:
    from skymill.models.mlp_network import FoldedNetwork, Preprocessing, StackedNetwork

FILE = "checkpoint.pt"
BLOCK_ROWS = 16_384
LOSSES = ("train_loss", "validation_log_loss")


class MlpSettings(base.Settings):
    """Hyperparameters of the perceptrons."""

    members: int = Field(5, ge=1, le=50)
    """Networks whose probabilities are averaged; they differ by first weights and by the order of rows."""
    width: int = Field(64, ge=1, le=4096)
    """Neurons of each hidden layer."""
    depth: int = Field(3, ge=1, le=10)
    """Hidden layers."""
    activation: Literal["relu", "silu", "gelu"] = "silu"
    """What each hidden neuron does to its sum."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of hidden neurons silenced at each training step."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each label spread over all classes."""
    input_noise: float = Field(0.0, ge=0)
    """Gaussian noise added to the features while training, in units of each feature's scatter."""
    clip_quantile: float = Field(0.001, ge=0, lt=0.5)
    """Features are clipped to this quantile of the training rows and to its mirror, so that extremes do no harm."""
    batch_size: int = Field(256, ge=1)
    """Rows of one training step; the first thing to lower when memory runs out."""
    epochs: int = Field(40, ge=1)
    """At most; the learning rate falls to nothing over them (one cycle)."""
    patience: int = Field(10, ge=1)
    """Epochs without a lower log-loss on validation before training stops; the best epoch is kept."""
    learning_rate: float = Field(2e-2, gt=0)
    """The highest of the cycle."""
    weight_decay: float = Field(1e-2, ge=0)
    """Of AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101)."""
    precision: Literal["32", "bf16-mixed", "16-mixed"] = "32"
    """Arithmetic while training; `16-mixed` needs a GPU. The model itself is float32."""


@register("mlp")
class Mlp:
    """Fitted perceptrons. Export reads `folded()`."""

    kind: ClassVar[str]
    Settings: ClassVar[type[base.Settings]] = MlpSettings

    def __init__(self, network: StackedNetwork, preprocessing: Preprocessing, epochs: list[dict[str, float]]) -> None:
        self.network = network
        self.preprocessing = preprocessing
        self._epochs = epochs
        self._folded: FoldedNetwork | None = None

    @classmethod
    def fit(cls, train: Examples, validation: Examples, settings: MlpSettings, *, seed: int, place: Place) -> Self:
        """Train, keeping the epoch with the lowest log-loss on validation; goes on from the last epoch after a kill."""
        from skymill.models.mlp_training import train_network

        return cls(*train_network(train, validation, settings, seed=seed, place=place))

    def folded(self) -> FoldedNetwork:
        """Give the network from raw features (n, f) to probabilities (n, classes), the scaler folded in."""
        from skymill.models.mlp_network import FoldedNetwork

        if self._folded is None:
            self._folded = FoldedNetwork(self.network, self.preprocessing).eval()
        return self._folded

    def predict_probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the mean of the members' probabilities, float32 (n, classes), by the folded network."""
        import torch

        rows = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))
        with torch.inference_mode():
            return torch.cat([self.folded()(block) for block in rows.split(BLOCK_ROWS)]).numpy()

    def save(self, folder: Path) -> list[str]:
        """Write tensors and shape, readable by `torch.load(weights_only=True)`."""
        import torch

        state = {name: tensor.contiguous() for name, tensor in self.network.state_dict().items()}
        content = {
            "network": state,
            "preprocessing": self.preprocessing._asdict(),
            "activation": self.network.activation,
            "epochs": torch.tensor([list(row.values()) for row in self._epochs], dtype=torch.float64),
        }
        torch.save(content, folder / FILE)
        return [FILE]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        from skymill.models.mlp_network import Preprocessing, StackedNetwork
        from skymill.models.torch_file import load_tensors

        content = load_tensors(folder / FILE)
        weights = [tensor for name, tensor in content["network"].items() if name.startswith("weights.")]
        sizes = [weights[0].shape[1], *(weight.shape[2] for weight in weights)]
        network = StackedNetwork(sizes, members=weights[0].shape[0], activation=content["activation"], dropout=0.0)
        network.load_state_dict(content["network"])
        epochs = [{"epoch": int(row[0]), **dict(zip(LOSSES, row[1:]))} for row in content["epochs"].tolist()]
        return cls(network.eval(), Preprocessing(**content["preprocessing"]), epochs)

    def history(self) -> list[dict[str, float]]:
        """Per epoch: number, training loss, log-loss on validation."""
        return self._epochs
