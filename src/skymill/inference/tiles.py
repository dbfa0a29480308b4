"""One feature tile to one tile of a model's catalogue, in a worker process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skymill.features.kernel import FEATURES
from skymill.inference.form import places, tile_rows
from skymill.inference.kernel import Scores, gate, score
from skymill.inference.products import product_of
from skymill.inference.session import Session, load_session
from skymill.inference.settings import PRECISION
from skymill.sky import AnyTile
from skymill.store import Accounting, Pool, digest, receipt
from skymill.store.flags import FlagTally
from skymill.store.manifest import AnyEntry, entry_of
from skymill.store.variable import IDENTITY

if TYPE_CHECKING:
    from skymill.store import TileReader


class MissingFeaturesError(ValueError):
    """A feature catalogue lacks what a model needs."""


@dataclass(frozen=True)
class ModelRun:
    """What all tiles of a catalogue share."""

    catalogue: str
    """Folder of the catalogue."""
    name: str
    onnx: str
    onnx_sha256: str
    provider: str
    block_rows: int
    algorithm: str
    """Digest of the code that computes values."""
    reading: Mapping[str, Any] = field(default_factory=dict)
    """What decides which pixels are read, for a model that looks at them (`features.pixels.reading`)."""

    @property
    def ingredients(self) -> dict[str, Any]:
        """What enters every key, besides the tile itself."""
        return {
            "onnx": self.onnx_sha256,
            "settings": {"block_rows": self.block_rows},
            "algorithm": self.algorithm,
            "provider": self.provider,
            "precision": PRECISION,
            **({"reading": dict(self.reading)} if self.reading else {}),
        }

    def key(self, input_sha256: str, pixels: Mapping[str, Any] = {}) -> str:
        """Key of the tile made from the feature tile of a digest, and from pixels."""
        return digest(self.all_ingredients(input_sha256, pixels))

    def all_ingredients(self, input_sha256: str, pixels: Mapping[str, Any] = {}) -> dict[str, Any]:
        """What the key of the tile is the digest of."""
        return {"input": input_sha256, **pixels, **self.ingredients}


@dataclass(frozen=True)
class TileJob:
    """One feature tile to run the model over."""

    tile: AnyTile
    path: str
    sha256: str
    n_rows: int
    key: str


def classify_tile(job: TileJob, *, run: ModelRun) -> AnyEntry:
    """Run the model over a feature tile and put the result into the pool; a tile that stands there is not made again.

    Raises
    ------
    MissingFeaturesError
        If the tile lacks features of the model; names them all.
    ModelFileError, ProviderError
        If the model cannot be run.
    CorruptTile
        If the feature tile is damaged.
    """
    done = Pool(run.catalogue).entry(job.tile, job.key)
    if done is not None:
        return done
    from skymill.store import open_tile  # Zarr, which the coordinator does without

    session = load_session(run.onnx, run.onnx_sha256, run.provider)
    source = open_tile(job.path)
    columns = feature_columns(source, [feature.name for feature in session.schema.inputs])
    rows = (tile_rows(block, scores) for block, scores in _scored(source, session, columns, run.block_rows))
    return write_rows(job.tile, rows, source, session, run, run.all_ingredients(job.sha256))


def write_rows(
    tile: AnyTile,
    blocks: Iterable[Mapping[str, NDArray[Any]]],
    source: TileReader,
    session: Session,
    run: ModelRun,
    ingredients: Mapping[str, Any],
    bands: tuple[str, ...] = (),
) -> AnyEntry:
    """Put a tile into the pool, block by block, under the key of its ingredients; `bands` as of `form.tile_form`."""
    from skymill.store import TileWriter

    pool, key = Pool(run.catalogue), digest(ingredients)
    form = product_of(session).form(source.form(IDENTITY), bands)
    tally = FlagTally(form["flags"].attrs)
    path = pool.path(tile, key)
    with TileWriter(path, form, source.n_rows, chunk_rows=source.chunk_rows, staging=pool.staging) as writer:
        for rows in blocks:
            tally.add(rows["flags"])
            writer.append(rows)
        accounting = tally.accounting().check(str(tile))
        made = _receipt(tile, key, ingredients, run, accounting)
        file = writer.commit(attrs=_attributes(run, session), receipt=made)
    return entry_of(tile, key, file.sha256, file.n_bytes, source.n_rows, accounting)


def feature_columns(source: TileReader, wanted: list[str]) -> NDArray[np.intp]:
    """Give the place of each wanted feature in a feature tile.

    Raises
    ------
    MissingFeaturesError
        Naming every feature that is not there.
    """
    present: list[str] = list(source.arrays[FEATURES].attrs["columns"])  # type: ignore[arg-type]
    missing = [name for name in wanted if name not in present]
    if missing:
        raise MissingFeaturesError(
            f"{source.location}: the model needs {len(missing)} features that the catalogue lacks: "
            f"{', '.join(missing)}; it has {', '.join(map(str, present))}. "
            "Retrain, or change `features` in the model's file"
        )
    return places(present, wanted)


def _scored(
    source: TileReader, session: Session, columns: NDArray[np.intp], block_rows: int
) -> Iterator[tuple[dict[str, NDArray[Any]], Scores]]:
    """Read a feature tile chunk by chunk and run the model over each."""
    for block in source.blocks([*IDENTITY, FEATURES]):
        scores = score(
            session,
            gate(block.pop(FEATURES), columns),
            n_classes=len(session.schema.classes),
            deciding=session.schema.deciding,
            block_rows=block_rows,
            pad=session.pads_blocks,
            thresholds=session.thresholds,
        )
        yield block, scores


def _attributes(run: ModelRun, session: Session) -> dict[str, Any]:
    schema = session.schema
    return {
        "catalogue": run.name,
        "task": schema.task,
        "model": schema.model,
        "model_kind": schema.kind,
        "training_set": schema.training_set,
        "classes": list(schema.classes),
        **({"quantities": list(schema.quantities)} if schema.quantities else {}),
    }


def _receipt(
    tile: AnyTile, key: str, ingredients: Mapping[str, Any], run: ModelRun, accounting: Accounting
) -> dict[str, Any]:
    import onnxruntime

    return receipt(
        tile,
        key,
        ingredients,
        accounting,
        catalogue=run.name,
        versions={"onnxruntime": onnxruntime.__version__},
    )
