"""What each file of the workflow was made from, written when its job ends: `<output>/receipts/`, as the output itself.

Nothing is decided by a receipt: what runs is decided by Snakemake and the keys of tiles. It is there to tell a person
which ingredient differs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from skymill.store.durable import staged
from skymill.store.keys import file_sha256
from skymill.store.paths import STAGING

FOLDER = "receipts"
SHOWN = 3
"""Differences of one ingredient that are named; the others are counted."""


class Difference(NamedTuple):
    """One ingredient that is not what it was."""

    ingredient: str
    """`settings`, `code`, `data`, `labels`, `model`, `training set`, `onnx`, `inputs` or `missing`."""
    text: str

    def __str__(self) -> str:
        return f"{self.ingredient}: {self.text}"


@dataclass(frozen=True)
class Receipt:
    """What one output of the workflow was made from.

    Attributes
    ----------
    rule, output : str
        The rule and the file it declared.
    decides : mapping
        Digests by which the workflow decides, as they stand in paths and `params`.
    explains : mapping
        The same by ingredient, in full, so that a difference can be named.
    inputs : mapping
        SHA-256 of each input file of the job.
    versions : mapping
        What ran; recorded only.
    """

    rule: str
    output: str
    decides: Mapping[str, str] = field(default_factory=dict)
    explains: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)

    def write(self, results: Path) -> None:
        """Write it to its place below the folder of a run."""
        text = json.dumps(asdict(self), sort_keys=True, indent=1, ensure_ascii=False)
        with staged(receipt_path(results, self.output), staging=results / FOLDER / STAGING) as file:
            file.write(text.encode() + b"\n")

    @classmethod
    def read(cls, path: Path) -> Receipt | None:
        """Read a receipt; None where there is none.

        Raises
        ------
        ValueError
            If the file is no receipt.
        """
        try:
            return cls(**json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: expected a receipt, found {error}; it may be deleted") from error


class Hasher:
    """SHA-256 of files, each read once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __call__(self, path: str) -> str:
        """Give the digest of a file; empty where there is none."""
        if path not in self._known:
            self._known[path] = file_sha256(path) if Path(path).is_file() else ""
        return self._known[path]


def receipt_path(results: Path, output: str | Path) -> Path:
    """Give the place of the receipt of a file below `results`."""
    inside = os.path.relpath(output, results)
    return (results / FOLDER / inside).with_suffix(".json")


def compare(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """Name what differs between the ingredients of then and now, both by ingredient."""
    found = []
    for ingredient in sorted({*then, *now}):
        old, new = _flat(then.get(ingredient)), _flat(now.get(ingredient))
        changed = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
        texts = [_difference(name, name in old, name in new, old.get(name), new.get(name)) for name in changed]
        more = [f"{len(texts) - SHOWN} more"] if len(texts) > SHOWN else []
        if texts:
            found.append(Difference(ingredient, ", ".join([*texts[:SHOWN], *more])))
    return found


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Give the leaves of nested mappings under their dotted names."""
    if not isinstance(value, Mapping):
        return {} if value is None and not name else {name: value}
    return {
        leaf: content
        for key, inner in value.items()
        for leaf, content in _flat(inner, f"{name}.{key}" if name else str(key)).items()
    }


def _difference(name: str, was: bool, is_now: bool, old: Any, new: Any) -> str:
    if not was or not is_now:
        return f"{name} {'is new' if is_now else 'is gone'}".strip()
    if _is_digest(old) and _is_digest(new):
        return f"{name} has changed".strip() if name else f"{old[:12]} is now {new[:12]}"
    return f"{name} {_brief(old)} is now {_brief(new)}".strip()


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) in (12, 64) and not set(value) - set("0123456789abcdef")


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
