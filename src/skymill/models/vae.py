"""A variational autoencoder (Kingma & Welling 2014, arXiv:1312.6114; its beta as in Higgins et al. 2017, ICLR).

Input: flux and inverse variance, (n, bands, k, k). Output: the direction of the posterior's mean, a vector of length 1
and `vector` numbers, and class probabilities by a linear probe of it. 10 MFLOP a stamp of 6 x 32 x 32 with the settings
as they come, as `cnn`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from skymill.config import base
from skymill.models.embedder import Embedder, EmbedderSettings
from skymill.models.registry import register

if TYPE_CHECKING:
    from skymill.models.embedder_training import EmbedderTraining


class VaeSettings(EmbedderSettings):
    """Hyperparameters of the network."""

    beta: float = Field(0.1, ge=0)
    """Weight of the posterior's distance from the unit normal, beside the misfit of a stamp's mean pixel times the
    number of its pixels that were seen."""


@register("vae")
class Vae(Embedder):
    """A fitted network and its probe."""

    kind: ClassVar[str]
    Settings: ClassVar[type[base.Settings]] = VaeSettings
    LOSSES = ("train_loss", "validation_loss")

    @classmethod
    def training(cls) -> type[EmbedderTraining]:
        """Give the course of a fit."""
        from skymill.models.embedder_training import VaeTraining

        return VaeTraining
