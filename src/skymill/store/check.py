"""Whether a tile file is whole, and is what it says."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skymill.store.encode import DOCUMENT
from skymill.store.errors import CorruptTile
from skymill.store.keys import digest
from skymill.store.source import LocalSource
from skymill.store.zipstore import TileStore


def check_whole(path: str | Path) -> dict[str, Any]:
    """Read a tile to its last byte without knowing its digest.

    Every entry is held against the CRC-32 of the directory, and the directory against its mark: what a crash, a full
    disk or a flipped bit does to a file is seen.

    Returns
    -------
    dict
        The tile's attributes.

    Raises
    ------
    CorruptTile
        If the file is truncated, changed, or no tile.
    """
    store = TileStore(LocalSource(str(path)))
    for name, entry in store.entries.items():
        if zlib.crc32(store.content(name)) != entry.crc32:
            raise CorruptTile(f"{path}: expected a whole tile, found a changed '{name}'; delete the file and run again")
    attributes: dict[str, Any] = json.loads(store.content(DOCUMENT))["attributes"]
    return attributes


def wrong_receipt(receipt: Mapping[str, Any], key: str) -> str | None:
    """Say what is wrong with a receipt for a key; None if nothing is."""
    if receipt.get("key") != key:
        return f"expected the receipt of key {key}, found that of {receipt.get('key')}"
    if "ingredients" in receipt and digest(receipt["ingredients"]) != key:
        return f"expected ingredients of digest {key}, found {digest(receipt['ingredients'])}"
    return None
