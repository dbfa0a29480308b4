"""Sky: the background of each band, and what each pixel weighs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.features.measuring.measured import MeasureError
from skymill.survey.images.tile import TilePixels

CLIPPED_RMS = 0.98485
"""What clipping at 3 sigma until nothing changes, as sep does, leaves of a normal distribution's sigma: the solution of
s^2 = 1 - 2c phi(c) / (2 Phi(c) - 1) with c = 3s."""
MAD_TO_SIGMA = 1.4826
HALF_HIDDEN, MOST_HIDDEN = 0.4, 0.9
"""Share of a mesh's pixels that may be masked as they are, and with those left standing for the others."""
SAMPLE = 100_000
"""Pixels of which medians are taken."""
LEAST_SCATTER = 1e-3
"""Of the sky, in units of the noise that the survey tells: less is no sky, or a variance in another unit."""
FEWEST_BLOCKS, BLOCKS = 100, 50_000
"""Blocks of sky of which it can be said how much they scatter, and how many are looked at."""


@dataclass(frozen=True)
class Sky:
    """A tile's pixels above the background, with their weights.

    Attributes
    ----------
    pixels : ndarray of float32, (bands, ny, nx)
        nJy; 0 where a pixel is not used.
    weight : ndarray of float32, (bands, ny, nx)
        Inverse variance, 1 / nJy^2, of pixels as parts of a sum over a point source; 0 where a pixel is not used.
    present : ndarray of bool, (bands,)
        Bands with any weight at all.
    background, noise, correlation : mapping of str to float
        By band, NaN where it is missing: medians of the background that was subtracted and of a pixel's noise (nJy),
        and by how much sums over a point source scatter more than the pixels' own noise says.
    """

    pixels: NDArray[np.float32]
    weight: NDArray[np.float32]
    present: NDArray[np.bool_]
    background: Mapping[str, float]
    noise: Mapping[str, float]
    correlation: Mapping[str, float]


def subtract_background(
    tile: TilePixels, mesh_px: int, fwhm_px: float, sources: NDArray[np.bool_] | None = None
) -> Sky:
    """Subtract each band's background, estimated in meshes of the pixels that are used (SExtractor's method, by sep).

    Where the noise of the survey is not known, the weights it gives are scaled by the noise of the background, which is
    estimated in the same meshes. Noise that is correlated, as that of resampled images is, adds up to more than its
    variances do: the weights are lowered by what blocks of the size of a point source show (`correlated_noise`).

    Parameters
    ----------
    tile : TilePixels
    mesh_px : int
        Size of a mesh.
    fwhm_px : float
        Width of the point-spread function.
    sources : ndarray of bool, (ny, nx), optional
        Pixels to leave out of the estimates.

    A band whose pixels are all alike shows no sky, and counts as missing.

    Raises
    ------
    MeasureError
        If no band has pixels with a value and a weight that are not all alike, or the noise that the survey tells is
        beyond all that its pixels show.
    """
    pixels, weight = np.zeros(tile.pixels.shape, np.float32), np.zeros(tile.pixels.shape, np.float32)
    summary = {name: dict.fromkeys(tile.bands, np.nan) for name in ("background", "noise", "correlation")}
    for index, band in enumerate(tile.bands):
        used = np.isfinite(tile.pixels[index]) & (tile.inverse_variance[index] > 0)
        if not used.any() or np.ptp(tile.pixels[index][used]) == 0:
            continue
        masked = _left_out(used, sources)
        level = _subtract(tile, index, used, masked, mesh_px, pixels[index], weight[index])
        if weight[index].any():
            _check_noise(tile.name, band, pixels[index], weight[index])
            excess = correlated_noise(pixels[index], weight[index], masked, max(2, round(fwhm_px)))
            noise = float(1.0 / np.sqrt(_median(weight[index], positive=True)))
            weight[index] /= np.float32(excess**2)
            summary["background"][band], summary["noise"][band], summary["correlation"][band] = level, noise, excess
    present = ~np.isnan(list(summary["noise"].values()))
    if not present.any():
        raise MeasureError(
            f"{tile.name}: nothing can be measured: {_why(tile)} ({', '.join(tile.bands)}); fetch its files again, or "
            "leave the tile out"
        )
    return Sky(pixels, weight, present, **summary)


def binned(tile: TilePixels) -> TilePixels:
    """Give a tile of half the resolution, for a first look: means of 2 x 2 pixels, if all four can be used.

    Masks are left away, and odd edges.
    """
    rows, columns = tile.shape[0] // 2 * 2, tile.shape[1] // 2 * 2
    pixels, weight = tile.pixels[:, :rows, :columns], tile.inverse_variance[:, :rows, :columns]
    pairs, least = pixels[:, ::2] + pixels[:, 1::2], np.minimum(weight[:, ::2], weight[:, 1::2])
    mean = ((pairs[:, :, ::2] + pairs[:, :, 1::2]) / 4).astype(np.float32, copy=False)
    least = np.float32(4) * np.minimum(least[:, :, ::2], least[:, :, 1::2])
    return replace(tile, pixels=mean, inverse_variance=least, mask=np.zeros(mean.shape, dtype=np.uint32))


def _left_out(used: NDArray[np.bool_], sources: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Give the pixels that do not count for the background: those of sources do where there is nothing else."""
    unused = ~used
    masked = unused if sources is None else sources | unused
    return unused if masked.all() else masked


def _subtract(
    tile: TilePixels,
    index: int,
    used: NDArray[np.bool_],
    masked: NDArray[np.bool_],
    mesh_px: int,
    pixels: NDArray[np.float32],
    weight: NDArray[np.float32],
) -> float:
    """Fill in one band's pixels and weights; give the median of the background."""
    values = np.where(used, tile.pixels[index], np.float32(0))
    meshes = _meshes(values, masked, mesh_px)
    level = meshes.back(dtype=np.float32) if meshes is not None else np.median(values[~masked])
    np.subtract(values, level, out=pixels, where=used)
    np.multiply(tile.inverse_variance[index], used, out=weight, where=used)
    if not tile.noise_known:
        weight *= _noise_scale(pixels, weight, masked, mesh_px)
    if not weight.any():
        pixels[:] = 0
    return _median(np.asarray(level))


def _meshes(values: NDArray[np.float32], masked: NDArray[np.bool_], mesh_px: int) -> Any:
    """Give sep's estimate of the sky in meshes of pixels that are not masked; None where no mesh has enough of them.

    sep takes nothing from a mesh that is masked by half or more, as most are in a deep field. There the pixels that are
    left stand for the others too, as often as it takes.
    """
    import sep

    values, hidden, known = values.copy(), masked.copy(), False
    for top in range(0, values.shape[0], mesh_px):
        for left in range(0, values.shape[1], mesh_px):
            part = np.s_[top : top + mesh_px, left : left + mesh_px]
            lost = np.count_nonzero(hidden[part]) / hidden[part].size
            known = known or bool(lost <= MOST_HIDDEN)
            if HALF_HIDDEN < lost <= MOST_HIDDEN:
                values[part][hidden[part]] = np.resize(values[part][~hidden[part]], np.count_nonzero(hidden[part]))
                hidden[part] = False
    return sep.Background(values, mask=hidden, bw=mesh_px, bh=mesh_px) if known else None


def _median(values: NDArray[np.float32], *, positive: bool = False) -> float:
    """Give the median of a sample, evenly spaced, that is large enough for a summary; of positive values if asked."""
    sample = values.ravel()[:: max(1, values.size // SAMPLE)]
    if positive:
        sample = sample[sample > 0] if (sample > 0).any() else values[values > 0]
    return float(np.median(sample))


def _noise_scale(
    pixels: NDArray[np.float32], weight: NDArray[np.float32], masked: NDArray[np.bool_], mesh_px: int
) -> NDArray[np.float32]:
    """Give what relative weights are to be multiplied by to become inverse variances; 0 where there is no noise."""
    scaled = pixels * np.sqrt(weight)
    if np.ptp(scaled[~masked]) == 0:
        return np.zeros_like(pixels)
    meshes = _meshes(scaled, masked, mesh_px)
    if meshes is not None:
        return np.square(np.float32(CLIPPED_RMS) / meshes.rms(dtype=np.float32))
    sky = scaled[~masked]
    noise = MAD_TO_SIGMA * float(np.median(np.abs(sky - np.median(sky))))
    return np.full_like(pixels, 1.0 / noise**2 if noise > 0 else 0.0)


def correlated_noise(
    pixels: NDArray[np.float32], weight: NDArray[np.float32], masked: NDArray[np.bool_], block: int
) -> float:
    """Say by how much blocks of sky scatter more than the variances of their pixels add up to, 1 or more.

    The scatter is that of the lower half of the blocks, half of the distance from their median to the 2.3rd percentile
    (two sigma of a normal distribution): faint sources are in the upper half.

    Parameters
    ----------
    pixels, weight : ndarray of float32, (ny, nx)
    masked : ndarray of bool, (ny, nx)
        A block with such a pixel does not count.
    block : int
        Size of a block, px.
    """
    rows, columns = pixels.shape[0] // block, pixels.shape[1] // block
    step = max(1, rows * columns // BLOCKS)  # rows of blocks, evenly spaced, are enough

    def blocks(image: NDArray[Any]) -> NDArray[Any]:
        whole = image[: rows * block, : columns * block].reshape(rows, block, columns, block)
        return np.asarray(whole[::step].sum(axis=(1, 3), dtype=np.float64))

    free = blocks(masked) + blocks(weight == 0) == 0
    if np.count_nonzero(free) < FEWEST_BLOCKS:
        return 1.0
    with np.errstate(divide="ignore"):
        variance = blocks(1.0 / weight)[free]
    low, middle = np.percentile(blocks(pixels)[free] / np.sqrt(variance), [2.275, 50.0])
    return max(1.0, float(middle - low) / 2.0)


def _check_noise(name: str, band: str, pixels: NDArray[np.float32], weight: NDArray[np.float32]) -> None:
    """Refuse a variance in another unit than the pixels'. One that is too small is mended by `correlated_noise`."""
    step = max(1, pixels.size // SAMPLE)
    some, weights = pixels.ravel()[::step], weight.ravel()[::step]
    scatter = np.abs(some * np.sqrt(weights))[weights > 0]
    if scatter.any() and MAD_TO_SIGMA * np.median(scatter) < LEAST_SCATTER:
        raise MeasureError(
            f"{name}: expected the pixels of band '{band}' to scatter as their variance says, found "
            f"{MAD_TO_SIGMA * np.median(scatter):.2g} of it; give both in one unit (the variance in its square)"
        )


def _why(tile: TilePixels) -> str:
    """Say why there is no band to be measured."""
    if not np.isfinite(tile.pixels).any():
        return "no pixel has a value in any band"
    if not (np.isfinite(tile.pixels) & (tile.inverse_variance > 0)).any():
        return "no pixel that has a value has a weight (a positive, finite variance) in any band"
    return "all pixels of each band are alike"
