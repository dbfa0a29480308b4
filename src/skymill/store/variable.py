"""What one array of a tile holds and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

SOURCE = "source"
"""The dimension of rows."""
CHUNK_ROWS = 65_536
"""Rows per chunk: what a cone reads at least, and what a task needs to hold at least."""
CHUNK_PIXELS = 512
"""Size of a chunk along each dimension of an image."""
ZONED = "_healpix_29"
"""The variable that tiles are sorted by and zone maps are made of."""

IDENTITY = {"objectId": "<i8", "_healpix_29": "<i8", "coord_ra": "<f8", "coord_dec": "<f8", "flags": "<i4"}
"""What every tile of sources holds, and its types."""


@dataclass(frozen=True, eq=False)
class Variable:
    """An array of a tile, or (without rows) the form of one that a `TileWriter` fills.

    Attributes
    ----------
    data : ndarray
        (n,) or (n, k, ...) with `source` as the first dimension, or any other shape without it: a grid, an image.
    dims : tuple of str
        Names of the dimensions.
    attrs : dict
        `units`, `long_name`, `ucd`, `flag_meanings`, ... in the words of the CF and xarray conventions.
    columns : tuple of str
        Names of the entries along the last dimension, e.g. features or classes.
    """

    data: NDArray[Any]
    dims: tuple[str, ...] = (SOURCE,)
    attrs: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.data.ndim != len(self.dims):
            raise ValueError(f"expected one dimension name per axis, found {self.dims} for shape {self.data.shape}")
        if self.columns and (len(self.dims) < 2 or len(self.columns) != self.data.shape[-1]):
            raise ValueError(
                f"expected one column name per entry of the last axis, found {len(self.columns)} for {self.data.shape}"
            )
        if self.data.dtype.kind not in "biuf" or not self.data.dtype.isnative:
            raise ValueError(f"expected native numbers or booleans, found dtype {self.data.dtype} of {self.dims}")

    @classmethod
    def of_rows(
        cls, dtype: DTypeLike, *, dim: str | None = None, columns: tuple[str, ...] = (), size: int = 0, **attrs: Any
    ) -> Variable:
        """Give the form of an array with one value per source, or, with `dim`, one vector per source.

        Parameters
        ----------
        dtype : dtype
            Type of the values.
        dim : str, optional
            Name of the second dimension.
        columns : tuple of str
            Names of its entries; `size` where they have none.
        **attrs
            `units`, `long_name`, ...
        """
        if dim is None:
            return cls(np.empty(0, dtype), (SOURCE,), attrs)
        return cls(np.empty((0, len(columns) or size), dtype), (SOURCE, dim), attrs, columns)

    @property
    def is_rows(self) -> bool:
        """Whether the first dimension is that of the sources."""
        return self.dims[:1] == (SOURCE,)

    def chunks(self, chunk_rows: int) -> tuple[int, ...]:
        """Give the chunk shape: whole rows, stretches of observations, or blocks of pixels."""
        if self.is_rows:
            return (chunk_rows, *(max(size, 1) for size in self.data.shape[1:]))
        longest = CHUNK_ROWS if self.data.ndim == 1 else CHUNK_PIXELS
        return tuple(max(1, min(size, longest)) for size in self.data.shape)
