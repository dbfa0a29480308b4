"""Bad rows, as real tables have them."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = dict[str, NDArray[Any]]


class Fault(IntEnum):
    """What is wrong with a row."""

    NONE = 0
    NO_POSITION = 1
    ABSURD_POSITION = 2
    DEC_OUT_OF_RANGE = 3
    RA_WRAPPED = 4
    NO_FLUX = 5
    NO_ERROR = 6
    EXACT_DUPLICATE = 7
    CONFLICTING_DUPLICATE = 8


ABSURD = 5.88e8
"""A right ascension found in a real table."""


def draw_faults(rng: np.random.Generator, n: int, share: float) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Choose the faulty rows, and for each duplicate the row it repeats.

    Returns
    -------
    fault : ndarray of int8, (n,)
        A `Fault`, all kinds equally likely.
    original : ndarray of int64, (n,)
        The row itself, except for duplicates: a sound row of the same block.
    """
    fault = np.where(rng.random(n) < share, rng.integers(1, len(Fault), n), 0).astype(np.int8)
    original = np.arange(n)
    sound = np.flatnonzero(fault == Fault.NONE)
    repeated = np.flatnonzero(fault >= Fault.EXACT_DUPLICATE)
    if sound.size == 0:
        fault[repeated] = Fault.NO_POSITION
    else:
        original[repeated] = rng.choice(sound, repeated.size)
    return fault, original


def spoil(columns: Columns, fault: NDArray[np.int8], original: NDArray[np.int64], rng: np.random.Generator) -> Columns:
    """Give the columns with the faults in them; the input is left as it is.

    An exact duplicate repeats all columns; a conflicting one has the original's id and position but fluxes of its own.
    """
    spoilt = {name: column.copy() for name, column in columns.items()}
    where = {kind: np.flatnonzero(fault == kind) for kind in Fault}
    for name, column in spoilt.items():
        rows = where[Fault.EXACT_DUPLICATE]
        if name in ("objectId", "coord_ra", "coord_dec"):
            rows = np.concatenate([rows, where[Fault.CONFLICTING_DUPLICATE]])
        column[rows] = columns[name][original[rows]]
        if name.endswith(("Flux", "FluxErr")):
            column[where[Fault.NO_FLUX]] = np.nan
        if name.endswith("FluxErr"):
            column[where[Fault.NO_ERROR]] = np.nan
    ra, dec = spoilt["coord_ra"], spoilt["coord_dec"]
    ra[where[Fault.NO_POSITION]] = np.nan
    dec[where[Fault.NO_POSITION]] = np.nan
    ra[where[Fault.ABSURD_POSITION]] = ABSURD
    dec[where[Fault.DEC_OUT_OF_RANGE]] = 95.0
    wrapped = where[Fault.RA_WRAPPED]
    ra[wrapped] = ra[wrapped] + np.where(rng.random(wrapped.size) < 0.5, -360.0, 360.0)
    return spoilt
