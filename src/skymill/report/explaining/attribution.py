"""Which pixels speak for a class: integrated gradients, and what is lost when a part of the stamp is covered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

STEPS = 128
BEND = 3
"""The path is walked as the cube of time: steps are dense where flux begins, which networks see on an asinh scale."""


def integrated_gradients(
    score: Callable[[Tensor, Tensor], Tensor],
    flux: NDArray[np.float32],
    inverse_variance: NDArray[np.float32],
    *,
    steps: int = STEPS,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share a score out among the pixels (Sundararajan et al. 2017, arXiv:1703.01365, equation 1).

    The path leads from no light, with the same weights, straight to the stamp. Its integral is taken by Gauss and
    Legendre's rule over a time whose cube is the share of the light.

    Parameters
    ----------
    score : callable
        Of flux and inverse variance, torch tensors (n, bands, k, k): the scores (n,) that are explained.
    flux, inverse_variance : ndarray of float32, (n, bands, k, k)
        nJy and 1 / nJy^2.
    steps : int
        Gradients that are taken of each stamp.

    Returns
    -------
    ndarray of float64, (n, bands, k, k)
        They add up to the score of the stamp less that of no light (the axiom of completeness).
    ndarray of float64, (n,)
        By how much they fail to: the error of the integration.
    """
    import torch

    light, weight = torch.from_numpy(np.array(flux)), torch.from_numpy(np.array(inverse_variance))
    nodes, parts = np.polynomial.legendre.leggauss(steps)
    times, parts = (nodes + 1) / 2, parts / 2
    total = np.zeros(flux.shape)
    for time, part in zip(times, parts):
        some = (light * time**BEND).requires_grad_()
        [gradient] = torch.autograd.grad(score(some, weight).sum(), some)
        total += part * BEND * time ** (BEND - 1) * gradient.double().numpy()
    given = total * flux
    with torch.no_grad():
        change = (score(light, weight) - score(torch.zeros_like(light), weight)).double().numpy()
    return given, given.sum(axis=(1, 2, 3)) - change


def occlusion(
    probability: Callable[[NDArray[np.float32]], NDArray[np.floating]], stamps: NDArray[np.float32], *, patch: int
) -> NDArray[np.float64]:
    """Give how much probability is lost when a square of a stamp has no weight (Zeiler & Fergus 2014, arXiv:1311.2901).

    Parameters
    ----------
    probability : callable
        Of stamps (n, 2, bands, k, k): the probabilities (n,) that are explained.
    stamps : ndarray of float32, (n, 2, bands, k, k)
    patch : int
        Side of the square, pixels.

    Returns
    -------
    ndarray of float64, (n, k / patch, k / patch)
        Rounded up: the last squares may be cut off by the edge.
    """
    whole = probability(stamps)
    places = range(0, stamps.shape[-1], patch)
    lost = np.empty((len(stamps), len(places), len(places)))
    for row, y in enumerate(places):
        for column, x in enumerate(places):
            covered = stamps.copy()
            covered[..., y : y + patch, x : x + patch] = 0
            lost[:, row, column] = whole - probability(covered)
    return lost
