"""What all networks on stamps have in common once they are fitted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor, nn

FILE = "checkpoint.pt"
BLOCK_STAMPS = 256


class EncoderAndHead:
    """A fitted network in two parts.

    Parameters
    ----------
    encoder : nn.Module
        Stamps to vectors (n, vector).
    head : nn.Module
        Vectors to what the network tells.
    shape : dict
        What the sizes of both follow from.
    epochs : list of dict
        Of each epoch its number and its losses.
    """

    LOSSES: ClassVar[tuple[str, ...]]
    """Names of the losses of an epoch."""

    def __init__(self, encoder: nn.Module, head: nn.Module, shape: dict[str, Any], epochs: list[dict[str, float]]):
        self.encoder = encoder.eval()
        self.head = head.eval()
        self.shape = shape
        self._epochs = epochs

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
        from skymill.models.torch_file import load_tensors

        content = load_tensors(folder / FILE)
        encoder, head = cls.unloaded(content)
        encoder.load_state_dict(content["encoder"])
        head.load_state_dict(content["head"])
        epochs = [{"epoch": int(row[0]), **dict(zip(cls.LOSSES, row[1:]))} for row in content["epochs"].tolist()]
        return cls(encoder, head, content["shape"], epochs)

    @classmethod
    def unloaded(cls, content: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
        """Give encoder and head of what `save` wrote, but not their tensors."""
        raise NotImplementedError

    def history(self) -> list[dict[str, float]]:
        """Per epoch: number and losses."""
        return self._epochs


class StampNetwork(EncoderAndHead):
    """A fitted network that tells classes. Its `features` are the vectors that `encode` makes of stamps."""

    @classmethod
    def networks(cls, noise: Tensor, shape: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
        """Give encoder and head of a shape, not trained; `noise` as `cnn_network.Stretch` has it."""
        raise NotImplementedError

    @property
    def questions(self) -> list[int]:
        """Answers of each question whose votes it tells; empty where it tells none."""
        return list(self.shape.get("questions", ()))

    @property
    def length(self) -> int:
        """Numbers of a vector."""
        return self.shape["vector"] * n_networks(self.shape)

    def encode(self, stamps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the vectors, float32 (n, vector), of stamps (n, 2, bands, k, k)."""
        import torch

        found = np.empty((len(stamps), self.length), np.float32)
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

    def concentrations(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give concentrations, float32 (n, answers), not calibrated, of vectors (n, vector)."""
        import torch

        from skymill.models.votes_network import Concentrations

        told = Concentrations(self.head, torch.ones(len(self.questions))).eval()
        with torch.inference_mode():
            return told(torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))).numpy()

    @classmethod
    def unloaded(cls, content: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
        """Give encoder and head of what `save` wrote, but not their tensors."""
        noise = next(value for name, value in content["encoder"].items() if name.endswith("stretch.noise"))
        return cls.networks(noise.flatten(), content["shape"])


def n_networks(shape: Mapping[str, Any]) -> int:
    """Give the number of networks that are joined in one of a shape."""
    return int(shape.get("members", 1))
