"""A network run over an image in windows that overlap, so that no pixel of the result lacks its surroundings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Network = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
"""Takes flux and inverse variance (n, bands, side, side), gives maps (n, channels, side, side)."""
BATCH = 4
"""Windows run at once."""


@dataclass(frozen=True)
class Windows:
    """How an image is covered: each window gives its middle, a square of `step` px, to the result.

    Beyond the image there are pixels without weight, as many as the halo asks for. So what comes out for a pixel
    depends on what is within the halo around it, and neither on the window it lies in nor on how the network treats
    the borders of its input.

    Attributes
    ----------
    side : int
        Of a window, px.
    halo : int
        How far around a pixel the network looks, px.
    multiple : int
        Windows begin at multiples of it, counted from the image's first pixel, as strides of a network ask for.
    """

    side: int
    halo: int
    multiple: int = 1

    @property
    def lead(self) -> int:
        """Pixels of a window before its middle: the halo, rounded up."""
        return -(-self.halo // self.multiple) * self.multiple

    @property
    def step(self) -> int:
        """Side of the middle; below 1 where the window is too small to have one."""
        return (self.side - self.lead - self.halo) // self.multiple * self.multiple

    @property
    def smallest(self) -> int:
        """The smallest side with a middle."""
        return -(-(self.lead + self.multiple + self.halo) // self.multiple) * self.multiple


def run_windows(
    network: Network, flux: NDArray[np.float32], inverse_variance: NDArray[np.float32], windows: Windows, channels: int
) -> NDArray[np.float32]:
    """Run a network over an image.

    Parameters
    ----------
    network : callable
    flux, inverse_variance : ndarray of float32, (bands, ny, nx)
    windows : Windows
        Of a step of 1 or more.
    channels : int
        Of what the network gives.

    Returns
    -------
    ndarray of float32, (channels, ny, nx)
    """
    rows, columns = flux.shape[1:]
    maps = np.empty((channels, rows, columns), dtype=np.float32)
    step, lead = windows.step, windows.lead
    corners = [(row, column) for row in range(0, rows, step) for column in range(0, columns, step)]
    for start in range(0, len(corners), BATCH):
        batch = corners[start : start + BATCH]
        inputs = [
            np.stack([_cut(image, row - lead, column - lead, windows.side) for row, column in batch])
            for image in (flux, inverse_variance)
        ]
        for (row, column), found in zip(batch, network(*inputs), strict=True):
            place = maps[:, row : row + step, column : column + step]
            place[:] = found[:, lead : lead + place.shape[1], lead : lead + place.shape[2]]
    return maps


def _cut(image: NDArray[np.float32], row: int, column: int, side: int) -> NDArray[np.float32]:
    """Cut a window out of an image (bands, ny, nx); 0 beyond it."""
    window = np.zeros((len(image), side, side), dtype=np.float32)
    top, left = max(row, 0), max(column, 0)
    part = image[:, top : row + side, left : column + side]
    window[:, top - row : top - row + part.shape[1], left - column : left - column + part.shape[2]] = part
    return window
