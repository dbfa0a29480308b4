"""Charge that a full pixel cannot hold runs up and down its column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skymill.survey.rendered.grid import Array

if TYPE_CHECKING:
    from skymill.survey.rendered.optics import Optics

TRAIL_PX = 256
"""Longest trail beyond a stamp on either side; what would run farther is lost."""
COLUMN_LIGHT = 0.375
"""Light that falls on the column through a star's middle, times the scale radius in pixels, over two: a Moffat profile
of beta = 3 integrated along y gives 3 / (4 scale), and half runs either way."""


def trail_px(optical: Optics, flux: Array) -> NDArray[np.int64]:
    """Give the rows that trails need on either side of a stamp, for points of so much flux, (n, 6) nJy."""
    wells = (flux * COLUMN_LIGHT / optical.scale_px / optical.full_well).max(1)
    overflows = (flux * optical.peak > optical.full_well).any(1)
    return np.where(overflows, np.minimum(np.ceil(wells), TRAIL_PX), 0).astype(np.int64)


def bleed(pixels: NDArray[np.float32], full_well: Array, trail: int) -> NDArray[np.float32]:
    """Let the charge above the full well run along the columns, half of it up and half down.

    Parameters
    ----------
    pixels : ndarray of float32, (bands, n, n)
        nJy.
    full_well : ndarray, (bands,)
        nJy that a pixel holds.
    trail : int
        Rows added below and above.

    Returns
    -------
    ndarray of float32, (bands, n + 2 trail, n)
        Every pixel at or below the full well; of the same sum unless a trail is longer than the array.
    """
    padded = np.pad(pixels, ((0, 0), (trail, trail), (0, 0)))
    for plane, most in zip(padded, full_well):
        most = np.float32(most)
        for column in np.flatnonzero((plane > most).any(0)).tolist():
            line = plane[:, column]
            middle = int(np.argmax(line))
            excess = np.maximum(line - most, 0).sum(dtype=np.float64)
            np.minimum(line, most, out=line)
            line[middle:] = _filled(line[middle:], most, excess / 2)
            line[:middle] = _filled(line[:middle][::-1], most, excess / 2)[::-1]
    return padded


def _filled(line: NDArray[np.float32], most: np.float32, charge: float) -> NDArray[np.float32]:
    """Fill pixels up to the full well, one after the other, until the charge is used up."""
    room = np.cumsum(most - line, dtype=np.float64)
    full = room <= charge
    filled = np.where(full, most, line)
    last = int(np.count_nonzero(full))
    if last < line.size:
        filled[last] += charge - (room[last - 1] if last else 0.0)
    return filled
