"""What each release said of a source, and which one changed it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from skymill.release.explaining.answers import stored_answer
from skymill.release.explaining.finding import find, find_at, key_at, tile_at
from skymill.release.folder import CATALOGUES, Releases
from skymill.store import Catalogue, open_catalogue

SCORED, SAME_TILE, ABSENT, NO_CATALOGUE, GONE = "read", "same tile", "not in it", "no such catalogue", "gone"


@dataclass(frozen=True)
class Step:
    """What a release says of a source.

    Attributes
    ----------
    release, time : str
        Its name, and when it was published.
    state : str
        `read`; `same tile` as in the release before, so that nothing can have changed; `not in it`, of the source;
        `no such catalogue`; `gone`, of the release.
    version, key : str
        Of the catalogue and of the tile that holds the source; empty where there is none.
    kind : str or None
        Its class; None where it was not scored.
    probabilities : mapping of str to float
    changed : bool
        Whether it differs from the release before that one knows of.
    """

    release: str
    time: str
    state: str
    version: str = ""
    key: str = ""
    kind: str | None = None
    probabilities: Mapping[str, float] | None = None
    changed: bool = False

    @property
    def said(self) -> str:
        """All that it says of the source, so that equal answers are equal texts."""
        return f"{self.state == ABSENT} {self.kind} {self.probabilities}"


def history(releases: Releases, model: str, object_id: int, healpix29: int) -> list[Step]:
    """Follow a source through the releases, in the order in which they were published.

    Parameters
    ----------
    releases : Releases
    model : str
        Name of the catalogue.
    object_id, healpix29 : int
        The source, and where it is now. Where a release has it elsewhere, all its ids are read.
    """
    return list(_steps(releases, model, object_id, healpix29))


def last_change(steps: list[Step]) -> str | None:
    """Name the release that changed a source last; None where none has."""
    return next((step.release for step in reversed(steps) if step.changed), None)


def _steps(releases: Releases, model: str, object_id: int, healpix29: int) -> Iterator[Step]:
    before: Step | None = None
    for name, time in releases.published().items():
        step = _step(releases, name, time, model, object_id, healpix29, before)
        if step.state in (GONE, NO_CATALOGUE):
            yield step
            continue
        told = replace(step, changed=step.said != before.said if before else step.state != ABSENT)
        yield told
        before = replace(told, state=SCORED if told.state == SAME_TILE else told.state)


def _step(
    releases: Releases, name: str, time: str, model: str, object_id: int, healpix29: int, before: Step | None
) -> Step:
    folder = releases.folder(name)
    if not folder.is_dir():
        return Step(name, time, GONE)
    if not (folder / CATALOGUES / model).exists():
        return Step(name, time, NO_CATALOGUE)
    catalogue = open_catalogue(folder / CATALOGUES / model)
    tile = tile_at(catalogue, healpix29)
    key = "" if tile is None else key_at(catalogue, tile)
    if before is not None and key and key == before.key:
        return replace(before, release=name, time=time, state=SAME_TILE, version=catalogue.version, changed=False)
    return _read(Step(name, time, SCORED, catalogue.version), catalogue, object_id, healpix29)


def _read(step: Step, catalogue: Catalogue, object_id: int, healpix29: int) -> Step:
    place = find_at(catalogue, object_id, healpix29) or find(catalogue, object_id)
    if place is None:
        return replace(step, state=ABSENT)
    answer = stored_answer(catalogue.reader(*place.tile), place.row)
    key = key_at(catalogue, place.tile)
    return replace(step, key=key, kind=answer["class"], probabilities=answer["probabilities"])
