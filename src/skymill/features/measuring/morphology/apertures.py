"""Sums over ellipses whose border cuts pixels exactly, from sums along rows: only pixels on the border are looked at.

An ellipse is ``(x, y, a, b, cos, sin)``: centre, semi-axes and the direction of `a`, pixels; a circle has ``a = b``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skymill.features.measuring.morphology.compiled import compiled

Ellipse = tuple[float, float, float, float, float, float]


@compiled
def circle(x: float, y: float, radius: float) -> Ellipse:
    """Give a circle as an ellipse."""
    return x, y, radius, radius, 1.0, 0.0


@compiled
def scaled(ellipse: Ellipse, a: float) -> Ellipse:
    """Give the concentric ellipse of the same shape and another semi-major axis."""
    x, y, a_old, b_old, cos, sin = ellipse
    return x, y, a, a * b_old / a_old, cos, sin


@compiled
def along_rows(image: NDArray[np.float64], good: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum along rows up to each pixel: the image, and which pixels are good (1, else 0); (2, ny, nx + 1)."""
    ny, nx = image.shape
    sums = np.zeros((2, ny, nx + 1))
    for i in range(ny):
        for j in range(nx):
            sums[0, i, j + 1] = sums[0, i, j] + image[i, j]
            sums[1, i, j + 1] = sums[1, i, j] + good[i, j]
    return sums


@compiled
def aperture_sums(sums: NDArray[np.float64], ellipse: Ellipse) -> tuple[float, float]:
    """Give flux and area within an ellipse, as far as it lies on the image, from `along_rows`."""
    ny, nx = sums.shape[1], sums.shape[2] - 1
    flux, area = 0.0, 0.0
    first, last = rows_touched(ellipse, ny)
    is_circle = ellipse[2] == ellipse[3]
    caps = circle_caps(ellipse, ny, nx)
    for i in range(first, last):
        left, inside, outside, right = row_span(ellipse, i, nx)
        flux += sums[0, i, outside] - sums[0, i, inside]
        area += sums[1, i, outside] - sums[1, i, inside]
        for start, stop in ((left, inside), (outside, right)):
            for j in range(start, stop):
                share = circle_overlap(ellipse, caps, j, i) if is_circle else overlap(ellipse, j, i)
                flux += share * (sums[0, i, j + 1] - sums[0, i, j])
                area += share * (sums[1, i, j + 1] - sums[1, i, j])
    return flux, area


@compiled
def circle_caps(ellipse: Ellipse, ny: int, nx: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give half the area of a circle between its centre and each border of a column, and of a row.

    Borders to the left of the centre and below it have negative areas; nothing is given for what is no circle.
    """
    x, y, radius = ellipse[:3]
    columns, rows = np.empty(nx + 1), np.empty(ny + 1)
    if radius == ellipse[3]:
        for borders, centre in ((columns, x), (rows, y)):
            start = min(max(math.floor(centre - radius), 0), len(borders))
            stop = max(min(math.floor(centre + radius) + 3, len(borders)), start)
            for k in range(start, stop):
                t = min(max((k - 0.5 - centre) / radius, -1.0), 1.0)
                borders[k] = 0.5 * radius**2 * (t * math.sqrt(1 - t * t) + math.asin(t))
    return columns, rows


@compiled
def circle_overlap(ellipse: Ellipse, caps: tuple[NDArray[np.float64], NDArray[np.float64]], j: int, i: int) -> float:
    """Give the share of pixel (column j, row i) that lies in a circle, from what lies to the lower left of its corners.

    The roots and arcs are those of columns and rows, so that a pixel costs a fifth of `overlap`.
    """
    x, y, radius = j - 0.5 - ellipse[0], i - 0.5 - ellipse[1], ellipse[2]
    left, right, low, high = caps[0][j], caps[0][j + 1], caps[1][i], caps[1][i + 1]
    upper = lower_left(x + 1, y + 1, radius, right, high) - lower_left(x, y + 1, radius, left, high)
    return upper - lower_left(x + 1, y, radius, right, low) + lower_left(x, y, radius, left, low)


@compiled
def lower_left(x: float, y: float, radius: float, column: float, row: float) -> float:
    """Give the area of a circle about the origin to the left of x and below y; `column`, `row` are its caps there."""
    quarter = 0.25 * math.pi * radius**2
    if x * x + y * y <= radius**2:
        return x * y + column + row + quarter
    if x > 0:
        return 2 * (column + row) if y > 0 else 2 * (quarter + row)
    return 2 * (quarter + column) if y > 0 else 0.0


@compiled
def rows_touched(ellipse: Ellipse, ny: int) -> tuple[int, int]:
    """Give the first row that an ellipse touches, and the one after the last."""
    _, y, a, b, cos, sin = ellipse
    half = math.sqrt((a * sin) ** 2 + (b * cos) ** 2)
    return max(0, math.floor(y - half + 0.5)), min(ny, math.floor(y + half + 0.5) + 1)


@compiled
def row_span(ellipse: Ellipse, i: int, nx: int) -> tuple[int, int, int, int]:
    """Give the columns between which an ellipse cuts the pixels of row i, and between which it holds them wholly.

    Four of them, ascending: pixels [first, second) and [third, fourth) are cut, [second, third) are inside.
    """
    x, y, a, b, cos, sin = ellipse
    half_x = math.sqrt((a * cos) ** 2 + (b * sin) ** 2)
    half_y = math.sqrt((a * sin) ** 2 + (b * cos) ** 2)
    tilt = (a * a - b * b) * sin * cos / (half_y * half_y)  # chords' middles lie on x = tilt * y
    tip = (a * a - b * b) * sin * cos / half_x  # height of the rightmost point; the leftmost lies at -tip
    low, high = i - 0.5 - y, i + 0.5 - y
    left, right = math.inf, -math.inf
    inner_left, inner_right = -math.inf, math.inf
    for height in (low, high):
        if abs(height) < half_y:
            chord = a * b / half_y * math.sqrt(1 - (height / half_y) ** 2)
            left, right = min(left, tilt * height - chord), max(right, tilt * height + chord)
            inner_left, inner_right = max(inner_left, tilt * height - chord), min(inner_right, tilt * height + chord)
        else:
            inner_right = -math.inf
    if low <= -tip <= high:
        left = -half_x
    if low <= tip <= high:
        right = half_x
    if left > right:
        return 0, 0, 0, 0
    first = min(max(math.floor(x + left + 0.5), 0), nx)
    last = min(max(math.floor(x + right + 0.5) + 1, first), nx)
    if inner_left >= inner_right:
        return first, last, last, last
    inside = min(max(math.ceil(x + inner_left + 0.5), first), last)
    outside = min(max(math.floor(x + inner_right - 0.5) + 1, inside), last)
    return first, inside, outside, last


@compiled
def overlap(ellipse: Ellipse, j: int, i: int) -> float:
    """Give the share of pixel (column j, row i) that lies in an ellipse: the ellipse is made the unit circle."""
    x, y, a, b, cos, sin = ellipse
    u, v = ((j - x) * cos + (i - y) * sin) / a, ((i - y) * cos - (j - x) * sin) / b
    ux, uy, vx, vy = 0.5 * cos / a, 0.5 * sin / a, -0.5 * sin / b, 0.5 * cos / b
    u0, v0 = u - ux - uy, v - vx - vy
    u1, v1 = u + ux - uy, v + vx - vy
    u2, v2 = u + ux + uy, v + vx + vy
    u3, v3 = u - ux + uy, v - vx + vy
    area = wedge(u0, v0, u1, v1) + wedge(u1, v1, u2, v2) + wedge(u2, v2, u3, v3) + wedge(u3, v3, u0, v0)
    return area * a * b


@compiled
def wedge(px: float, py: float, qx: float, qy: float) -> float:
    """Give the area that the unit circle shares with the triangle of its centre, p and q; negative where clockwise.

    Summed over the sides of a polygon, it is the area that polygon and circle share.
    """
    p_beyond, q_beyond = px * px + py * py - 1.0, qx * qx + qy * qy - 1.0
    if p_beyond <= 0 and q_beyond <= 0:
        return 0.5 * (px * qy - py * qx)
    dx, dy = qx - px, qy - py
    square, along = dx * dx + dy * dy, px * dx + py * dy
    under_root = along * along - square * p_beyond  # of the quadratic for where the line of p and q meets the circle
    if under_root <= 0:
        return sector(px, py, qx, qy)
    root = math.sqrt(under_root)
    enter, leave = (-along - root) / square, (-along + root) / square  # in parts of the way from p to q
    if enter >= 1 or leave <= 0:
        return sector(px, py, qx, qy)
    area = 0.0
    ax, ay, bx, by = px, py, qx, qy
    if enter > 0:
        ax, ay = px + enter * dx, py + enter * dy
        area += sector(px, py, ax, ay)
    if leave < 1:
        bx, by = px + leave * dx, py + leave * dy
        area += sector(bx, by, qx, qy)
    return area + 0.5 * (ax * by - ay * bx)


@compiled
def sector(px: float, py: float, qx: float, qy: float) -> float:
    """Give the area of the unit circle between the directions of p and q."""
    cross, dot = px * qy - py * qx, px * qx + py * qy
    if abs(cross) < 0.1 * dot:  # the series is then good to 10^-12, and takes a quarter of the time
        t = cross / dot
        t2 = t * t
        return 0.5 * t * (1 - t2 * (1 / 3 - t2 * (1 / 5 - t2 * (1 / 7 - t2 / 9))))
    return 0.5 * math.atan2(cross, dot)
