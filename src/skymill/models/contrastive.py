"""SimCLR (Chen et al. 2020, arXiv:2002.05709): two pictures of the same stamp lie together, those of others apart.

Beside it the vector of either picture has to tell, by a linear map, the photometry of the stamp as it was: what can be
measured without a label (a pretext task, as those of Doersch & Zisserman 2017, arXiv:1708.07860, who join several).
Alone, SimCLR knows pictures again by their brightness and their neighbours.

Input: flux and inverse variance, (n, bands, k, k). Output: a vector of length 1, `vector` numbers, and class
probabilities by a linear probe of it. 10 MFLOP a stamp of 6 x 32 x 32 with the settings as they come, as `cnn`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from skymill.config import base
from skymill.models.embedder import Embedder, EmbedderSettings
from skymill.models.registry import register

if TYPE_CHECKING:
    from skymill.models.embedder_training import EmbedderTraining


class ContrastiveSettings(EmbedderSettings):
    """Hyperparameters of the network."""

    temperature: float = Field(0.2, gt=0)
    """Of the similarities: the lower, the more the nearest others count."""
    photometry: float = Field(30.0, ge=0)
    """Weight of the photometry beside the contrast; 0 leaves it out."""


@register("contrastive")
class Contrastive(Embedder):
    """A fitted network and its probe."""

    kind: ClassVar[str]
    Settings: ClassVar[type[base.Settings]] = ContrastiveSettings
    LOSSES = ("train_loss", "validation_loss")

    @classmethod
    def training(cls) -> type[EmbedderTraining]:
        """Give the course of a fit."""
        from skymill.models.embedder_training import ContrastiveTraining

        return ContrastiveTraining
