"""One tile of the catalogue of a model that looks at pixels, put together from the looks at its sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymill.inference.form import BANDS_MISSING, COVERAGE, MASKED
from skymill.inference.kernel import NO_PIXELS, UNSCORABLE, Answer
from skymill.inference.looks import Looks
from skymill.inference.products import product_of
from skymill.inference.session import Session, load_session
from skymill.inference.spill import Spill
from skymill.inference.tiles import ModelRun, TileJob, write_rows
from skymill.store import Pool, digest
from skymill.store.manifest import AnyEntry
from skymill.store.variable import IDENTITY

if TYPE_CHECKING:
    from skymill.store import TileReader


class Place(NamedTuple):
    """Where in a feature tile the sources of an image are."""

    image: str
    """Name of the image tile."""
    chunks: tuple[int, ...]
    """First rows of the chunks that hold some."""
    n_rows: int
    spill: str
    """File of the looks at them."""


@dataclass(frozen=True)
class StampJob(TileJob):
    """One feature tile whose sources a model looks at."""

    images: str
    """Digest of the images that they were measured on."""
    places: Mapping[int, Place]
    """By number of the image."""

    def pixels(self, unread: frozenset[int] = frozenset()) -> dict[str, Any]:
        """What enters the key besides the feature tile, where some images cannot be read."""
        lost = sorted(place.image for number, place in self.places.items() if number in unread)
        return {"images": self.images, **({"unread": lost} if lost else {})}


def gather_tile(job: StampJob, *, run: ModelRun, unread: frozenset[int]) -> AnyEntry:
    """Put a tile together and into the pool; one that stands there is not made again.

    Parameters
    ----------
    job : StampJob
    run : ModelRun
    unread : set of int
        Numbers of the images that could not be read. A tile with sources on some of them has a key of its own, so that
        the next run tries again.

    Raises
    ------
    ModelFileError, ProviderError
        If the model cannot be opened.
    CorruptTile
        If the feature tile is damaged.
    ValueError
        If it was, when its images were looked for.
    """
    ingredients = run.all_ingredients(job.sha256, job.pixels(unread))
    done = Pool(run.catalogue).entry(job.tile, digest(ingredients))
    if done is not None:
        return done
    from skymill.store import open_tile  # Zarr, which the coordinator does without

    session = load_session(run.onnx, run.onnx_sha256, run.provider)
    assert session.schema.stamps is not None
    source = open_tile(job.path)
    if sum(place.n_rows for place in job.places.values()) != source.n_rows:
        raise ValueError(f"{job.path}: could not be read when the images of its sources were looked for; run again")
    bands = tuple(session.schema.stamps.bands or run.reading["bands"])
    schema = session.schema
    looks = Looks.none(source.n_rows, n_bands=len(bands), **schema.widths)
    for number, place in job.places.items():
        if number not in unread:
            Spill.read(Path(place.spill)).fill(looks)
    return write_rows(job.tile, _rows(source, looks, session), source, session, run, ingredients, bands)


def _rows(source: TileReader, looks: Looks, session: Session) -> Iterator[dict[str, NDArray[Any]]]:
    """Judge what was seen, chunk by chunk."""
    start = 0
    for block in source.blocks(list(IDENTITY)):
        stop = start + len(block["flags"])
        here, start = looks.rows(start, stop), stop
        answer = Answer(
            here.output,
            here.distance if session.gives_distance else None,
            here.embedding if session.schema.embedding else None,
            here.disagreement if session.gives_disagreement else None,
            here.votes if session.schema.votes else None,
        )
        yield {
            **product_of(session).rows(block, answer, _lacking(here)),
            COVERAGE: here.coverage_frac,
            MASKED: here.masked_frac,
            BANDS_MISSING: here.bands_missing,
        }


def _lacking(looks: Looks) -> NDArray[np.int32]:
    """Say of each row without an answer why it has none, (n,): nobody could look, or there was nothing to see."""
    unseen, empty = np.isnan(looks.coverage_frac), looks.coverage_frac == 0
    return np.select([unseen, empty], [np.int32(NO_PIXELS.mask), np.int32(UNSCORABLE.mask)], np.int32(0))
