"""A convolutional network on stamps of the survey's images: a stem of patches and wide dense 3 x 3 convolutions.

The shape follows what CPUs run fastest (patches as in Dosovitskiy et al. 2021, arXiv:2010.11929; dense blocks as in
Simonyan & Zisserman 2015, arXiv:1409.1556; batch norm, Ioffe & Szegedy 2015, arXiv:1502.03167, is folded away by ONNX
Runtime). Input: flux and inverse variance, (n, bands, k, k). Output: a vector of `vector` numbers and, of it, class
probabilities. 10 MFLOP a stamp of 6 x 32 x 32 with the settings as they come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field

from skymill.config import base
from skymill.models.registry import Examples, Place, register
from skymill.models.stamp_network import StampNetwork
from skymill.models.stamp_settings import StampNetworkSettings

if TYPE_CHECKING:
    from torch import Tensor, nn


class CnnSettings(StampNetworkSettings):
    """Hyperparameters of the network."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each label spread over all classes."""


@register("cnn")
class Cnn(StampNetwork):
    """A fitted network."""

    kind: ClassVar[str]
    Settings: ClassVar[type[base.Settings]] = CnnSettings
    LOSSES = ("train_loss", "validation_log_loss")

    @classmethod
    def fit(cls, train: Examples, validation: Examples, settings: CnnSettings, *, seed: int, place: Place) -> Self:
        """Train, keeping the epoch with the lowest log-loss on validation; goes on from the last epoch after a kill.

        The features of both are stamps, float32 (n, 2, bands, k, k): flux (nJy) and inverse variance.
        """
        from skymill.models.cnn_training import Training
        from skymill.models.stamp_training import train_best

        best = train_best(Training, (train, validation), settings, seed, place)
        return cls(best.network["encoder"], best.network["head"], best.shape, best.epochs)

    @classmethod
    def networks(cls, noise: Tensor, shape: dict[str, int]) -> tuple[nn.Module, nn.Module]:
        """Give encoder and head."""
        from skymill.models.cnn_network import Encoder, Head

        sizes = {name: shape[name] for name in ("width", "stages", "depth", "vector")}
        return Encoder(noise, **sizes), Head(shape["vector"], shape["classes"])
