"""What stands against what where two releases are compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from skymill.release.folder import CATALOGUES, MANIFEST, ReleaseError, Releases, read_release
from skymill.store import open_catalogue
from skymill.store.forms import LARGEST_DOCUMENT
from skymill.store.kinds import IMAGES
from skymill.store.source import read_whole

NOT_COMPARED = ("sources", "features")


class Sides(NamedTuple):
    """Two catalogues to compare.

    Attributes
    ----------
    name : str
        The model, where releases are compared; else empty.
    before, after : str
        Locations.
    features : (str, str)
        Locations of the catalogues of features; empty for none.
    of_images : bool
        Whether their tiles are those of images, which are compared by their keys alone.
    """

    name: str
    before: str
    after: str
    features: tuple[str, str]
    of_images: bool = False


def compared(before: str, after: str, run: str | Path, *, features: tuple[str, str] = ("", "")) -> Iterator[Sides]:
    """Give the catalogues to compare: of two releases each model's and that of images, if both have it, else the two
    themselves.

    Parameters
    ----------
    before, after : str
        Names of releases of the run, folders or URLs of releases, or locations of catalogues.
    run : Path
        The run's folder.
    features : (str, str)
        Catalogues of features; those of the releases where these have some.

    Raises
    ------
    ReleaseError
        If only one of them is a release, or they have no model in common.
    """
    here, there = (_release(each, Path(run)) for each in (before, after))
    if here is None and there is None:
        of_images = all(open_catalogue(location).kind is IMAGES for location in (before, after))
        yield Sides("", before, after, features, of_images)
        return
    if here is None or there is None:
        raise ReleaseError(f"diff: expected two releases or two catalogues, found one of each: {before}, {after}")
    (base, catalogues), (other_base, others) = here, there
    models = [
        name
        for name, kind in catalogues.items()
        if name in others and name not in NOT_COMPARED and kind == others[name]
    ]
    if not models:
        raise ReleaseError(
            f"diff: {before} has {', '.join(catalogues)}, {after} has {', '.join(others)}: none in common"
        )
    both = "features" in catalogues and "features" in others
    own = (f"{base}/features", f"{other_base}/features") if both and features == ("", "") else features
    for name in models:
        of_images = catalogues[name] == IMAGES.name
        yield Sides(name, f"{base}/{name}", f"{other_base}/{name}", own, of_images)


def _release(location: str, run: Path) -> tuple[str, dict[str, str]] | None:
    """Give where the catalogues of a release stand, and the kind of each by name; None of what is no release."""
    if location in Releases(run).names():
        location = str(Releases(run).folder(location))
    base = location.rstrip("/")
    try:
        told = json.loads(read_whole(f"{base}/{MANIFEST}", most=LARGEST_DOCUMENT))
    except FileNotFoundError:
        return None
    if "release" not in told:  # of a version
        return None
    catalogues = read_release(base)["catalogues"]
    return f"{base}/{CATALOGUES}", {name: catalogues[name].get("kind") or "" for name in sorted(catalogues)}
