"""Photometry of point sources: all sources of a tile at once, each with the flux that fits best beside the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.features.measuring.psf import profiles
from skymill.features.measuring.stamps import batches, cut
from skymill.survey.images.tile import Psf

REACH_FWHM = 2.0
"""Radius, in widths of the point-spread function, of the pixels that are fitted: 4.7 sigma of a Gaussian."""
LEAST_SEEN = 0.1
"""Of a source's light that must fall on pixels with a weight, or its flux is not measured."""
COUPLED = 0.01
"""Sources whose profiles overlap by more (as a share of their own squares) are inverted together for their errors."""
LARGEST_BLOCK = 400
"""Sources that are inverted together at most; larger groups are cut into pieces for the errors, not for the fluxes."""
ELEMENTS_AT_ONCE = 8_000_000
"""Of the blocks that are inverted in one call: 64 MB, however crowded a field."""
RIDGE = 1e-6
"""Added to the diagonal, as a share of it: two sources at one position have no fluxes of their own."""


@dataclass(frozen=True)
class PointFluxes:
    """Fluxes of one band, nJy; NaN where not measured.

    Attributes
    ----------
    flux, error : ndarray of float64, (n,)
    own, seen : ndarray of float64, (n,)
        The light under the source's profile, summed with the profile as weight: its own part, and all of it.
    """

    flux: NDArray[np.float64]
    error: NDArray[np.float64]
    own: NDArray[np.float64]
    seen: NDArray[np.float64]


def fit_points(
    pixels: NDArray[np.float32],
    weight: NDArray[np.float32],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    psf: Psf,
) -> PointFluxes:
    """Fit the fluxes of point sources at fixed positions, of all at once, by linear least squares.

    With the profiles as columns of P and the pixels in d, the fluxes are ``f = (P'P)^-1 P'd``, and the square of an
    error is the element of ``(P'P)^-1`` on the diagonal times the variance of a pixel under the source's profile. All
    pixels that are used weigh the same: weights that follow the brightness of a pixel would tie the flux to how well
    the profile is known, and to the noise itself (the reason why the LSST pipelines do the same).

    Parameters
    ----------
    pixels, weight : ndarray of float32, (ny, nx)
        nJy, background subtracted, and inverse variance; a pixel of weight 0 is not used.
    x, y : ndarray of float64, (n,)
    psf : Psf
    """
    half = max(1, int(np.ceil(REACH_FWHM * psf.fwhm_px)))
    column, row = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
    profile = np.empty((len(x), 2 * half + 1, 2 * half + 1), dtype=np.float32)
    noise, seen = np.zeros(len(x)), np.zeros(len(x))
    for some in batches(np.arange(len(x)), half):
        place = (column[some], row[some], half)
        stamp = profiles(psf, x[some] - column[some], y[some] - row[some], half)
        weights = cut(weight, *place)
        stamp *= weights > 0
        variance = np.divide(1.0, weights, out=np.zeros_like(weights), where=weights > 0)
        noise[some] = np.einsum("nij,nij,nij->n", stamp, stamp, variance)
        seen[some] = np.einsum("nij,nij->n", stamp, cut(pixels, *place), dtype=np.float64)
        profile[some] = stamp
    fitted = np.flatnonzero(profile.sum(axis=(1, 2)) >= LEAST_SEEN)
    values = np.full((4, len(x)), np.nan)
    if len(fitted):
        profile, column, row = profile[fitted], column[fitted], row[fitted]
        pairs = _pairs(column, row, 2 * half)
        products = _overlaps(profile, column, row, pairs)
        flux, error = _solve(products, noise[fitted] / products[: len(fitted)], seen[fitted], pairs)
        values[:, fitted] = flux, error, flux * products[: len(fitted)], seen[fitted]
    return PointFluxes(*values)


def _pairs(column: NDArray[np.int64], row: NDArray[np.int64], reach: int) -> NDArray[np.int64]:
    """Give all pairs of sources whose stamps overlap, each source with itself first, (n + pairs, 2)."""
    from scipy.spatial import cKDTree

    places = np.column_stack([column, row])
    found = cKDTree(places).query_pairs(reach, p=np.inf, output_type="ndarray").reshape(-1, 2)
    found = found[np.lexsort((found[:, 1], found[:, 0]))]
    itself = np.arange(len(column))
    return np.concatenate([np.column_stack([itself, itself]), found])


def _overlaps(
    profile: NDArray[np.float32], column: NDArray[np.int64], row: NDArray[np.int64], pairs: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Sum the product of two profiles over the pixels they share, for each pair of sources."""
    size = profile.shape[1]
    first, second = pairs.T
    right, down = column[second] - column[first], row[second] - row[first]
    products = np.empty(len(pairs))
    for offset, members in _alike((down + size) * (2 * size + 1) + right + size):
        dy, dx = offset // (2 * size + 1) - size, offset % (2 * size + 1) - size
        here = np.s_[:, max(dy, 0) : size + min(dy, 0), max(dx, 0) : size + min(dx, 0)]
        there = np.s_[:, max(-dy, 0) : size + min(-dy, 0), max(-dx, 0) : size + min(-dx, 0)]
        products[members] = np.einsum("nij,nij->n", profile[first[members]][here], profile[second[members]][there])
    return products


def _alike(key: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Group indices by their key."""
    order = np.argsort(key, kind="stable")
    keys, starts = np.unique(key[order], return_index=True)
    yield from zip(keys.tolist(), np.split(order, starts[1:]), strict=True)


def _solve(
    products: NDArray[np.float64], noise: NDArray[np.float64], seen: NDArray[np.float64], pairs: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give fluxes and errors: of each block by itself, then the fluxes of all by conjugate gradients from there."""
    from scipy.sparse.linalg import cg

    n = len(seen)
    scale = 1.0 / np.sqrt(products[:n])
    first, second = pairs.T
    matrix = _symmetric(products * scale[first] * scale[second], pairs)
    guess, variance = np.empty(n), np.empty(n)
    for block in _blocks(matrix):  # (blocks, m)
        inverse = np.linalg.inv(_dense(matrix, block) + RIDGE * np.eye(block.shape[1]))
        guess[block] = np.einsum("bij,bj->bi", inverse, (seen * scale)[block])
        variance[block] = np.einsum("bii->bi", inverse) * noise[block]
    size = float(np.linalg.norm(seen * scale))
    flux, _ = cg(matrix, seen * scale, x0=guess, rtol=1e-7, atol=1e-12 * size, maxiter=200)
    return flux * scale, np.sqrt(np.maximum(variance, 0.0)) * scale


def _symmetric(values: NDArray[np.float64], pairs: NDArray[np.int64]) -> Any:
    """Make a sparse symmetric matrix of its diagonal and one half."""
    from scipy.sparse import coo_array

    n = int(pairs[:, 0].max()) + 1
    first, second = pairs.T
    apart = first != second
    rows, columns = np.concatenate([first, second[apart]]), np.concatenate([second, first[apart]])
    return coo_array((np.concatenate([values, values[apart]]), (rows, columns)), shape=(n, n)).tocsr()


def _blocks(matrix: Any) -> Iterator[NDArray[np.intp]]:
    """Give groups of coupled sources, those of one size together, (groups, size)."""
    from scipy.sparse.csgraph import connected_components, reverse_cuthill_mckee

    coupled = matrix.copy()
    coupled.data[np.abs(coupled.data) < COUPLED] = 0
    coupled.eliminate_zeros()
    _, group = connected_components(coupled, directed=False)
    near = reverse_cuthill_mckee(coupled, symmetric_mode=True)  # neighbours stand near one another in this order
    order = near[np.argsort(group[near], kind="stable")]
    place = np.arange(len(order)) - np.searchsorted(group[order], group[order])
    piece = group[order] * len(order) + place // LARGEST_BLOCK
    _, starts, sizes = np.unique(piece, return_index=True, return_counts=True)
    for size in np.unique(sizes):
        rows, at_once = starts[sizes == size], max(1, ELEMENTS_AT_ONCE // size**2)
        for some in range(0, len(rows), at_once):
            yield order[rows[some : some + at_once, None] + np.arange(size)]


def _dense(matrix: Any, block: NDArray[np.intp]) -> NDArray[np.float64]:
    """Take blocks out of a sparse matrix, (blocks, m, m)."""
    size = block.shape[1]
    rows, columns = np.repeat(block, size, axis=1), np.tile(block, (1, size))
    values: NDArray[np.float64] = np.asarray(matrix[rows.ravel(), columns.ravel()])
    return values.reshape(len(block), size, size)
