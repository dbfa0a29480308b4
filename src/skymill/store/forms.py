"""The form that the documents of a version have, held against them before anything in them is used.

A checksum tells that a document is as somebody wrote it, not that its author meant well: names in it become paths.
"""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from skymill.store.document import LOOK, from_document
from skymill.store.errors import StoreError
from skymill.store.source import read_whole

LARGEST_DOCUMENT = 1 << 24
"""Bytes up to which a document is read: that of a version has some kilobytes."""


def _plain(name: str) -> str:
    """Let pass what names a file below a folder and nothing else."""
    if not {"", ".", ".."}.isdisjoint(name.split("/")) or "\\" in name:
        raise ValueError("expected the plain name of a file below this folder")
    if not name.isprintable():
        raise ValueError("expected a name without control characters")
    return name


def _single(name: str) -> str:
    """Let pass what names something right in a folder."""
    if "/" in name:
        raise ValueError("expected the plain name of a file in this folder")
    return _plain(name)


Count = Annotated[int, Field(ge=0)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}\z")]
Version = Annotated[str, Field(pattern=r"^[0-9a-f]{12}\z")]
FileBelow = Annotated[str, AfterValidator(_plain)]
FileName = Annotated[str, AfterValidator(_single)]


class Form(BaseModel):
    """Values of a document; those that are not named here may be anything."""

    model_config = ConfigDict(strict=True, extra="allow")


class Account(Form):
    """What `Accounting.as_dict` gives."""

    model_config = ConfigDict(strict=True, extra="forbid")

    n_in: Count
    n_ok: Count
    n_flagged: Count
    flagged: dict[str, Count]
    quarantined: dict[str, Count]
    excluded: dict[str, Count]


class VersionContent(Form):
    """What the name of a version is the digest of."""

    catalogue: FileName
    settings: str
    n_tiles: Count
    n_rows: Count
    accounting: Account
    unplaced: Account
    tables: dict[FileName, Digest]
    kind: Literal["images"] | None = None


class VersionForm(Form):
    """The manifest of a version."""

    version: Version
    content: VersionContent
    files: dict[FileName, Digest]


class PointerForm(Form):
    """The pointer to the version of a catalogue that is opened."""

    version: Version
    groups: list[FileBelow]


def read_document(location: str | Path, form: type[Form], *, kind: str, newest: int, has: Set[str]) -> dict[str, Any]:
    """Read a document that somebody else may have written.

    Parameters
    ----------
    location : Path or str
        Path or URL.
    form : class
        What its values have to be.
    kind, newest, has
        As for `from_document`.

    Raises
    ------
    FileNotFoundError
        If there is none.
    FormatError
        If a newer skymill wrote it.
    StoreError
        If it is something else, too large, or not as it was written; if a value has another type, or a name could lead
        out of the document's folder.
    """
    content = read_whole(location, most=LARGEST_DOCUMENT)
    try:
        values = from_document(content, kind=kind, where=location, newest=newest, has=has, mend=LOOK)
        form.model_validate(values)
    except RecursionError as error:
        raise StoreError(f"{location}: expected a {kind}, found brackets in brackets; do not use it") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"] if part != "[key]")
        found = repr(first["input"])[:100]
        told = first["msg"].removeprefix("Value error, ")
        raise StoreError(
            f"{location}: {place!r}: {told}, found {found}; do not use it, and ask whoever gave it to you for another"
        ) from None
    return values
