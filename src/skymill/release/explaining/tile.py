"""Where a tile comes from, told by its file alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skymill.store import file_sha256
from skymill.store.check import check_whole, wrong_receipt
from skymill.store.provenance import role_digests

OF_MODEL = ("model", "model_kind", "classes", "training_set")


def explain_tile(path: str | Path) -> dict[str, Any]:
    """Say where a tile comes from; nothing but its file is read, wherever it lies.

    Returns
    -------
    dict
        `path`, `sha256`, `catalogue`, `tile`, `n_rows`, `key`, whether the key `fits` what it is made of, `digests` of
        data, code, model and configuration, and of the receipt `ingredients`, `accounting` and `versions`; of a model's
        tile also `model`, `model_kind`, `classes` and `training_set`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CorruptTile
        If it is not whole, or no tile.
    """
    attributes = check_whole(path)
    made = attributes["receipt"]
    of_model: dict[str, Any] = {name: attributes[name] for name in OF_MODEL if name in attributes}
    return {
        "path": str(path),
        "sha256": file_sha256(path),
        "catalogue": made.get("catalogue", attributes.get("catalogue", "")),
        "tile": made.get("tile", ""),
        "n_rows": attributes["n_rows"],
        "key": made["key"],
        "fits": wrong_receipt(made, made["key"]) is None,
        "digests": role_digests(made["ingredients"]),
        **of_model,
        "ingredients": made["ingredients"],
        "accounting": made["accounting"],
        "versions": made.get("versions", {}),
    }
