"""Sizes and shapes of galaxies: a network on stamps and the PSFs of their bands that gives a mixture as posterior.

A mixture density network (Bishop 1994, Aston University NCRG/94/004): the encoder of `cnn` and a linear map of the
PSFs make a vector, and of that a mixture of Gaussians with full covariances over all quantities that the training set
has targets of, on the scales of `models.quantities`. It is learned by the log-density of the true values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from skymill.config import base
from skymill.models.registry import Place, register
from skymill.models.stamp_network import BLOCK_STAMPS, EncoderAndHead
from skymill.models.stamp_settings import StampNetworkSettings

if TYPE_CHECKING:
    from torch import nn


class StructureSettings(StampNetworkSettings):
    """Hyperparameters of the network."""

    components: int = Field(4, ge=1, le=20)
    """Gaussians of a posterior."""
    galaxies: str = "GALAXY"
    """Class of the labels whose rows teach and judge it."""
    shift_px: int = Field(0, ge=0, le=8)
    """As of `cnn`; stamps are centred to half a pixel, and sums about the middle go by that."""
    noise: float = Field(0.0, ge=0, le=5)
    """As of `cnn`; a posterior learned from noisier stamps is too wide for the survey's own."""
    band_dropout: float = Field(0.01, ge=0, lt=1)
    """As of `cnn`; one learned from fewer bands is too wide as well."""
    batch_size: int = Field(32, ge=2)
    """Stamps of one training step."""
    epochs: int = Field(40, ge=1)
    """The learning rate rises over the first tenth, then falls to nothing along a cosine."""
    learning_rate: float = Field(2e-3, gt=0)
    """The highest."""

    @model_validator(mode="after")
    def _truth_stays(self) -> Self:
        for name in ("extinction_mag", "blur_px"):
            if getattr(self, name):
                raise ValueError(
                    f"{name}: a stamp that is dimmed or blurred has not the structure of its row; leave it out"
                )
        return self


@dataclass(frozen=True)
class Galaxies:
    """Rows of known structure."""

    stamps: NDArray[np.float32]
    """(n, 2, bands, k, k): flux (nJy) and inverse variance."""
    psf: NDArray[np.float32]
    """(n, bands, p, p): images of the PSFs, of sum 1; 0 where a band's is not known."""
    targets: NDArray[np.float32]
    """(n, q): the quantities on their scales (`models.quantities`), all finite."""

    def __len__(self) -> int:
        return len(self.targets)


@register("structure")
class Structure(EncoderAndHead):
    """A fitted network."""

    kind: ClassVar[str]
    task: ClassVar[str] = "structure"
    Settings: ClassVar[type[base.Settings]] = StructureSettings
    LOSSES = ("train_loss", "validation_log_loss")

    @classmethod
    def fit(
        cls, train: Galaxies, validation: Galaxies, settings: StructureSettings, *, seed: int, place: Place
    ) -> Self:
        """Train, keeping the epoch with the highest log-density on validation; goes on from the last after a kill."""
        from skymill.models.stamp_training import train_best
        from skymill.models.structure_training import Training

        best = train_best(Training, (train, validation), settings, seed, place)
        return cls(best.network["encoder"], best.network["head"], best.shape, best.epochs)

    def encode(self, stamps: NDArray[np.float32], psf: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the vectors, float32 (n, vector), of stamps (n, 2, bands, k, k) and PSFs (n, bands, p, p)."""
        import torch

        found = np.empty((len(stamps), self.shape["vector"]), np.float32)
        with torch.inference_mode():
            for start in range(0, len(stamps), BLOCK_STAMPS):
                rows = slice(start, start + BLOCK_STAMPS)
                some, blur = (torch.from_numpy(np.array(each[rows], dtype=np.float32)) for each in (stamps, psf))
                found[rows] = self.encoder(some[:, 0], some[:, 1], blur).numpy()
        return found

    def posteriors(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give packed mixtures (`models.mixture`), float32 (n, p), of vectors (n, vector); not calibrated."""
        import torch

        with torch.inference_mode():
            return self.head(torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32))).numpy()

    @classmethod
    def unloaded(cls, content: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
        """Give encoder and head of what `save` wrote, but not their tensors."""
        from skymill.models.structure_network import MixtureHead, PsfEncoder

        shape, last = content["shape"], content["head"]
        sizes = {name: shape[name] for name in ("size_px", "psf_px", "width", "stages", "depth", "vector")}
        encoder = PsfEncoder(content["encoder"]["windows.noise"], **sizes)
        return encoder, MixtureHead(shape["vector"], shape["components"], last["centre"], last["spread"])
