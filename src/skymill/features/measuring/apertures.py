"""Sums of light in circles and ellipses, pixels on the edge by the part of them that lies inside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EDGE = 0.7072
"""Distance between the edge and a pixel's centre beyond which the pixel is inside or outside as a whole."""
TINY = np.float32(1e-4)
"""Lengths and slopes below it count as it."""


@dataclass(frozen=True)
class Aperture:
    """The share of each pixel that lies in an aperture, one for each source.

    Attributes
    ----------
    share : ndarray of float32, (m, k, k)
        On a square about the middle pixel, which may be smaller than the stamp.
    """

    share: NDArray[np.float32]

    @property
    def half(self) -> int:
        """Pixels on each side of the middle one."""
        return self.share.shape[1] // 2

    def effective(self, usable: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Give what each pixel counts for where others are replaced by their mirror images about the source.

        So does SExtractor (``MASK_TYPE CORRECT``). The variance of the sum is that of the pixels times the square of
        what is given here; where the mirror image is not usable either, there is nothing.

        Parameters
        ----------
        usable : ndarray of bool, (m, k, k)
            Of the aperture's square.

        Returns
        -------
        ndarray of float32, (m, k, k)
        """
        lost = np.where(usable, np.float32(0), self.share)
        counts = self.share + lost[:, ::-1, ::-1]
        counts *= usable
        return counts


def circle(dx: NDArray[np.float64], dy: NDArray[np.float64], radius: float) -> Aperture:
    """Make circles.

    Parameters
    ----------
    dx, dy : ndarray of float64, (m,)
        Offset of the centres from the middle pixel, px; at most one.
    radius : float
        px.
    """
    x, y = offsets(dx, dy, int(np.ceil(radius + 1.5)))
    square = x * x + y * y
    share = (square < np.float32(radius**2)).astype(np.float32)
    edge = _near(square, (radius - EDGE) ** 2 if radius > EDGE else -1.0, (radius + EDGE) ** 2)
    source, row, column = np.unravel_index(edge, share.shape)
    along_x, along_y = x[source, 0, column], y[source, row, 0]
    distance = np.sqrt(square.ravel()[edge])
    depth = np.float32(radius - 1.0 / (24.0 * radius)) - distance
    share.ravel()[edge] = _inside(depth, along_x, along_y, distance)
    return Aperture(share)


def ellipse(
    x: NDArray[np.float32], y: NDArray[np.float32], form: NDArray[np.float32], stretch: NDArray[np.float64]
) -> Aperture:
    """Make ellipses.

    Parameters
    ----------
    x, y : ndarray of float32, (m, 1, k) and (m, k, 1)
        Offsets of the pixels from the centres.
    form : ndarray of float32, (3, m)
        A, B, C of ``q = A x^2 + B y^2 + 2 C x y``; the edge is where ``sqrt(q)`` is `stretch`.
    stretch : ndarray of float64, (m,)
    """
    radius = elliptical_radius(x, y, form)
    edge_at = stretch.astype(np.float32)
    share = (radius < edge_at[:, None, None]).astype(np.float32)
    steepest = np.sqrt(np.max(form[:2], axis=0) + np.abs(form[2]))  # of the radius, per px
    edge = _near(radius, (edge_at - EDGE * steepest)[:, None, None], (edge_at + EDGE * steepest)[:, None, None])
    source, row, column = np.unravel_index(edge, share.shape)
    a, b, c = form[:, source]
    along_x, along_y, here = x[source, 0, column], y[source, row, 0], np.maximum(radius.ravel()[edge], TINY)
    slope_x, slope_y = (a * along_x + c * along_y) / here, (b * along_y + c * along_x) / here
    slope = np.maximum(np.hypot(slope_x, slope_y), TINY)
    bent = np.sqrt(np.sqrt(np.maximum(form[0] * form[1] - form[2] ** 2, 0))) / (24 * np.maximum(edge_at, TINY))
    depth = (edge_at[source] - here) / slope - bent[source]
    share.ravel()[edge] = _inside(depth, slope_x, slope_y, slope)
    return Aperture(share)


def offsets(
    dx: NDArray[np.float64], dy: NDArray[np.float64], half: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give the pixels' offsets from sources, (m, 1, k) along x and (m, k, 1) along y."""
    pixels = np.arange(-half, half + 1)
    return (pixels - dx[:, None, None]).astype(np.float32), (pixels[:, None] - dy[:, None, None]).astype(np.float32)


def elliptical_radius(x: NDArray[np.float32], y: NDArray[np.float32], form: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give ``sqrt(A x^2 + B y^2 + 2 C x y)``, (m, k, k)."""
    a, b, c = form[:, :, None, None]
    square = (2 * c * y) * x
    square += a * x * x
    square += b * y * y
    radius: NDArray[np.float32] = np.sqrt(np.maximum(square, 0, out=square), out=square)
    return radius


def _near(
    values: NDArray[np.float32], low: float | NDArray[np.float32], high: float | NDArray[np.float32]
) -> NDArray[np.intp]:
    """Give the places of values between two bounds."""
    return np.flatnonzero((values > low) & (values < high))


def _inside(
    depth: NDArray[np.float32],
    normal_x: NDArray[np.float32],
    normal_y: NDArray[np.float32],
    length: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Give the share of pixels, unit squares, that lies inside an edge, taken for straight.

    Parameters
    ----------
    depth : ndarray of float32, (e,)
        Distance of the pixel's centre from the edge, positive inside. An edge bent with radius R cuts 1 / (24 R) more
        off than its tangent does: that is to be subtracted.
    normal_x, normal_y : ndarray of float32, (e,)
        Direction of the edge's normal, of length `length`.
    """
    norm = np.maximum(length, TINY)
    one = np.where(length > TINY, np.abs(normal_x) / norm, np.float32(1))  # the centre of an aperture has no normal
    other = np.abs(normal_y) / norm
    more, less = np.maximum(one, other), np.maximum(np.minimum(one, other), TINY)
    deep = np.abs(depth)
    corner = np.maximum((more + less) / 2 - deep, 0)  # the edge cuts a corner off, or a side
    area = np.where(deep <= (more - less) / 2, 0.5 + deep / more, 1 - corner * corner / (2 * more * less))
    share: NDArray[np.float32] = np.where(depth < 0, 1 - area, area)
    return share
