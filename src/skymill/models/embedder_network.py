"""The tensors of networks that learn without labels: vectors of length 1, and what is only there while they learn."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from skymill.models.cnn_network import Encoder, block
from skymill.models.windows import Windows, profile

LEAST = 1e-5
"""Share of the variance of photometry from which on a component of it is asked for."""


class UnitEncoder(Encoder):
    """Stamps to vectors of length 1."""

    def raw(self, flux: Tensor, inverse_variance: Tensor) -> Tensor:
        """Give vectors (n, vector) of any length."""
        return super().forward(flux, inverse_variance)

    def forward(self, flux: Tensor, inverse_variance: Tensor) -> Tensor:
        """Give vectors (n, vector) of length 1 of flux (nJy) and inverse variance, (n, bands, k, k)."""
        return functional.normalize(self.raw(flux, inverse_variance), dim=1)


def projection(vector: int) -> nn.Sequential:
    """Give what contrastive learning compares vectors through (Chen et al. 2020, section 4.2)."""
    return nn.Sequential(
        nn.Linear(vector, vector, bias=False), nn.BatchNorm1d(vector), nn.ReLU(), nn.Linear(vector, vector)
    )


class Photometry(nn.Module):
    """Photometry of stamps that a vector has to tell, in numbers of equal weight.

    Light, size and ellipticity in windows about the middle, each in its standard deviations, then turned to their
    principal components over the training stamps, each of variance 1: colours and concentrations, which differ little
    between sources, count as much as brightness. Components of less than `LEAST` of the variance are noise, and left
    out.

    Parameters
    ----------
    noise : Tensor, (bands,)
        Typical noise of a pixel, nJy.
    flux, inverse_variance : Tensor, (n, bands, k, k)
        Of training stamps.
    vector : int
        Length of the vectors.
    """

    centre: Tensor
    turn: Tensor

    def __init__(self, noise: Tensor, flux: Tensor, inverse_variance: Tensor, vector: int) -> None:
        super().__init__()
        self.windows = Windows(noise, flux.shape[-1])
        sums = self.windows(flux, profile(flux, inverse_variance)[0])
        spread = sums.std(dim=0).clamp_min(torch.finfo(sums.dtype).eps)
        _, length, axes = torch.linalg.svd((sums - sums.mean(dim=0)) / spread, full_matrices=False)
        variance = length**2 / len(sums)
        kept = variance >= LEAST * variance.sum()
        self.register_buffer("centre", sums.mean(dim=0))
        self.register_buffer("turn", (axes[kept] / variance[kept, None].sqrt() / spread).T)
        self.told = nn.Linear(vector, int(kept.sum()))

    def measured(self, flux: Tensor, inverse_variance: Tensor) -> Tensor:
        """Give the numbers (n, m) of stamps (n, bands, k, k)."""
        return (self.windows(flux, profile(flux, inverse_variance)[0]) - self.centre) @ self.turn

    def forward(self, vectors: Tensor) -> Tensor:
        """Give what vectors (n, vector) say of them, (n, m)."""
        found: Tensor = self.told(vectors)
        return found


class Decoder(nn.Module):
    """Vectors to stretched stamps.

    Parameters
    ----------
    vector, bands, size : int
        Length of a vector; bands and side of a stamp.
    width : int
        Channels.
    """

    def __init__(self, *, vector: int, bands: int, size: int, width: int) -> None:
        super().__init__()
        self.size, self.coarse = size, -(-size // 4)
        self.spread = nn.Linear(vector, 2 * width * self.coarse**2)
        self.first, self.second = block(2 * width, width), block(width, width)
        self.last = nn.Conv2d(width, bands, 3, padding=1)

    def forward(self, vectors: Tensor) -> Tensor:
        """Give asinh(flux / noise), (n, bands, size, size), of vectors (n, vector)."""
        values = torch.relu(self.spread(vectors)).view(len(vectors), -1, self.coarse, self.coarse)
        values = self.first(functional.interpolate(values, scale_factor=2))
        found: Tensor = self.last(self.second(functional.interpolate(values, size=(self.size, self.size))))
        return found
