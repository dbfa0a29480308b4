"""Pictures of pixels: three bands as red, green and blue, masked pixels coloured, and whose pixel is whose."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from skymill.report.images.sample import hashed
from skymill.survey.images.tile import TilePixels

Rgb = NDArray[np.uint8]
SPECTRUM = "ugrizy"
SHOWN_AS = ("i", "r", "g")
"""Bands that are shown as red, green and blue where there are all three."""
STRETCH, SOFTENING = 12.0, 8.0
"""Of the picture: brightness (in units of a pixel's noise) of what is linear, and how soon it becomes logarithmic."""
BLACK = -1.0
"""What is black, in units of the noise: the sky's noise stays visible."""
MASKED: dict[str, tuple[int, int, int]] = {
    "interpolated": (86, 180, 233),
    "cosmic_ray": (204, 121, 167),
    "bad": (213, 94, 0),
    "saturated": (240, 228, 66),
    "no_data": (90, 90, 100),
}
"""Colour of masked pixels by what the mask means; the last that applies is shown."""
SKY, ARTEFACT_GREY = 18, 110
BRIGHT, FEWEST_BRIGHT = 5.0, 30
"""Signal over noise of pixels from which colours are balanced, and how many there must be."""
SAMPLED = 4
"""Every so many rows and columns are looked at to find a band's noise."""


@dataclass(frozen=True)
class Look:
    """How the pixels of a tile become colours.

    Attributes
    ----------
    bands : tuple of str
        Shown as red, green and blue.
    rows : tuple of int
        Their places among the tile's bands.
    unit : tuple of float
        nJy of each that are one unit of brightness: the noise of the middle band, and in the others what makes the
        tile's sources as bright in the median.
    """

    bands: tuple[str, str, str]
    rows: tuple[int, int, int]
    unit: tuple[float, float, float]

    @classmethod
    def of(cls, tile: TilePixels) -> Look:
        """Choose it for a tile."""
        bands = shown_bands(tile.bands)
        rows = (tile.bands.index(bands[0]), tile.bands.index(bands[1]), tile.bands.index(bands[2]))
        red, green, blue = (tile.pixels[row, ::SAMPLED, ::SAMPLED] for row in rows)
        noise = noise_of(green)
        return cls(bands, rows, (noise * _ratio(red, green), noise, noise * _ratio(blue, green)))

    def draw(self, pixels: NDArray[np.float32]) -> Rgb:
        """Draw pixels (bands, ny, nx) in nJy, after Lupton et al. 2004, PASP 116, 133; no value is black."""
        from astropy.visualization import make_lupton_rgb

        planes = [np.nan_to_num(pixels[row] / unit, nan=BLACK) for row, unit in zip(self.rows, self.unit, strict=True)]
        with np.errstate(invalid="ignore"):  # a pixel that is black in all bands
            drawn: Rgb = make_lupton_rgb(*planes, minimum=BLACK, stretch=STRETCH, Q=SOFTENING)
        return drawn


def _ratio(pixels: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Give how bright sources are in a band relative to another; where there are none, the ratio of the noises."""
    least, least_other = BRIGHT * noise_of(pixels), BRIGHT * noise_of(other)
    bright = (pixels > least) & (other > least_other)
    if np.count_nonzero(bright) < FEWEST_BRIGHT:
        return least / least_other
    return float(np.median(pixels[bright] / other[bright]))


def shown_bands(bands: Sequence[str]) -> tuple[str, str, str]:
    """Choose the bands shown as red, green and blue: those nearest to i, r and g.

    Bands of other names are spread from first to last; of fewer than three some are shown twice.
    """
    if not set(bands) <= set(SPECTRUM):
        return bands[-1], bands[len(bands) // 2], bands[0]
    wanted = [SPECTRUM.index(band) for band in reversed(SHOWN_AS)]

    def unlike(way: Sequence[str]) -> tuple[int, int]:
        away = sum(abs(SPECTRUM.index(band) - place) for band, place in zip(way, wanted, strict=True))
        return -len(set(way)), away

    blue, green, red = min(combinations_with_replacement(sorted(bands, key=SPECTRUM.index), 3), key=unlike)
    return red, green, blue


def noise_of(pixels: NDArray[np.float32]) -> float:
    """Give the noise of pixels that are mostly sky: 1.4826 times the median deviation; 1 where there is none."""
    known = pixels[np.isfinite(pixels)]
    spread = 1.4826 * float(np.median(np.abs(known - np.median(known)))) if known.size else 0.0
    return spread if spread > 0 else 1.0


def reduced(pixels: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Average blocks of pixels (bands, ny, nx), leaving out those without a value; what is over at the ends is cut."""
    bands, ny, nx = pixels.shape
    ny, nx = ny // factor, nx // factor
    blocks = pixels[:, : ny * factor, : nx * factor].reshape(bands, ny, factor, nx, factor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # blocks without any value
        return np.nanmean(blocks, axis=(2, 4), dtype=np.float32)


def factor_for(shape: tuple[int, int], most_px: int) -> int:
    """Give the block size that brings an image to at most so many pixels a side."""
    return max(1, -(-max(shape) // most_px))


def with_masks(picture: Rgb, tile: TilePixels, rows: Sequence[int], factor: int) -> tuple[Rgb, list[str]]:
    """Colour masked pixels of the bands shown; a block is coloured where any of its pixels is masked.

    Returns
    -------
    picture : ndarray of uint8, (ny, nx, 3)
    roles : list of str
        That were found, in the order of `MASKED`.
    """
    found, painted = [], picture.copy()
    ny, nx = picture.shape[:2]
    for role, colour in MASKED.items():
        marked = np.any(tile.having(role)[list(rows)], axis=0)
        blocks = marked[: ny * factor, : nx * factor].reshape(ny, factor, nx, factor).any(axis=(1, 3))
        if blocks.any():
            painted[blocks] = colour
            found.append(role)
    return painted, found


def instances(labels: NDArray[np.int32], classes: NDArray[np.uint8], artefact: int) -> Rgb:
    """Draw a label map: each source in a colour of its own, the sky dark, artefacts grey."""
    colours = (
        64 + hashed(labels.astype(np.int64))[..., None] // np.array([1, 1 << 16, 1 << 32], np.uint64) % 192
    ).astype(np.uint8)
    colours[classes == artefact] = ARTEFACT_GREY
    colours[(labels == 0) & (classes != artefact)] = SKY
    return colours


def outlined(picture: Rgb, labels: NDArray[np.int32], colours: NDArray[np.uint8], scale: int) -> Rgb:
    """Enlarge a picture and draw the borders between sources, in the `colours`, (n + 1, 3), of label 0 (sky) to n."""
    large = picture.repeat(scale, axis=0).repeat(scale, axis=1)
    owner = labels.repeat(scale, axis=0).repeat(scale, axis=1)
    border = np.zeros(owner.shape, bool)
    border[:, 1:] |= owner[:, 1:] != owner[:, :-1]
    border[1:] |= owner[1:] != owner[:-1]
    border[:, :-1] |= (owner[:, 1:] != owner[:, :-1]) & (owner[:, :-1] > 0)
    border[:-1] |= (owner[1:] != owner[:-1]) & (owner[:-1] > 0)
    border &= owner > 0
    large[border] = colours[owner[border]]
    return large


def crosshair(stamp: Rgb, row: int, column: int) -> Rgb:
    """Mark a place of a stamp by two ticks, left of it and below."""
    marked, gap, length = stamp.copy(), 4, 5
    marked[row, max(column - gap - length, 0) : max(column - gap, 0)] = 255
    marked[max(row - gap - length, 0) : max(row - gap, 0), column] = 255
    return marked


def png_uri(picture: Rgb) -> str:
    """Give a picture as PNG in a data URI, its first row at the bottom."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, picture[::-1], format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
