"""How large an image may be: a file of a few kilobytes can announce, or unpack to, more than any machine holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skymill.survey.images.tile import ImageError

MAX_PIXELS = 2**29
"""Of one image: 23,170 x 23,170, 2 GiB as float32; the largest survey tiles (Euclid) have 19,200 x 19,200."""
MAX_BYTES = 2**34
"""Of an unpacked file, or of an array of all bands."""
HARMLESS_BYTES = 2**28
"""To which a file may unpack however small it is."""
MOST_UNPACKED = 100
"""Times its size to which a larger one may: images shrink to a half or a tenth, empty ones to a thousandth."""


def check_size(shape: Sequence[int], where: str | Path, *, itemsize: int = 1) -> None:
    """Refuse an array that is too large to be the images of a tile.

    Raises
    ------
    ImageError
    """
    if math.prod(shape[-2:]) > MAX_PIXELS or math.prod(shape) * itemsize > MAX_BYTES:
        raise ImageError(
            f"{where}: expected images of at most {MAX_PIXELS:,} pixels, {MAX_BYTES:,} bytes in all, found an array of "
            f"{' x '.join(map(str, shape))}; cut it into tiles, or fetch the file again if it should be smaller"
        )


def check_numbers(dtype: np.dtype[Any], where: str) -> None:
    """Refuse pixels that are no real numbers of at most 64 bits.

    Raises
    ------
    ImageError
    """
    if dtype.kind not in "iufb" or dtype.itemsize > 8:
        raise ImageError(f"{where}: expected real numbers of at most 64 bits, found {dtype}; convert the array")


def most_unpacked(n_bytes: int) -> int:
    """Give to how many bytes a packed file of a size may unpack."""
    return min(MAX_BYTES, max(HARMLESS_BYTES, MOST_UNPACKED * n_bytes))
