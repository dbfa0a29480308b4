"""The tensors of a structure model: from stamps and PSFs to vectors, and from vectors to packed mixtures."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from skymill.models.cnn_network import Encoder
from skymill.models.mixture import packed_width
from skymill.models.windows import Windows, profile

PSF_VECTOR = 16
"""Numbers that are made of the PSFs."""
PSF_SCALE = 10.0
"""Brings the pixels of a PSF of sum 1 to numbers of order one."""
PROFILE_NOISE = 0.1
"""Where the stretch of the profile turns from linear to logarithmic."""
FARTHEST = 10.0
"""Means keep to so many standard deviations of the training rows, so that no stamp asks for more than float32 has."""
LOG_WIDEST = 5.0
"""Widths keep to e^5 of these standard deviations, and to e^-5 of them."""


class PsfEncoder(nn.Module):
    """Stamps and the PSFs of their bands to vectors: what is seen, what is summed and what blurred it, joined.

    Parameters
    ----------
    noise : Tensor, (bands,)
        As `cnn_network.Stretch` has it.
    size_px, psf_px : int
        Sides of the stamps and of the images of the PSFs.
    width, stages, depth, vector : int
        As of `cnn_network.Encoder`.
    """

    def __init__(
        self, noise: Tensor, *, size_px: int, psf_px: int, width: int, stages: int, depth: int, vector: int
    ) -> None:
        super().__init__()
        bands = torch.cat([noise, noise.new_full((1,), PROFILE_NOISE)])
        self.stamps = Encoder(bands, width=width, stages=stages, depth=depth, vector=vector)
        self.windows = Windows(noise, size_px)
        self.sums = nn.Sequential(nn.BatchNorm1d(self.windows.length), nn.Linear(self.windows.length, 2 * vector))
        self.psf = nn.Linear(len(noise) * psf_px**2, PSF_VECTOR)
        self.join = nn.Linear(3 * vector + PSF_VECTOR, vector)

    def forward(self, flux: Tensor, inverse_variance: Tensor, psf: Tensor) -> Tensor:
        """Give vectors (n, vector) of flux (nJy), inverse variance, (n, bands, k, k), and PSFs (n, bands, p, p)."""
        mean, weight = profile(flux, inverse_variance)
        seen = self.stamps(torch.cat([flux, mean], dim=1), torch.cat([inverse_variance, weight], dim=1))
        sums, blur = self.sums(self.windows(flux, mean)), self.psf(PSF_SCALE * psf.flatten(1))
        vectors: Tensor = self.join(torch.relu(torch.cat([seen, sums, blur], dim=1)))
        return vectors


class MixtureHead(nn.Module):
    """Vectors to packed mixtures (`models.mixture`) on the scales of the quantities.

    Parameters
    ----------
    vector, components : int
    centre, spread : Tensor, (q,)
        Mean and standard deviation of the quantities of the rows to learn from.
    """

    centre: Tensor
    spread: Tensor
    rows: Tensor
    diagonal: Tensor
    factors: Tensor
    powers: Tensor

    def __init__(self, vector: int, components: int, centre: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.components, self.quantities = components, len(centre)
        rows, columns = torch.tril_indices(len(centre), len(centre))
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Linear(vector, 2 * vector),
            nn.ReLU(),
            nn.Linear(2 * vector, packed_width(components, len(centre))),
        )
        self.register_buffer("centre", centre.clone())
        self.register_buffer("spread", spread.clone())
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("diagonal", rows == columns, persistent=False)
        self.is_calibrated = False

    def calibrate(self, factors: Tensor, powers: Tensor) -> None:
        """Change the widths from now on as `mixture.Widths` says, (q,) both."""
        self.register_buffer("factors", factors, persistent=False)
        self.register_buffer("powers", powers, persistent=False)
        self.is_calibrated = True

    def forward(self, features: Tensor) -> Tensor:
        """Give packed mixtures (n, `packed_width`) of vectors (n, vector)."""
        k, q = self.components, self.quantities
        weights, means, triangles = self.layers(features).split([k, k * q, k * len(self.diagonal)], dim=1)
        means = self.centre.repeat(k) + self.spread.repeat(k) * bounded(means, FARTHEST)
        widths = self.spread[self.rows].repeat(k)
        widest = torch.exp(bounded(triangles, LOG_WIDEST))
        triangles = widths * torch.where(self.diagonal.repeat(k), widest, bounded(triangles, FARTHEST))
        if self.is_calibrated:
            triangles = self._widened(triangles)
        return torch.cat([weights.softmax(dim=1), means, triangles], dim=1)

    def _widened(self, triangles: Tensor) -> Tensor:
        """Give triangles (n, k t) with the widths changed; a row of a triangle has the width of its quantity."""
        belongs = nn.functional.one_hot(self.rows, self.quantities).to(triangles.dtype)  # (t, q)
        each = triangles.reshape(-1, self.components, len(self.rows))
        variance = (each * each) @ belongs
        return (each * ((self.factors * variance ** (self.powers / 2)) @ belongs.T)).flatten(1)


def bounded(values: Tensor, limit: float) -> Tensor:
    """Give values that reach no further than a limit, and near 0 are what they were."""
    return limit * torch.tanh(values / limit)


def log_density(packed: Tensor, targets: Tensor, components: int) -> Tensor:
    """Give the logarithm of the density of packed mixtures at targets (n, q), (n,)."""
    k, q = components, targets.shape[1]
    weights, means, triangles = packed.split([k, k * q, k * (q * (q + 1) // 2)], dim=1)
    rows = triangles.reshape(len(packed), k, -1).split(list(range(1, q + 1)), dim=2)
    offset = targets[:, None] - means.reshape(len(packed), k, q)
    logs = weights.clamp_min(torch.finfo(weights.dtype).tiny).log()
    standard: list[Tensor] = []
    for number, row in enumerate(rows):  # solves L z = offset, row by row
        known = sum((row[..., j] * standard[j] for j in range(number)), torch.zeros_like(logs))
        standard.append((offset[..., number] - known) / row[..., number])
        logs = logs - 0.5 * (standard[number] ** 2 + math.log(2 * math.pi)) - row[..., number].log()
    return torch.logsumexp(logs, dim=1)
