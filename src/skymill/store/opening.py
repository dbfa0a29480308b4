"""Finding a sealed version, here or on a web server, and opening it as the kind of catalogue that it is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Set
from pathlib import Path
from typing import Any

from skymill.store.catalogue import Catalogue
from skymill.store.errors import StoreError
from skymill.store.forms import Form, PointerForm, VersionForm, read_document
from skymill.store.images import ImageCatalogue
from skymill.store.kinds import IMAGES, kind_of
from skymill.store.paths import CURRENT, MANIFEST, VERSIONS
from skymill.store.sealing import MANIFEST_HAS, POINTER_FORMAT, POINTER_HAS, VERSION_FORMAT
from skymill.store.source import is_url


def open_catalogue(location: str | Path) -> Catalogue:
    """Open a catalogue.

    Parameters
    ----------
    location : Path or str
        Path or URL of a catalogue's folder (its current version is opened) or of a version's folder.

    Returns
    -------
    Catalogue
        An `ImageCatalogue` where its tiles are those of images, as in `segmentation`.

    Raises
    ------
    FileNotFoundError
        If no catalogue stands there.
    FormatError
        If a newer skymill wrote it.
    StoreError
        If its manifest or its table of tiles is not as it was written.

    Examples
    --------
    ::

        catalogue = skymill.open_catalogue("results/catalogues/classification")
        near = catalogue.cone(ra=53.1, dec=-27.8, radius_deg=0.1)
        everything = catalogue.to_xarray(["objectId", "probability"])
    """
    base = str(location).rstrip("/")
    if not is_url(base) and os.path.realpath(base) != os.path.abspath(base):  # noqa: PTH100
        base = os.path.realpath(base)  # of a release: who opened it keeps reading it, whatever `current` is now
    version = None
    with contextlib.suppress(FileNotFoundError):  # a version's folder has no pointer
        version = _document(base, CURRENT, POINTER_HAS, PointerForm, POINTER_FORMAT)["version"]
        base = f"{base}/{VERSIONS}/{version}"
    try:
        manifest = _document(base, MANIFEST, MANIFEST_HAS, VersionForm, VERSION_FORMAT)
    except FileNotFoundError:
        below = [] if is_url(base) else [str(path.parent) for path in _catalogues_below(Path(base))]
        hint = f"did you mean {' or '.join(sorted(below))}?" if below else "a catalogue appears when it is sealed"
        raise FileNotFoundError(f"{base}: expected a catalogue's {CURRENT} or {MANIFEST}, found none; {hint}") from None
    if version not in (None, manifest["version"]):
        raise StoreError(f"{base}: expected version {version}, found {manifest['version']}; run `skymill verify`")
    return (ImageCatalogue if kind_of(manifest["content"]) is IMAGES else Catalogue)(base, manifest)


def _document(base: str, name: str, has: Set[str], form: type[Form], newest: int) -> dict[str, Any]:
    return read_document(f"{base}/{name}", form, kind="catalogue", newest=newest, has=has)


def _catalogues_below(folder: Path) -> list[Path]:
    return [*folder.glob(f"*/{CURRENT}"), *folder.glob(f"*/*/{CURRENT}")]
