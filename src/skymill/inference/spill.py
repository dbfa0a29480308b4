"""Looks at the sources that one feature tile has on one image, kept until the tile is put together."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymill.inference.looks import Looks
from skymill.store.durable import staged


class Spill(NamedTuple):
    """Looks at some rows of a feature tile."""

    rows: NDArray[np.int64]
    """(n,), which rows of the tile these are."""
    looks: Looks

    def write(self, path: Path) -> None:
        """Write it; the file is whole or absent."""
        with staged(path, staging=path.parent) as file:
            np.savez(file, rows=self.rows, **self.looks._asdict())

    @classmethod
    def read(cls, path: Path) -> Spill:
        """Read what `write` wrote."""
        with np.load(path) as file:
            values = dict(file)
        return cls(values.pop("rows"), Looks(**values))

    def fill(self, whole: Looks) -> None:
        """Put its looks into those at all rows of the tile."""
        for name, values in whole._asdict().items():
            values[self.rows] = getattr(self.looks, name)
