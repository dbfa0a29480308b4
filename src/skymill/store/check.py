"""Whether a tile file is whole, and is what it says."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skymill.store.accounting import Accounting
from skymill.store.encode import DOCUMENT
from skymill.store.errors import CorruptTile
from skymill.store.keys import digest
from skymill.store.source import LocalSource
from skymill.store.zipstore import TileStore


def check_whole(path: str | Path) -> dict[str, Any]:
    """Read a tile to its last byte without knowing its digest.

    Every entry is held against the CRC-32 of the directory, the header before it against what the directory says of it,
    and the directory against its mark: what a crash, a full disk or a flipped bit does to a file is seen.

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
    _ = store.layout  # bounds what the entries take in memory
    _check_headers(Path(path))
    for name, entry in store.entries.items():
        content = store.content(name)
        if zlib.crc32(content) != entry.crc32:
            raise CorruptTile(f"{path}: expected a whole tile, found a changed '{name}'; delete the file and run again")
        if "/c/" in name:
            store.check_chunk(name, content)
        elif not name.endswith(DOCUMENT):
            raise CorruptTile(f"{path}: expected a whole tile, found '{name}'; delete the file and run again")
    attributes: dict[str, Any] = store.document["attributes"]
    return attributes


def _check_headers(path: Path) -> None:
    """Make sure that each entry's header is what the directory says of it, and that nothing stands between entries."""
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        end = 0
        for info in archive.infolist():
            header = info.FileHeader(zip64=False)
            file.seek(info.header_offset)
            if info.header_offset != end or file.read(len(header)) != header:
                raise CorruptTile(
                    f"{path}: expected a whole tile, found a changed header of '{info.filename}'; delete the file and "
                    "run again"
                )
            end += len(header) + info.file_size
        if end != archive.start_dir:
            raise CorruptTile(
                f"{path}: expected a whole tile, found bytes that no entry has; delete the file and run again"
            )


def check_receipt(receipt: object, path: str | Path) -> None:
    """Make sure that a receipt has what is counted and compared.

    Raises
    ------
    CorruptTile
        If it has not.
    """
    try:
        assert isinstance(receipt, Mapping) and isinstance(receipt.get("ingredients", {}), Mapping)
        Accounting.from_dict(receipt["accounting"])
        whole = isinstance(receipt["key"], str)
    except (AssertionError, KeyError, TypeError, AttributeError, ValueError):
        whole = False
    if not whole:
        raise CorruptTile(f"{path}: expected a receipt with key and accounting, found another; do not use the file")


def wrong_receipt(receipt: Mapping[str, Any], key: str) -> str | None:
    """Say what is wrong with a receipt for a key; None if nothing is."""
    if receipt.get("key") != key:
        return f"expected the receipt of key {key}, found that of {receipt.get('key')}"
    if "ingredients" in receipt and digest(receipt["ingredients"]) != key:
        return f"expected ingredients of digest {key}, found {digest(receipt['ingredients'])}"
    return None
