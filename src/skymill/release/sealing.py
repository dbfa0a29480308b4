"""The entry of rule `release_seal`: one version of a catalogue from the manifests of all its groups."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from skymill import store
from skymill.store import Accounting, GroupManifest

SOURCES = "sources"


def seal(
    catalogue: str, manifests: Iterable[str | Path], *, sources: Iterable[str | Path], output: str | Path
) -> str:
    """Seal a catalogue of a run.

    Every catalogue accounts for every row of the survey: rows that never reached a tile (no position, not primary) and
    rows that the source catalogue put aside (duplicates) are counted with it.

    Parameters
    ----------
    catalogue : str
        Its name below `<output>/catalogues`.
    manifests : iterable of Path
        The catalogue's manifests, of all groups.
    sources : iterable of Path
        The source catalogue's manifests, of all groups.
    output : Path
        Folder of the run.

    Returns
    -------
    str
        The version.

    Raises
    ------
    AccountingError
        If rows are missing or counted twice.
    StoreError
        If tiles are missing or overlap.
    """
    plan = json.loads((Path(output) / "tiling" / "plan.json").read_text())
    gate = plan["gate"]
    refused = {"quarantined": gate["quarantined"], "excluded": gate["excluded"]}
    unplaced = [Accounting(n_in=gate["n_in"] - gate["n_rows"], **refused)]
    if catalogue != SOURCES:
        unplaced += [_put_aside(GroupManifest.read(path)) for path in sources]
    return store.seal(
        Path(output) / "catalogues" / catalogue,
        [GroupManifest.read(path) for path in manifests],
        unplaced=Accounting.total(unplaced),
        n_in=gate["n_in"],
        about={"survey": plan["survey"]},
    )


def _put_aside(sources: GroupManifest) -> Accounting:
    """Count the rows that the tiles of a group of sources do not hold; a failed tile is counted where it is missing."""
    parts = [entry.accounting for entry in sources.tiles]
    return Accounting.total(
        Accounting(
            n_in=part.n_quarantined + part.n_excluded, quarantined=part.quarantined, excluded=part.excluded
        )
        for part in parts
    )
