"""A convolutional network on stamps of the survey's images: a stem of patches and wide dense 3 x 3 convolutions.

The shape follows what CPUs run fastest (patches as in Dosovitskiy et al. 2021, arXiv:2010.11929; dense blocks as in
Simonyan & Zisserman 2015, arXiv:1409.1556; batch norm, Ioffe & Szegedy 2015, arXiv:1502.03167, is folded away by ONNX
Runtime). Input: flux and inverse variance, (n, bands, k, k). Output: a vector of `vector` numbers and, of it, class
probabilities. 10 MFLOP a stamp of 6 x 32 x 32 with the settings as they come.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from skymill.config import base
from skymill.models.registry import Examples, Place, register

if TYPE_CHECKING:
    from skymill.models.cnn_network import Encoder, Head

FILE = "checkpoint.pt"
BLOCK_STAMPS = 256
LOSSES = ("train_loss", "validation_log_loss")


class NetworkSettings(base.Settings):
    """Hyperparameters of a network on stamps."""

    width: int = Field(24, ge=4, le=1024)
    """Channels of the first stage; each further one has 1.5 times those of the one before."""
    stages: int = Field(3, ge=1, le=6)
    """Stages, each at half the resolution of the one before; the first at half that of the stamp."""
    depth: int = Field(2, ge=1, le=10)
    """Convolutions of each stage."""
    vector: int = Field(32, ge=2, le=1024)
    """Numbers that the network makes of a stamp; class probabilities are made of them."""
    turn: bool = True
    """Stamps are turned by quarters and mirrored at random, anew each time one is seen: the sky has no up."""
    shift_px: int = Field(1, ge=0, le=8)
    """The stamps of a step are moved by up to so many pixels along each axis."""
    noise: float = Field(0.3, ge=0, le=5)
    """Up to so much noise is added, in units of a pixel's own, and its weight is lowered to match: shallower images."""
    band_dropout: float = Field(0.05, ge=0, lt=1)
    """How often each band of a stamp is taken away, as on a tile that lacks it."""
    batch_size: int = Field(64, ge=2)
    """Stamps of one training step; the first thing to lower when memory runs out."""
    epochs: int = Field(30, ge=1)
    """The learning rate rises over the first tenth, then falls to nothing along a cosine."""
    learning_rate: float = Field(3e-3, gt=0)
    """The highest."""
    weight_decay: float = Field(1e-2, ge=0)
    """Of AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101)."""
    clip_gradient: float = Field(1.0, gt=0)
    """Largest norm of a step's gradient."""
    averaging: float = Field(0.98, ge=0, lt=1)
    """Of the weights over steps (an exponential moving average, which is what is kept); 0 keeps the last ones."""
    precision: Literal["32", "bf16-mixed", "16-mixed"] = "32"
    """Arithmetic while training; `16-mixed` needs a GPU. The model itself is float32."""


class CnnSettings(NetworkSettings):
    """Hyperparameters of the network."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each label spread over all classes."""


@register("cnn")
class Cnn:
    """A fitted network. Its `features` are the vectors that `encode` makes of stamps."""

    kind: ClassVar[str]
    Settings: ClassVar[type[base.Settings]] = CnnSettings

    def __init__(self, encoder: Encoder, head: Head, shape: dict[str, int], epochs: list[dict[str, float]]) -> None:
        self.encoder = encoder.eval()
        self.head = head.eval()
        self.shape = shape
        self._epochs = epochs

    @classmethod
    def fit(cls, train: Examples, validation: Examples, settings: CnnSettings, *, seed: int, place: Place) -> Self:
        """Train, keeping the epoch with the lowest log-loss on validation; goes on from the last epoch after a kill.

        The features of both are stamps, float32 (n, 2, bands, k, k): flux (nJy) and inverse variance.
        """
        from skymill.models.cnn_training import train_network

        return cls(*train_network(train, validation, settings, seed=seed, place=place))

    def encode(self, stamps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the vectors, float32 (n, vector), of stamps (n, 2, bands, k, k)."""
        import torch

        found = np.empty((len(stamps), self.shape["vector"]), np.float32)
        with torch.inference_mode():
            for start in range(0, len(stamps), BLOCK_STAMPS):
                some = torch.from_numpy(np.array(stamps[start : start + BLOCK_STAMPS], dtype=np.float32))
                found[start : start + BLOCK_STAMPS] = self.encoder(some[:, 0], some[:, 1]).numpy()
        return found

    def predict_probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give probabilities, float32 (n, classes), of vectors (n, vector)."""
        import torch

        with torch.inference_mode():
            vectors = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))
            return torch.softmax(self.head(vectors), dim=1).numpy()

    def save(self, folder: Path) -> list[str]:
        """Write tensors and shape, readable by `torch.load(weights_only=True)`."""
        import torch

        content: dict[str, Any] = {
            "encoder": {name: tensor.contiguous() for name, tensor in self.encoder.state_dict().items()},
            "head": {name: tensor.contiguous() for name, tensor in self.head.state_dict().items()},
            "shape": self.shape,
            "epochs": torch.tensor([list(row.values()) for row in self._epochs], dtype=torch.float64),
        }
        torch.save(content, folder / FILE)
        return [FILE]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        from skymill.models.cnn_network import Encoder, Head
        from skymill.models.torch_file import load_tensors

        content = load_tensors(folder / FILE)
        shape, state = content["shape"], content["encoder"]
        sizes = {name: shape[name] for name in ("width", "stages", "depth", "vector")}
        encoder, head = Encoder(state["stretch.noise"].flatten(), **sizes), Head(shape["vector"], shape["classes"])
        encoder.load_state_dict(state)
        head.load_state_dict(content["head"])
        epochs = [{"epoch": int(row[0]), **dict(zip(LOSSES, row[1:]))} for row in content["epochs"].tolist()]
        return cls(encoder, head, shape, epochs)

    def history(self) -> list[dict[str, float]]:
        """Per epoch: number, training loss, log-loss on validation."""
        return self._epochs
