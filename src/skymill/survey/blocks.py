"""What passes from the survey to the stages: blocks of sources, rejected rows, parts of the input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymill.sky import Tile
from skymill.survey.flags import SOURCE_FLAGS, Flag
from skymill.survey.ragged import ObservedValue, Ragged

BLOCK_ROWS = 262_144
"""No block has more rows."""


@dataclass(frozen=True)
class SourceSchema:
    """Names and units of what a `SourceBlock` holds."""

    bands: tuple[str, ...]
    """Second dimension of every photometry."""
    fluxes: tuple[str, ...]
    """Names of the fluxes (nJy); each has an error of the same name with `Err` behind it."""
    values: Mapping[str, str]
    """Unit of each column of `SourceBlock.values`, in order; `ebv` is the last where the survey gives reddening."""
    nested: Mapping[str, Mapping[str, ObservedValue]] = field(default_factory=dict)
    """What each observation holds, by name of the nested column."""
    flags: tuple[Flag, ...] = SOURCE_FLAGS
    """What may be odd about a source."""

    @property
    def photometry(self) -> tuple[str, ...]:
        """The keys of `SourceBlock.photometry`: each flux, followed by its error."""
        return tuple(key for name in self.fluxes for key in (name, f"{name}Err"))

    @property
    def row_bytes(self) -> int:
        """Bytes that one source takes in a block, without its observations."""
        return 4 * 8 + 4 + 4 * (len(self.photometry) * len(self.bands) + len(self.values))


@dataclass(frozen=True)
class SourceBlock:
    """Sources as they leave the gate: native-endian, C-ordered, of the declared dtype and unit."""

    object_id: NDArray[np.int64]  # (n,)
    ra: NDArray[np.float64]  # (n,) deg ICRS, in [0, 360)
    dec: NDArray[np.float64]  # (n,) deg ICRS
    healpix29: NDArray[np.int64]  # (n,)
    flags: NDArray[np.int32]  # (n,) bits of SourceSchema.flags
    photometry: Mapping[str, NDArray[np.float32]]  # (n, bands) each, nJy, NaN = not measured
    values: NDArray[np.float32]  # (n, k), columns as in SourceSchema.values
    nested: Mapping[str, Ragged] = field(default_factory=dict)  # n rows each; the values are records (see `nested`)

    def __len__(self) -> int:
        return len(self.object_id)


@dataclass(frozen=True)
class Rejected:
    """Rows of a part that do not become sources."""

    part: str
    row: NDArray[np.int64]  # (m,) row number in the part, from 0
    object_id: NDArray[np.int64]  # (m,) 0 where there is none
    ra: NDArray[np.float64]  # (m,) deg as found, before wrapping; NaN where missing
    dec: NDArray[np.float64]  # (m,)
    reason: NDArray[np.str_]  # (m,) keys of REASONS
    kind: NDArray[np.str_]  # (m,) "excluded" or "quarantined"

    def __len__(self) -> int:
        return len(self.row)


class Gated(NamedTuple):
    """What the gate made of a block of rows: every row is in one of the two."""

    block: SourceBlock
    rejected: Rejected


@dataclass(frozen=True)
class Part:
    """An independent slice of the input, read by one task; small and picklable."""

    name: str
    """Readable and unique in the survey: ``objects.parquet[0:500000]``."""
    n_rows: int | None
    """Rows that will be read; None where that is known only after reading (simulated survey, CSV)."""
    digest: str
    """Of the file's bytes and the row range, not of its path."""
    file: str
    """File, relative to the survey's path; the cell of a simulated survey."""
    start: int = 0
    stop: int = 0
    """Half-open range of rows in the file; of bytes in a CSV file, unpacked: the lines that begin in it."""
    tile: Tile | None = None
    """The tile of a HATS input that holds all rows."""
