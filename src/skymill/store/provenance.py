"""What made a tile or a version."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import skymill
from skymill.sky import AnyTile
from skymill.store.accounting import Accounting
from skymill.store.keys import digest

PACKAGES = ("numpy", "zarr")
"""They write every tile."""
SOURCE = Path(skymill.__file__).resolve().parent
ROLES = {
    "data": ("input", "rows", "conflicting_ids", "images", "unread"),
    "code": ("algorithm",),
    "model": ("onnx", "segmenter"),
}
"""Ingredients of a tile by what they are; all others are its configuration."""


def receipt(
    tile: AnyTile,
    key: str,
    ingredients: Mapping[str, Any],
    accounting: Accounting,
    *,
    catalogue: str,
    versions: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Say what made a tile and what became of its sources; goes into the tile's attributes.

    Parameters
    ----------
    tile : Tile or ImageTile
    key : str
    ingredients : mapping
        What the key is the digest of.
    accounting : Accounting
    catalogue : str
    versions : mapping of str to str, optional
        Of packages that computed the values, beside those that every tile is written with.

    Notes
    -----
    Versions are recorded, not keyed. The commit is not recorded here: tiles of one key would differ from commit to
    commit although their content is equal. See `made_with`.
    """
    return {
        "key": key,
        "ingredients": dict(ingredients),
        "digests": role_digests(ingredients),
        "catalogue": catalogue,
        "tile": str(tile),
        "accounting": accounting.as_dict(),
        "versions": {**_versions(), **(versions or {})},
    }


def role_digests(ingredients: Mapping[str, Any]) -> dict[str, str | None]:
    """Give the digests of data, code, model and configuration that a key is made of; None of what has no part in it.

    Notes
    -----
    A single ingredient is a digest already: of the input tile's bytes, the ONNX file, the algorithm.
    """
    named = {role: {name: ingredients[name] for name in names if name in ingredients} for role, names in ROLES.items()}
    used = {name for of_role in named.values() for name in of_role}
    rest = {name: value for name, value in ingredients.items() if name not in used}
    found = {role: next(iter(some.values())) if len(some) == 1 else _digest(some) for role, some in named.items()}
    return {**found, "configuration": _digest(rest)}


def _digest(some: Mapping[str, Any]) -> str | None:
    return digest(some) if some else None


@cache
def made_with() -> dict[str, str | None]:
    """Say which skymill runs: its version and, where it runs from a checkout, the commit.

    Returns
    -------
    dict
        `skymill` and `commit`: 40 hexadecimal digits, followed by ``-dirty`` if files differ from it; None if skymill
        does not run from a checkout, or there is no git.
    """
    return {"skymill": skymill.__version__, "commit": _commit(SOURCE)}


def _commit(package: Path) -> str | None:
    """Give the commit of the checkout whose `src` folder holds the package; some other repository's does not count."""
    if _git(package, "rev-parse", "--show-toplevel") != str(package.parents[1]) or package.parent.name != "src":
        return None
    return _git(package, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *words: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


@cache
def _versions() -> dict[str, str]:
    return {"skymill": skymill.__version__, **{name: version(name) for name in PACKAGES}}
