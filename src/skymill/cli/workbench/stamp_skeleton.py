"""A kind of your own that looks at stamps: a small convolutional network, to be changed as you like.

What it has to offer: `kind`, `Settings`, and `network`, an encoder (stamps to vectors) and a head (vectors to class
scores). Training with augmentation and exact resume, ensembles, ONNX, calibration, metrics, the parity gate and the
catalogue come from `Cnn`. Import torch inside functions: this file is read each time the workflow is planned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from skymill.models import Cnn
from skymill.models.cnn import CnnSettings

if TYPE_CHECKING:
    import onnx
    from torch import Tensor, nn


class SkeletonSettings(CnnSettings):
    """Hyperparameters; all of `cnn` (docs/models.md) are known, an unknown one in the model's file is an error."""

    side: int = Field(5, ge=1)
    """Of the first convolution, pixels; odd."""

    @property
    def sizes(self) -> dict[str, int]:
        """What `network` is made by, whole numbers; `vector` must be among them."""
        return {"width": self.width, "vector": self.vector, "side": self.side}


class Skeleton(Cnn):
    """A fitted network."""

    kind = "skeleton"
    looks = True
    Settings = SkeletonSettings

    @classmethod
    def network(cls, noise: Tensor, shape: dict[str, int]) -> tuple[nn.Module, nn.Module]:
        """Give encoder and head.

        Parameters
        ----------
        noise : Tensor, (bands,)
            Typical noise of a pixel of the training stamps, nJy; for `Stretch`, which the encoder keeps as `stretch`.
        shape : dict of str to int
            The settings' `sizes`, and `classes`.
        """
        from torch import nn

        from skymill.models.cnn_network import Head, Stretch

        class Encoder(nn.Module):
            """Stamps to vectors."""

            def __init__(self) -> None:
                super().__init__()
                self.stretch = Stretch(noise)
                self.layers = nn.Sequential(
                    nn.Conv2d(2 * len(noise), shape["width"], shape["side"], padding=shape["side"] // 2),
                    nn.ReLU(),
                    nn.MaxPool2d(2),
                    nn.Conv2d(shape["width"], 2 * shape["width"], 3, padding=1),
                    nn.ReLU(),
                    nn.AdaptiveAvgPool2d(1),
                    nn.Flatten(),
                    nn.Linear(2 * shape["width"], shape["vector"]),
                )

            def forward(self, flux: Tensor, inverse_variance: Tensor) -> Tensor:
                """Give vectors (n, vector) of flux (nJy) and inverse variance, (n, bands, k, k)."""
                vectors: Tensor = self.layers(self.stretch(flux, inverse_variance))
                return vectors

        return Encoder(), Head(shape["vector"], shape["classes"])

    def to_onnx(self) -> onnx.ModelProto:
        """Give the graph of the head; the encoder is put before it where the model is exported."""
        from skymill.export.stamp_network import convert

        return convert(self)
