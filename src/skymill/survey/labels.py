"""Tables of true classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Labels:
    """Rows of a label table whose class is one of those asked for; the others are counted."""

    row: NDArray[np.int64]  # (n,) row number in the label table, files in order
    label: NDArray[np.str_]  # (n,) class, one of LabelSettings.classes
    object_id: NDArray[np.int64] | None  # (n,) for match "id"
    ra: NDArray[np.float64] | None  # (n,) deg, for match "sky"
    dec: NDArray[np.float64] | None  # (n,)
    pm_ra: NDArray[np.float64] | None  # (n,) mas/yr, mu_alpha cos(delta), where declared; 0 where not measured
    pm_dec: NDArray[np.float64] | None  # (n,)
    counts: Mapping[str, int]
    """`rows` = `used` + `no_class` + `other_class` + one entry per reason of `skymill.survey.flags.REASONS`."""
    other_classes: Mapping[str, int]
    """Rows of each class that is not asked for."""
    digest: str
    """Of the bytes of the table's files."""

    def __len__(self) -> int:
        return len(self.row)
