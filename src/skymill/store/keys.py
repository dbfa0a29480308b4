"""Digests: of settings and inputs, of files, of code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skymill.store.trouble import explained


def canonical_json(value: Any) -> bytes:
    """Write JSON of which there is one form only: sorted keys, no spaces, UTF-8, no NaN.

    Raises
    ------
    TypeError, ValueError
        If `value` holds something that JSON cannot express exactly.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def digest(mapping: Mapping[str, Any]) -> str:
    """Give the SHA-256 (64 hexadecimal digits) of the canonical JSON of a mapping."""
    return hashlib.sha256(canonical_json(dict(mapping))).hexdigest()


def short(digest: str) -> str:
    """Give the part of a digest that stands in paths: its first 12 digits."""
    return digest[:12]


def file_sha256(path: str | Path) -> str:
    """Give the SHA-256 of a file's bytes."""
    with explained(path, "reading"), Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
