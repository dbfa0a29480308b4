"""The JSON files of a catalogue: for people and programs to read, with a checksum of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from skymill.store.errors import FormatError, StoreError
from skymill.store.keys import digest

FORMAT = "skymill_format"
CHECKSUM = "checksum"
AGAIN = "delete it and run again"
LOOK = "see `skymill verify`"


def to_document(values: Mapping[str, Any]) -> bytes:
    """Write sorted JSON that ends with a digest of what it says; equal content gives equal bytes."""
    plain = {name: value for name, value in values.items() if name != CHECKSUM}
    marked = {**plain, CHECKSUM: digest(plain)}
    return json.dumps(marked, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n"


def read_checked(path: Path) -> dict[str, Any]:
    """Read a file that `to_document` wrote, of whatever kind.

    Raises
    ------
    FileNotFoundError
        If there is none.
    StoreError
        If it is not as it was written.
    """
    content = path.read_bytes()
    try:
        values: dict[str, Any] = json.loads(content)
        whole = to_document(values) == content
    except (TypeError, AttributeError, ValueError):
        whole = False
    if not whole:
        raise StoreError(f"{path}: it is not as it was written; {LOOK}")
    return values


def from_document(
    content: bytes, *, kind: str, where: object, newest: int, has: Set[str], mend: str = AGAIN
) -> dict[str, Any]:
    """Read what `to_document` wrote, to the last bit.

    Parameters
    ----------
    content : bytes
    kind : str
        What the file is, e.g. `group manifest`.
    where : object
        Its path or URL.
    newest : int
        The latest `skymill_format` that can be read.
    has : set of str
        Names that a document of this kind has.
    mend : str, optional
        What to do if it is not as it was written.

    Raises
    ------
    FormatError
        If a newer skymill wrote it.
    StoreError
        If it is something else, or not as it was written.
    """
    try:
        values: dict[str, Any] = json.loads(content)
        newer = values[FORMAT] > newest
        whole = newer or to_document(values) == content
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise StoreError(f"{where}: expected a {kind}, found {error!r}; {mend}") from error
    if newer:
        raise FormatError(
            f"{where}: expected a {kind} of format {newest} or older, found {values[FORMAT]}; install a newer skymill"
        )
    if not whole or not has <= values.keys():
        raise StoreError(f"{where}: expected a {kind}, found something else; {mend}")
    return values
