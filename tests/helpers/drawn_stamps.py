"""Stamps drawn without a survey: points and discs that a small network can tell apart."""

from __future__ import annotations

import numpy as np

from skymill.models import Examples

SIZE, NOISE = 16, 2.0
"""Side, px, and noise of a pixel, nJy."""


def draw(n: int, seed: int) -> Examples:
    """Points and discs of the same flux in two bands, some pixels and some whole bands without weight."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    sigma = np.where(labels == 0, 1.2, 2.2)[:, None, None]
    light = np.exp(-(x**2 + y**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    flux = (random.uniform(200, 800, (n, 1, 1, 1)) * light[:, None]).repeat(2, axis=1)
    flux = flux + NOISE * random.normal(size=flux.shape)
    weight = np.full(flux.shape, NOISE**-2)
    weight[random.random(flux.shape) < 0.02] = 0
    weight[np.arange(0, n, 20), 0] = 0
    stamps = np.stack([flux * (weight > 0), weight], axis=1).astype(np.float32)
    return Examples(stamps, labels.astype(np.int64), np.ones(n, np.float32), 2)
