"""Sums of FITS data: whether what was written is what is read (FITS standard 4.0, appendix J)."""

from __future__ import annotations

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from skymill.survey.images.tile import ImageError

ALL_ONES = 0xFFFFFFFF


def check_sums(stored: bytes, data_start: int, header: fits.Header, where: str) -> None:
    """Hold a unit's bytes against its DATASUM and CHECKSUM cards, where it has them.

    Parameters
    ----------
    stored : bytes
        Header and data, padded to blocks.
    data_start : int
        Where in them the data begin.
    header : Header
        Its cards; an empty value says that no sum was taken.
    where : str
        File and extension, for the message.

    Raises
    ------
    ImageError
    """
    datasum, checksum = (str(header.get(card, "")).strip() for card in ("DATASUM", "CHECKSUM"))
    if not (datasum or checksum):
        return
    words = np.frombuffer(stored, dtype=">u4")
    data = ones_complement_sum(words[data_start // 4 :])
    if datasum and str(data) != datasum:
        raise ImageError(
            f"{where} has DATASUM {datasum} but its data add up to {data}: they changed since they were written; "
            "fetch the file again"
        )
    if checksum and ones_complement_sum(words) not in (0, ALL_ONES):
        raise ImageError(
            f"{where} does not agree with its CHECKSUM {checksum}: it changed since it was written; fetch the file "
            "again"
        )


def ones_complement_sum(words: NDArray[np.uint32]) -> int:
    """Add 32-bit words, carries going round to the lowest bit."""
    total = int(words.sum(dtype=np.uint64))
    while total >> 32:
        total = (total & ALL_ONES) + (total >> 32)
    return total
