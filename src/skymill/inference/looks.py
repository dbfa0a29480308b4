"""What a model says of the stamps of sources on one image: everything that computes a value of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from skymill.inference.kernel import Model, set_dtype

if TYPE_CHECKING:
    from skymill.features.source_tile import StampBatch

BATCH_BYTES = {"cpu": 4_000_000, "cuda": 64_000_000, "tensorrt": 64_000_000}
"""Most bytes of the flux and the weights of a batch. On a CPU stamps and a network's layers then stay in the cache: a
network of 11 MFLOP takes 1.8 times as long for batches of 50 MB. GPUs need many stamps at once to be busy."""
Item = TypeVar("Item")


class Looks(NamedTuple):
    """What is known of n sources after a look at their stamps."""

    output: NDArray[np.float32]
    """(n, width): probabilities or packed posteriors; NaN where the model was not asked."""
    distance: NDArray[np.float32]
    """(n,), from the training rows; NaN where it was not asked or does not tell."""
    disagreement: NDArray[np.float32]
    """(n,), of the model's members; NaN there too."""
    embedding: NDArray[np.float16]
    """(n, d), of length 1; NaN where the model was not asked; d is 0 where it gives none."""
    votes: NDArray[np.float32]
    """(n, a), concentrations of answers; NaN where the model was not asked; a is 0 where it tells none."""
    coverage_frac: NDArray[np.float16]
    """(n,): share of a stamp's pixels that have weight, mean over bands."""
    masked_frac: NDArray[np.float16]
    """(n,): share of the pixels in a mask plane that means something, mean over bands."""
    bands_missing: NDArray[np.signedinteger[Any]]
    """(n,), a bit for each band in which no pixel has weight, the first band as bit 0."""

    @classmethod
    def none(cls, n: int, *, width: int, n_bands: int, embedding: int = 0, answers: int = 0) -> Looks:
        """Give those at sources that nobody has looked at: NaN, and all bands missing."""
        output, (distance, disagreement) = np.full((n, width), np.nan, np.float32), np.full((2, n), np.nan, np.float32)
        votes = np.full((n, answers), np.nan, np.float32)
        vectors, (coverage, masked) = np.full((n, embedding), np.nan, np.float16), np.full((2, n), np.nan, np.float16)
        missing = np.full(n, (1 << n_bands) - 1, set_dtype(n_bands))
        return cls(output, distance, disagreement, vectors, votes, coverage, masked, missing)

    def rows(self, start: int, stop: int) -> Looks:
        """Give those at some of the sources, views of these."""
        return Looks._make(values[start:stop] for values in self)


def look(
    model: Model,
    batches: Iterable[StampBatch],
    n: int,
    *,
    width: int,
    n_bands: int,
    embedding: int = 0,
    answers: int = 0,
    pad_to: int = 0,
) -> Looks:
    """Ask a model about stamps, batch by batch; the next one is cut while it thinks.

    It is not asked about stamps without any usable pixel.

    Parameters
    ----------
    model : callable
        Takes flux and inverse variance, float32 (m, bands, size, size), and gives an `Answer`.
    batches : iterable of StampBatch
        Of n sources together.
    n, width, n_bands, embedding, answers : int
        Sources, numbers that the model gives of each, and bands of the stamps; length of the vectors that the model
        gives, and answers of volunteers that it tells, 0 where none.
    pad_to : int
        Fill batches up to so many stamps, for devices that compile a shape.

    Returns
    -------
    Looks
        The distance from the training rows is NaN where the model does not tell it.
    """
    found = Looks.none(n, width=width, n_bands=n_bands, embedding=embedding, answers=answers)
    for batch in ahead(batches):
        rows = batch.sources
        missing = batch.coverage_frac == 0  # (k, bands)
        found.coverage_frac[rows] = batch.coverage_frac.mean(axis=1)
        found.masked_frac[rows] = batch.masked_frac.mean(axis=1)
        found.bands_missing[rows] = missing @ (1 << np.arange(n_bands))
        asked = np.flatnonzero(~missing.all(axis=1))
        if not len(asked):
            continue
        answer = model(*(_chosen(stamps, asked, pad_to) for stamps in (batch.flux, batch.inverse_variance)))
        found.output[rows][asked] = answer.output[: len(asked)]
        if answer.distance is not None:
            found.distance[rows][asked] = answer.distance[: len(asked)]
        if answer.disagreement is not None:
            found.disagreement[rows][asked] = answer.disagreement[: len(asked)]
        if answer.embedding is not None:
            found.embedding[rows][asked] = answer.embedding[: len(asked)]
        if answer.votes is not None:
            found.votes[rows][asked] = answer.votes[: len(asked)]
    return found


def batch_stamps(*, n_bands: int, size_px: int, block_rows: int, provider: str) -> int:
    """Give the number of stamps in a batch: `block_rows`, or fewer where these would take more than `BATCH_BYTES`."""
    stamp = 2 * n_bands * size_px**2 * np.dtype(np.float32).itemsize
    return max(1, min(block_rows, BATCH_BYTES[provider] // stamp))


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Give items, the next of which is made in a thread while one is used."""
    source = iter(items)
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, source, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, source, None)
            yield item


def _chosen(stamps: NDArray[np.float32], rows: NDArray[np.intp], pad_to: int) -> NDArray[np.float32]:
    """Give some stamps, C-contiguous, and stamps of nothing behind them up to `pad_to`."""
    chosen = stamps if len(rows) == len(stamps) else stamps[rows]
    if len(chosen) < pad_to:
        chosen = np.concatenate([chosen, np.zeros((pad_to - len(chosen), *chosen.shape[1:]), np.float32)])
    return np.ascontiguousarray(chosen)
