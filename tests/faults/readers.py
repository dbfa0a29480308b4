"""`readers.py RUN TRUTH`: read the current release again and again, and one that was opened at the start.

Writes a line for each reading; ends with an error if it is not given what TRUTH, a JSON file, says of that version.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np

from skymill.release.folder import read_release
from skymill.store import Catalogue, open_catalogue

PAUSE_S = 0.05


def values_digest(catalogue: Catalogue) -> str:
    """Read a cone that holds every source, and each tile, and give a digest of all values."""
    parts = [catalogue.cone(0.0, 0.0, 5.0)]
    parts += [catalogue.tile(*place).load() for place in zip(catalogue.tiles["order"], catalogue.tiles["pixel"])]
    hasher = hashlib.sha256()
    for part in parts:
        for name in ("objectId", "probabilities", "class"):
            hasher.update(np.ascontiguousarray(part[name].to_numpy()).tobytes())
    return hasher.hexdigest()


def read_current(run: Path, truth: dict[str, str]) -> str:
    """Read what `current` leads to; say what was wrong, else nothing."""
    folder = (run / "releases" / "current").resolve()
    promised = read_release(folder)["catalogues"]["mlp"]["version"]
    held = open_catalogue(folder / "catalogues" / "mlp")
    catalogue = open_catalogue(run / "releases" / "current" / "catalogues" / "mlp")
    if held.version != promised:
        return f"{folder} has version {held.version}, its manifest says {promised}"
    found = values_digest(catalogue)
    return (
        "" if found == truth[catalogue.version] else f"{catalogue.version}: {found} is not {truth[catalogue.version]}"
    )


def main(run: Path, truth: dict[str, str], which: str) -> None:
    """Read until somebody ends this process, or something is wrong."""
    opened = open_catalogue(run / "releases" / "DR1" / "catalogues" / "mlp")
    for _ in itertools.count():
        if which == "current":
            wrong = read_current(run, truth)
        else:
            wrong = (
                "" if values_digest(opened) == truth[opened.version] else f"DR1, version {opened.version}, has changed"
            )
        if wrong:
            sys.exit(wrong)
        print(which, flush=True)
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()), sys.argv[3])
