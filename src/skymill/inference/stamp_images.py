"""One image tile, in a worker process: decoded once, all sources that were measured on it looked at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skymill.compute import ComputeError
from skymill.features.source_tile import PixelScaleError, SourceTile
from skymill.inference.kernel import Answer
from skymill.inference.looks import batch_stamps, look
from skymill.inference.session import Session, load_session
from skymill.inference.spill import Spill
from skymill.inference.tiles import ModelRun
from skymill.sessions.entry import ModelFileError
from skymill.sessions.runtime import ProviderError
from skymill.survey.images import TilePixels
from skymill.tiling.image_group import LABEL_BITS


@dataclass(frozen=True)
class Part:
    """The sources that a feature tile has on an image."""

    path: str
    """Of the feature tile."""
    chunks: tuple[int, ...]
    """First rows of the chunks of the tile that hold some."""
    n_rows: int
    spill: str
    """File that keeps what the model says of them."""


@dataclass(frozen=True)
class ImageJob:
    """One image tile and the sources to look at."""

    number: int
    image: SourceTile
    parts: tuple[Part, ...]


def look_at_image(job: ImageJob, *, run: ModelRun) -> None:
    """Ask the model about all sources of an image, feature tile by feature tile; what is kept already stays.

    Batches do not reach across feature tiles, so that what is said of a source depends on its own tile alone.

    Raises
    ------
    ImageError
        If the image cannot be used.
    ComputeError
        If the model cannot be run, or not on pixels of this size: then nor on any other image.
    """
    waiting = [part for part in job.parts if not Path(part.spill).is_file()]
    if not waiting:
        return
    session = _opened(run)
    assert session.schema.stamps is not None
    try:
        pixels = job.image.read(session.schema.stamps)
    except PixelScaleError as error:
        raise ComputeError(str(error)) from error
    for part in waiting:
        _look_at_part(part, job, pixels, session, run)


def _look_at_part(part: Part, job: ImageJob, pixels: TilePixels, session: Session, run: ModelRun) -> None:
    form = session.schema.stamps
    assert form is not None
    rows, ra, dec = _sources(part, job.number)
    n_bands = len(form.bands or job.image.bands)
    batch = batch_stamps(n_bands=n_bands, size_px=form.size_px, block_rows=run.block_rows, provider=run.provider)
    looks = look(
        partial(_ask, session, run.onnx, job.image.psf(pixels, form) if session.schema.quantities else None),
        job.image.cut(pixels, ra, dec, form, batch=batch),
        len(rows),
        n_bands=n_bands,
        **session.schema.widths,
        pad_to=batch if session.pads_blocks else 0,
    )
    Spill(rows, looks).write(Path(part.spill))


def _sources(part: Part, number: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Give the rows of a feature tile that lie on an image, and their positions in degrees, (n,) each."""
    from skymill.store import open_tile  # Zarr, which the coordinator does without

    source = open_tile(part.path)
    found = []
    for start in part.chunks:
        chunk = source.rows(start, start + source.chunk_rows, ["objectId", "coord_ra", "coord_dec"])
        here = np.flatnonzero(chunk["objectId"] >> LABEL_BITS == number)
        found.append((here + start, chunk["coord_ra"][here], chunk["coord_dec"][here]))
    rows, ra, dec = (np.concatenate(each) for each in zip(*found, strict=True))
    return rows, ra, dec


def _opened(run: ModelRun) -> Session:
    try:
        return load_session(run.onnx, run.onnx_sha256, run.provider)
    except (ModelFileError, ProviderError, OSError) as error:
        raise ComputeError(str(error)) from error


def _ask(session: Session, source: str, psf: NDArray[np.float32] | None, *stamps: NDArray[np.float32]) -> Answer:
    """Ask about stamps of one image, with the PSFs of its bands where the model takes them."""
    blur = [] if psf is None else [np.repeat(psf[None], len(stamps[0]), axis=0)]
    try:
        return session(*stamps, *blur)
    except Exception as error:  # the errors of ONNX Runtime have no common base but this
        raise ComputeError(f"{source}: ONNX Runtime cannot run it on stamps: {error}") from error
