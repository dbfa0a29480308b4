"""A denoising autoencoder (Vincent et al. 2008, ICML, p. 1096): the stamp again, from a vector made of a worse one.

Input: flux and inverse variance, (n, bands, k, k). Output: a vector of length 1, `vector` numbers, and class
probabilities by a linear probe of it. 10 MFLOP a stamp of 6 x 32 x 32 with the settings as they come, as `cnn`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from skymill.config import base
from skymill.models.embedder import Embedder, EmbedderSettings
from skymill.models.registry import register

if TYPE_CHECKING:
    from skymill.models.embedder_training import EmbedderTraining


@register("autoencoder")
class Autoencoder(Embedder):
    """A fitted network and its probe."""

    kind: ClassVar[str]
    Settings: ClassVar[type[base.Settings]] = EmbedderSettings
    LOSSES = ("train_loss", "validation_loss")

    @classmethod
    def training(cls) -> type[EmbedderTraining]:
        """Give the course of a fit."""
        from skymill.models.embedder_training import AutoencoderTraining

        return AutoencoderTraining
