"""What can be summed over a stamp without knowing what it shows: light, size and ellipticity about its middle."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WINDOWS_px = (1.5, 3.0, 6.0)
"""Standard deviations of the Gaussian windows in which light and its moments are summed."""
ROUND = 1e-6
"""Keeps the gradient of an ellipticity finite where there is none."""


class Windows(nn.Module):
    """Light, size and ellipticity in Gaussian windows about the middle of a stamp: numbers that convolutions of its
    stretched pixels are slow to learn.

    Parameters
    ----------
    noise : Tensor, (bands,)
        Typical noise of a pixel, nJy.
    size_px : int
        Side of the stamps.
    """

    noise: Tensor
    kernels: Tensor

    def __init__(self, noise: Tensor, size_px: int) -> None:
        super().__init__()
        place = torch.arange(size_px) - (size_px - 1) / 2
        y, x = (axis.flatten() for axis in torch.meshgrid(place, place, indexing="ij"))
        windows = [torch.exp(-(x**2 + y**2) / (2 * sigma**2)) for sigma in WINDOWS_px]
        moments = torch.stack([torch.ones_like(x), x, y, x**2, y**2, x * y])  # (6, k k)
        self.register_buffer("noise", noise.clone())
        self.register_buffer("kernels", torch.stack([moments * each for each in windows]), persistent=False)

    @property
    def length(self) -> int:
        """How many numbers these are."""
        return len(WINDOWS_px) * (len(self.noise) + 2)

    def forward(self, flux: Tensor, mean: Tensor) -> Tensor:
        """Give the stretched light of each band, and size and ellipticity of the mean of the bands, (n, length).

        Parameters
        ----------
        flux : Tensor, (n, bands, k, k)
            nJy.
        mean : Tensor, (n, 1, k, k)
            In units of the light of the middle (`profile`).
        """
        inside = self.kernels[:, 0]  # (w, k k)
        light = torch.asinh(flux.flatten(2) @ inside.T / (self.noise[:, None] * inside.norm(dim=1)))  # (n, bands, w)
        total, x, y, xx, yy, xy = torch.einsum("np,wmp->mnw", mean.flatten(1), self.kernels)
        total = total.clamp_min(1.0)  # there is less light than of one pixel of the middle
        x, y, xx, yy, xy = (moment / total for moment in (x, y, xx, yy, xy))
        xx, yy, xy = xx - x * x, yy - y * y, xy - x * y
        elongation = ((xx - yy) ** 2 + 4 * xy**2 + ROUND).sqrt()
        return torch.cat([light.flatten(1), torch.asinh(xx + yy), torch.asinh(elongation)], dim=1)


def profile(flux: Tensor, inverse_variance: Tensor) -> tuple[Tensor, Tensor]:
    """Give the mean of the bands in units of the source's own light, and where it is known, (n, 1, k, k) both.

    The mean goes by weights; the light is that of the middle four by four pixels, at least the noise of one. Sizes and
    shapes do not depend on brightness, and a network need not learn that from stamps of all brightnesses.
    """
    least = torch.finfo(flux.dtype).tiny
    weight = inverse_variance.sum(dim=1, keepdim=True)
    mean = (flux * inverse_variance).sum(dim=1, keepdim=True) / weight.clamp_min(least)
    first = (flux.shape[-1] - 4) // 2
    middle, around = (each[:, :, first : first + 4, first : first + 4].mean((2, 3), True) for each in (mean, weight))
    light = torch.maximum(middle, around.clamp_min(least).rsqrt())
    return mean / light, (weight > 0).to(flux.dtype)
