"""Stamps changed in ways that do not change what their sources are: turned, moved, blurred, dimmed, noisier."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from skymill.models.stamp_settings import StampNetworkSettings


def augmented(
    flux: Tensor, weight: Tensor, settings: StampNetworkSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Change flux and inverse variance, (n, bands, k, k), as the settings say; at random, each stamp in its own way.

    What a shift moves out on one side comes in on the other.
    """
    if settings.turn:
        which = torch.randint(8, (len(flux),), generator=generator, device=flux.device)
        flux, weight = turned(flux, which), turned(weight, which)
    if settings.shift_px:
        most = settings.shift_px
        shifts = torch.randint(-most, most + 1, (2,), generator=generator, device=flux.device).tolist()
        flux, weight = (torch.roll(values, shifts, dims=(-2, -1)) for values in (flux, weight))
    if settings.subpixel or settings.blur_px:
        offset = torch.rand((2, len(flux)), generator=generator, device=flux.device) - 0.5
        width = settings.blur_px * torch.rand(len(flux), generator=generator, device=flux.device)
        flux, weight = resampled(flux, weight, offset if settings.subpixel else torch.zeros_like(offset), width)
    if settings.extinction_mag:
        share = torch.rand((len(flux), 1), generator=generator, device=flux.device)
        dimmed = torch.pow(10.0, -0.4 * share * torch.tensor(settings.extinction_mag, device=flux.device))
        flux = flux * dimmed[:, :, None, None]
    if settings.noise:
        flux, weight = noisier(flux, weight, settings.noise, generator)
    if settings.band_dropout:
        kept = torch.rand(flux.shape[:2], generator=generator, device=flux.device) >= settings.band_dropout
        weight = weight * kept[:, :, None, None]
    return flux * (weight > 0), weight


def turned(images: Tensor, which: Tensor) -> Tensor:
    """Turn images (n, bands, k, k) by `which` (n,) quarters, and mirror those of 4 and more."""
    found = images.clone()
    for number in range(1, 8):
        some = which == number
        quarter = torch.rot90(images[some], number % 4, dims=(-2, -1))
        found[some] = quarter.flip(-1) if number >= 4 else quarter
    return found


def resampled(flux: Tensor, weight: Tensor, offset: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    """Move stamps by parts of a pixel and blur them.

    Along each axis with the kernel of three pixels that has sum 1, mean `offset` and variance `width` squared; without
    a width that is quadratic interpolation. A pixel has a weight where all that it is made of have one.

    Parameters
    ----------
    flux, weight : Tensor, (n, bands, k, k)
    offset : Tensor, (2, n)
        Along y and x, -0.5 to 0.5 px.
    width : Tensor, (n,)
        In px.
    """
    variance = 1 / weight  # infinite without a weight
    for axis, shift in ((-2, offset[0]), (-1, offset[1])):
        second = shift**2 + width**2
        kernel = [part.view(-1, 1, 1, 1) for part in ((second - shift) / 2, 1 - second, (second + shift) / 2)]
        flux, variance = along(axis, flux, kernel), along(axis, variance, [part**2 for part in kernel])
    seen = torch.isfinite(variance)
    return flux * seen, torch.where(seen, 1 / variance, 0.0)


def along(axis: int, values: Tensor, kernel: Sequence[Tensor]) -> Tensor:
    """Convolve with a kernel of three pixels, its first for the next pixel along an axis, its last for the one before.

    In place: as a sum of copies it takes four times as long, more than a small network's pass over the stamps.
    """
    found = kernel[1] * values
    found.addcmul_(kernel[0], torch.roll(values, -1, axis))
    return found.addcmul_(kernel[2], torch.roll(values, 1, axis))


def noisier(flux: Tensor, weight: Tensor, most: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Add noise of up to `most` times a pixel's own, and lower its weight to match."""
    more = most * torch.rand((len(flux), 1, 1, 1), generator=generator, device=flux.device)
    sigma = torch.where(weight > 0, weight, torch.inf).rsqrt()
    drawn = torch.randn(flux.shape, generator=generator, device=flux.device)
    return flux + more * sigma * drawn, weight / (1 + more**2)
