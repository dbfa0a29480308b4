"""Positions and second moments under a Gaussian window that takes the shape of the source itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymill.features.measuring.detection import Stack
from skymill.features.measuring.psf import SIGMA_TO_FWHM
from skymill.features.measuring.stamps import Places, batches, cut, mirrored
from skymill.survey.images.tile import Psf

ITERATIONS = 60
CONVERGED = 1e-3
"""Relative change of the moments, and change of the position in units of their size, at which a fit stands."""
BOLDNESS = 2.0
"""By how much a step is longer than the plain one, which goes half of the way for a Gaussian source."""
SMALLEST = 0.25
"""Least second moment, px^2: pixels tell of nothing sharper."""
LARGEST = 0.4
"""Largest size, as a share of half the window's width: 2.5 sigma of the window are seen."""
FARTHEST = 0.5
"""Farthest that a position may move, as the same share."""
FIRST_HALF = 8
"""Least half-width of the stamps to begin with, px."""
ROOM = 1.5
"""How much wider than the point-spread function a source may be that fits into the first stamp."""


@dataclass(frozen=True)
class Shapes:
    """Of sources on stamps, in pixels from the middle one.

    Attributes
    ----------
    x, y : ndarray of float64, (n,)
        Windowed position; the start where `failed`.
    xx, yy, xy : ndarray of float64, (n,)
        Second moments, px^2; the start where `failed`.
    failed : ndarray of bool, (n,)
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    xx: NDArray[np.float64]
    yy: NDArray[np.float64]
    xy: NDArray[np.float64]
    failed: NDArray[np.bool_]

    def of(self, members: NDArray[np.intp]) -> Shapes:
        """Give some of them."""
        return Shapes(*(getattr(self, name)[members] for name in ("x", "y", "xx", "yy", "xy", "failed")))

    def axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give the semi-axes, px: roots of the largest and smallest second moments."""
        mean, spread = (self.xx + self.yy) / 2, np.hypot((self.xx - self.yy) / 2, self.xy)
        return np.sqrt(mean + spread), np.sqrt(mean - spread)

    def form(self) -> NDArray[np.float32]:
        """Give A, B, C of ``A x^2 + B y^2 + 2 C x y``, which is 1 on the ellipse of the semi-axes, (3, n)."""
        determinant = self.xx * self.yy - self.xy**2
        return (np.stack([self.yy, self.xx, -self.xy]) / determinant).astype(np.float32)


def measure_shapes(places: Places, stack: Stack) -> Shapes:
    """Fit positions and second moments of sources on the detection image, others removed, as `adaptive_moments` does.

    Sources that grow out of a window are tried again in one twice as large, as long as their footprints are that large.
    """
    n = len(places.row)
    first = np.zeros((5, n))  # x, y, xx, yy, xy
    first[0], first[1] = places.dx, places.dy
    first[2:4] = max(SMALLEST, (stack.fwhm_px / SIGMA_TO_FWHM) ** 2)
    state, failed = first.copy(), np.ones(n, dtype=bool)
    half = first_half(stack.fwhm_px)
    waiting = np.arange(n)
    while len(waiting):
        larger = np.zeros(n, dtype=bool)
        for members in batches(waiting, half):
            column, row = places.column[members], places.row[members]
            usable = places.theirs(members, column, row, half) & (cut(stack.weight, column, row, half) > 0)
            light = mirrored(cut(stack.flux, column, row, half), usable)
            found = adaptive_moments(light, first[:, members], fixed=places.fixed)
            state[:, members], failed[members], larger[members] = found
        half *= 2
        waiting = np.flatnonzero(larger & (places.extent >= half))
    state[:, failed] = first[:, failed]
    x, y, xx, yy, xy = state
    return Shapes(x, y, xx, yy, xy, failed)


def first_half(fwhm_px: float) -> int:
    """Give the half-width of the window to begin with: that of a point source, and some room."""
    return max(FIRST_HALF, int(np.ceil(ROOM * fwhm_px / SIGMA_TO_FWHM / LARGEST)))


def adaptive_moments(
    light: NDArray[np.float32], first: NDArray[np.float64], *, fixed: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Fit positions and second moments (Bernstein & Jarvis 2002, AJ 123, 583, section 3.1).

    The window ``exp(-r' M^-1 r / 2)`` is moved to where the mean offset of the light under it is zero, as SExtractor's
    windowed positions are, and given the moments M that are twice those of the light under it, as a Gaussian's are.

    Parameters
    ----------
    light : ndarray of float32, (n, k, k)
        Background subtracted, other sources removed.
    first : ndarray of float64, (5, n)
        x, y, xx, yy, xy to begin with, from the middle pixel.
    fixed : bool
        Whether positions stay where they are.

    Returns
    -------
    state : ndarray of float64, (5, n)
    failed, larger : ndarray of bool, (n,)
        Windows that do not stand: they shrank to nothing, moved away, did not settle, or outgrew the stamp (`larger`).
    """
    half = light.shape[1] // 2
    state = first.copy()
    failed, larger = np.zeros((2, first.shape[1]), dtype=bool)
    active = np.arange(first.shape[1])
    for _ in range(ITERATIONS):
        if not len(active):
            break
        before = state[:, active]
        after = _no_smaller(_boldly(before, _step(light, before), half))
        if fixed:
            after[:2] = before[:2]
        bad = ~_sensible(after, half)
        done = (np.abs(after - before) < CONVERGED * _size(after)).all(axis=0)
        state[:, active[~bad]] = after[:, ~bad]
        failed[active[bad]] = True
        larger[active[bad]] = _largest(after[:, bad]) > (LARGEST * half) ** 2
        going = ~bad & ~done
        if not going.all():
            active, light = active[going], light[going]
    failed[active] = True
    return state, failed, larger


def _boldly(before: NDArray[np.float64], plain: NDArray[np.float64], half: int) -> NDArray[np.float64]:
    """Lengthen a step of the moments where that leads to no nonsense."""
    bold = plain.copy()
    bold[2:] = before[2:] + BOLDNESS * (plain[2:] - before[2:])
    return np.where(_sensible(bold, half), bold, plain)


def _no_smaller(state: NDArray[np.float64]) -> NDArray[np.float64]:
    """Widen windows that are narrower than `SMALLEST` along an axis."""
    x, y, xx, yy, xy = state
    large = np.maximum(_largest(state), SMALLEST)
    small = np.maximum(xx + yy - _largest(state), SMALLEST)
    spread = np.hypot((xx - yy) / 2, xy)
    squeeze = np.divide((large - small) / 2, spread, out=np.ones_like(spread), where=spread > 0)
    half = (xx - yy) / 2 * squeeze
    return np.stack([x, y, (large + small) / 2 + half, (large + small) / 2 - half, xy * squeeze])


def _step(light: NDArray[np.float32], state: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the next window: position and moments of the light under this one."""
    x0, y0, xx, yy, xy = state[:, :, None]
    half = light.shape[1] // 2
    pixels = np.arange(-half, half + 1)
    dx, dy = (pixels - x0).astype(np.float32), (pixels - y0).astype(np.float32)  # (n, k)
    determinant = xx * yy - xy * xy
    a, b, c = (np.asarray(part / determinant, dtype=np.float32) for part in (yy, xx, -xy))
    power = (-c * dy)[:, :, None] * dx[:, None, :]
    power -= (0.5 * a * dx * dx)[:, None, :]
    power -= (0.5 * b * dy * dy)[:, :, None]
    weighted = np.exp(power, out=power)
    weighted *= light
    in_rows = (weighted @ np.stack([np.ones_like(dx), dx, dx * dx], axis=2)).astype(np.float64)  # (n, k, 3)
    total, mean_x, mean_xx = in_rows.sum(axis=1).T
    mean_y, mean_xy, _ = (in_rows * dy[:, :, None]).sum(axis=1).T
    mean_yy = (in_rows[:, :, 0] * dy * dy).sum(axis=1)
    total = np.where(total > 0, total, np.nan)
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = np.stack([mean_x, mean_y, mean_xx, mean_yy, mean_xy]) / total
    moments = np.stack([mean_xx - mean_x**2, mean_yy - mean_y**2, mean_xy - mean_x * mean_y])
    return np.concatenate([state[:2] + 2 * np.stack([mean_x, mean_y]), 2 * moments])


def _size(state: NDArray[np.float64]) -> NDArray[np.float64]:
    """What changes are compared with, (5, n)."""
    trace = np.abs(state[2] + state[3]) / 2
    return np.stack([np.sqrt(trace), np.sqrt(trace), trace, trace, trace])


def _sensible(state: NDArray[np.float64], half: int) -> NDArray[np.bool_]:
    """Say which windows are ellipses of a size that the stamp can hold, near its middle; NaN is not."""
    x, y, xx, yy, _ = state
    largest = _largest(state)
    near = np.maximum(np.abs(x), np.abs(y)) <= max(1.0, FARTHEST * half)
    sensible: NDArray[np.bool_] = near & (xx + yy - largest > SMALLEST / 2) & (largest <= (LARGEST * half) ** 2)
    return sensible


def _largest(state: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the second moment along the longer axis, px^2."""
    _, _, xx, yy, xy = state
    return (xx + yy) / 2 + np.hypot((xx - yy) / 2, xy)


def psf_moments(psf: Psf) -> tuple[float, float, float]:
    """Give a point-spread function's second moments xx, yy, xy, px^2, as a source's are measured."""
    if psf.image is None:
        gaussian = (psf.fwhm_px / SIGMA_TO_FWHM) ** 2
        return gaussian, gaussian, 0.0
    return moments(np.asarray(psf.image, dtype=np.float32), psf.fwhm_px)


def moments(image: NDArray[np.float32], fwhm_px: float) -> tuple[float, float, float]:
    """Give the second moments xx, yy, xy of one source in the middle of an image, px^2; NaN where they fail."""
    first = np.zeros((5, 1))
    first[2:4] = (fwhm_px / SIGMA_TO_FWHM) ** 2
    state, failed, _ = adaptive_moments(image[None], first)
    if failed[0]:
        return np.nan, np.nan, np.nan
    xx, yy, xy = state[2:, 0].tolist()
    return xx, yy, xy
