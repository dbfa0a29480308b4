"""One feature tile to one tile of a model's catalogue, in a worker process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skymill.features.tile import FEATURES, IDENTITY, FlagTally
from skymill.inference.kernel import INFERENCE_FLAGS, NO_CLASS, Scores, gate, score
from skymill.inference.session import Session, load_session
from skymill.inference.settings import PRECISION
from skymill.sky import Tile
from skymill.store import Accounting, Pool, TileEntry, Variable, digest, receipt

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

    @property
    def ingredients(self) -> dict[str, Any]:
        """What enters every key, besides the tile itself."""
        return {
            "onnx": self.onnx_sha256,
            "settings": {"block_rows": self.block_rows},
            "algorithm": self.algorithm,
            "provider": self.provider,
            "precision": PRECISION,
        }

    def key(self, input_sha256: str) -> str:
        """Key of the tile made from the feature tile of a digest."""
        return digest(self.all_ingredients(input_sha256))

    def all_ingredients(self, input_sha256: str) -> dict[str, Any]:
        """What the key of the tile is the digest of."""
        return {"input": input_sha256, **self.ingredients}


@dataclass(frozen=True)
class TileJob:
    """One feature tile to run the model over."""

    tile: Tile
    path: str
    sha256: str
    n_rows: int
    key: str


def classify_tile(job: TileJob, *, run: ModelRun) -> TileEntry:
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
    pool = Pool(run.catalogue)
    done = pool.entry(job.tile, job.key)
    if done is not None:
        return done
    from skymill.store import TileWriter, open_tile  # Zarr, which the coordinator does without

    session = load_session(run.onnx, run.onnx_sha256, run.provider)
    source = open_tile(job.path)
    columns = feature_columns(source, [feature.name for feature in session.schema.inputs])
    form = _form(source, session.schema.classes)
    tally = FlagTally(form["flags"].attrs)
    path = pool.path(job.tile, job.key)
    with TileWriter(path, form, source.n_rows, chunk_rows=source.chunk_rows, staging=pool.staging) as writer:
        for block, scores in _scored(source, session, columns, run.block_rows):
            flags = block["flags"] | scores.flags
            tally.add(flags)
            writer.append(
                {
                    **{name: block[name] for name in IDENTITY},
                    "flags": flags,
                    "probabilities": scores.probabilities,
                    "class": scores.best,
                    "entropy": scores.entropy,
                }
            )
        accounting = tally.accounting().check(str(job.tile))
        file = writer.commit(attrs=_attributes(run, session), receipt=_receipt(job, run, accounting))
    return TileEntry(*job.tile, job.key, file.sha256, file.n_bytes, source.n_rows, accounting)


def feature_columns(source: TileReader, wanted: list[str]) -> NDArray[np.intp]:
    """Give the place of each wanted feature in a feature tile.

    Raises
    ------
    MissingFeaturesError
        Naming every feature that is not there.
    """
    present = list(source.arrays[FEATURES].attrs["columns"])  # type: ignore[arg-type]
    missing = [name for name in wanted if name not in present]
    if missing:
        raise MissingFeaturesError(
            f"{source.location}: the model needs {len(missing)} features that the catalogue lacks: "
            f"{', '.join(missing)}; it has {', '.join(map(str, present))}. "
            "Retrain, or change `features` in the model's file"
        )
    return np.array([present.index(name) for name in wanted])


def _scored(
    source: TileReader, session: Session, columns: NDArray[np.intp], block_rows: int
) -> Iterator[tuple[dict[str, NDArray[Any]], Scores]]:
    """Read a feature tile chunk by chunk and run the model over each."""
    indicator = np.array([feature.indicator for feature in session.schema.inputs])
    for block in source.blocks([*IDENTITY, FEATURES]):
        scores = score(
            session,
            gate(block.pop(FEATURES), columns),
            n_classes=len(session.schema.classes),
            indicator=indicator,
            block_rows=block_rows,
            pad=session.pads_blocks,
        )
        yield block, scores


def _form(source: TileReader, classes: tuple[str, ...]) -> dict[str, Variable]:
    """Describe the variables of the new tile; ids and positions are described as in the feature tile."""
    form = {
        name: Variable(np.empty(0, array.dtype), attrs=dict(array.attrs))
        for name in IDENTITY
        for array in (source.arrays[name],)
    }
    form["flags"] = Variable(form["flags"].data, attrs=_flag_attributes(form["flags"].attrs))
    form["probabilities"] = Variable.of_rows(
        np.float32,
        dim="class_name",
        columns=classes,
        units="1",
        long_name="calibrated probability of each class",
        ucd="stat.probability",
    )
    form["class"] = Variable.of_rows(
        np.int8,
        long_name="most probable class",
        ucd="src.class",
        flag_values=[NO_CLASS, *range(len(classes))],
        flag_meanings=" ".join(["not_scored", *classes]),
    )
    form["entropy"] = Variable.of_rows(
        np.float32, units="1", long_name="Shannon entropy of the probabilities in nats", ucd="stat.entropy"
    )
    return form


def _flag_attributes(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Add the bits of this stage to those that the features carry."""
    return {
        **attrs,
        "flag_masks": [*attrs["flag_masks"], *(flag.mask for flag in INFERENCE_FLAGS)],
        "flag_meanings": " ".join([attrs["flag_meanings"], *(flag.name for flag in INFERENCE_FLAGS)]),
    }


def _attributes(run: ModelRun, session: Session) -> dict[str, Any]:
    schema = session.schema
    return {
        "catalogue": run.name,
        "task": schema.task,
        "model": schema.model,
        "model_kind": schema.kind,
        "training_set": schema.training_set,
        "classes": list(schema.classes),
    }


def _receipt(job: TileJob, run: ModelRun, accounting: Accounting) -> dict[str, Any]:
    import onnxruntime

    return receipt(
        job.tile,
        job.key,
        run.all_ingredients(job.sha256),
        accounting,
        catalogue=run.name,
        versions={"onnxruntime": onnxruntime.__version__},
    )
