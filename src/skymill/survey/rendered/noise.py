"""White noise that every pixel of the mosaic has to itself, whatever tile it is seen in."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from skymill.config.images import RenderSettings
from skymill.survey.rendered.grid import Window

BLOCK_PX = 256
"""Random numbers come in squares of so many pixels, each with a stream of its own."""
NOISE = 55


def blocks(window: Window, margin: int = 0) -> Iterator[Window]:
    """Give the blocks that meet a window widened by `margin` pixels, row by row; none lies below or left of (0, 0)."""
    columns = range(max(window.x0 - margin, 0) // BLOCK_PX, (window.x0 + window.nx - 1 + margin) // BLOCK_PX + 1)
    rows = range(max(window.y0 - margin, 0) // BLOCK_PX, (window.y0 + window.ny - 1 + margin) // BLOCK_PX + 1)
    for row in rows:
        for column in columns:
            yield Window(column * BLOCK_PX, row * BLOCK_PX, BLOCK_PX, BLOCK_PX)


def stream(settings: RenderSettings, purpose: int, band: int, block: Window) -> np.random.Generator:
    """Give the random numbers of a block in a band."""
    return np.random.default_rng([settings.seed, purpose, band, block.y0 // BLOCK_PX, block.x0 // BLOCK_PX])


def unit_noise(settings: RenderSettings, window: Window, band: int) -> NDArray[np.float32]:
    """Give normal numbers of variance 1, (ny, nx); `band` is an index in ugrizy."""
    field = np.empty((window.ny, window.nx), dtype=np.float32)
    for block in blocks(window):
        there, here = window.common(block), block.common(window)
        if there and here:
            drawn = stream(settings, NOISE, band, block).standard_normal((BLOCK_PX, BLOCK_PX), dtype=np.float32)
            field[there] = drawn[here]
    return field
