"""ONNX files made elsewhere: checked, described and then run like our own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from pydantic import Field

from skymill.config import ModelConfig
from skymill.config.base import Settings
from skymill.config.errors import explain
from skymill.config.model import StampSettings
from skymill.export.metadata import EMBEDDING, FLUX, INPUT, INVERSE_VARIANCE, OUTPUT, ModelInput, ModelSchema
from skymill.export.tensors import check_stamp_tensors, check_tensors
from skymill.sessions.containment import refuse_external
from skymill.sessions.entry import ENTRY, ModelFileError
from skymill.sessions.runtime import open_session

PROBE_ROWS = 5
TOLERANCE = 1e-5
LENGTH_TOLERANCE = 1e-2
"""That of the inference, which takes no answer with another vector."""
NOISE_nJy = 10.0
"""Of the stamps that are tried."""


class ExternalSettings(Settings):
    """`settings` of a model of kind `onnx`; needed where the file has no skymill metadata."""

    classes: list[str] | None = Field(None, min_length=2)
    """In the order of the output's columns."""
    indicators: list[str] = []
    """Features that only tell what was measured."""


def describe_external(model: ModelConfig) -> tuple[onnx.ModelProto, ModelSchema]:
    """Check an ONNX file from elsewhere and say what it eats and gives.

    Features and classes come from its own metadata entry ``skymill``, else from `features` and `settings.classes` of
    the model's file; `features` must then name single features, in the order of the input's columns. A file that looks
    at stamps says so in its entry, or `stamps` of the model's file does, with its bands in the order of the graph's.

    Raises
    ------
    ModelFileError
        If the file is absent, needs other files, has other tensors than the contract, or lacks names; or if a row's
        result depends on the rows beside it, or is no set of probabilities, or its embedding has not length 1.
    """
    path = Path(str(model.path))
    proto = _load(path, model.name)
    properties = {entry.key: entry.value for entry in proto.metadata_props}
    if ENTRY in properties:
        schema = ModelSchema.from_properties(properties, source=str(path))
        if model.stamps not in (None, schema.stamps):
            raise ModelFileError(
                f"{path}: model '{model.name}' declares `stamps` {_brief(model.stamps)}, the file itself "
                f"{_brief(schema.stamps)}; correct them, or take them out"
            )
    else:
        schema = _declared(model, path)
    if schema.quantities:
        raise ModelFileError(
            f"{path}: gives posteriors of {', '.join(schema.quantities)}; models of kind 'onnx' give classes: fit it "
            "here, by kind 'structure'"
        )
    session = open_session(path.read_bytes(), provider="cpu", source=str(path))
    if schema.stamps is None:
        check_tensors(session, n_features=len(schema.inputs), n_classes=len(schema.classes), source=str(path))
        _probe(session, _rows(schema), schema, path)
    elif not schema.stamps.bands:
        raise ModelFileError(f"{path}: looks at stamps of no band; name them in `stamps.bands`, in the graph's order")
    else:
        stamps, schema = schema.stamps, replace(schema, embedding=_embedding_length(session, path))
        check_stamp_tensors(session, schema.stamp_inputs, schema.outputs, source=str(path))
        _probe(session, _stamps(stamps), schema, path)
    return proto, schema


def _load(path: Path, name: str) -> onnx.ModelProto:
    """Read a file that must hold its own weights."""
    try:
        proto = onnx.load(path, load_external_data=False)
        refuse_external(proto, source=str(path))
        onnx.checker.check_model(proto)
    except FileNotFoundError:
        raise ModelFileError(f"{path}: no such file; set `path` of model '{name}'") from None
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise ModelFileError(f"{path}: not a valid ONNX file: {error}") from error
    return proto


def _declared(model: ModelConfig, path: Path) -> ModelSchema:
    """Take names from the model's file."""
    try:
        settings = ExternalSettings.model_validate(model.settings)
    except ValueError as error:
        raise explain(error, source=f"model '{model.name}': settings", model=ExternalSettings) from None  # type: ignore[arg-type]
    if model.stamps is not None:
        return _declared_stamps(model, model.stamps, settings, path)
    groups = sorted(set(model.features) & {"photometric", "shape", "missing", "value"})
    if groups or settings.classes is None:
        raise ModelFileError(
            f"{path}: has no metadata entry '{ENTRY}', so model '{model.name}' must name each feature in `features` "
            f"(found the groups {groups}) and its classes in `settings.classes` (found {settings.classes})"
        )
    unknown = sorted(set(settings.indicators) - set(model.features))
    if unknown:
        raise ModelFileError(f"model '{model.name}': settings.indicators {unknown} are not in `features`")
    return ModelSchema(
        model=model.name,
        kind="onnx",
        task=model.task,
        inputs=tuple(
            ModelInput(name, "", "as in the feature catalogue", name in settings.indicators) for name in model.features
        ),
        classes=tuple(settings.classes),
        training_set=None,
        metrics={},
        versions={},
    )


def _declared_stamps(model: ModelConfig, stamps: StampSettings, settings: ExternalSettings, path: Path) -> ModelSchema:
    """Take stamps and classes from the model's file."""
    if settings.classes is None:
        raise ModelFileError(
            f"{path}: has no metadata entry '{ENTRY}', so model '{model.name}' must name its classes in "
            "`settings.classes`, found none"
        )
    classes = tuple(settings.classes)
    return ModelSchema(model.name, "onnx", model.task, (), classes, None, {}, {}, stamps=stamps)


def _embedding_length(session: Any, path: Path) -> int:
    """Give the length of the vectors that a graph gives of stamps; 0 where it gives none."""
    shapes = [output.shape for output in session.get_outputs() if output.name == EMBEDDING]
    if not shapes:
        return 0
    [shape] = shapes
    if len(shape) != 2 or not isinstance(shape[1], int):
        raise ModelFileError(
            f"{path}: expected the output '{EMBEDDING}' of shape (n, d) with a number for d, found {tuple(shape)}; "
            "export the graph with it fixed"
        )
    return shape[1]


def _brief(stamps: StampSettings | None) -> str:
    return "none" if stamps is None else f"of {stamps.size_px} x {stamps.size_px} px in {', '.join(stamps.bands)}"


def _rows(schema: ModelSchema) -> dict[str, NDArray[np.float32]]:
    """Give a few rows of features."""
    return {INPUT: np.random.default_rng(0).normal(size=(PROBE_ROWS, len(schema.inputs))).astype(np.float32)}


def _stamps(form: StampSettings) -> dict[str, NDArray[np.float32]]:
    """Give a stamp of nothing and a few of noise."""
    shape = (PROBE_ROWS, len(form.bands), form.size_px, form.size_px)
    flux = np.random.default_rng(0).normal(size=shape, scale=NOISE_nJy).astype(np.float32)
    weight = np.full(shape, NOISE_nJy**-2, np.float32)
    flux[0] = weight[0] = 0
    return {FLUX: flux, INVERSE_VARIANCE: weight}


def _probe(session: Any, inputs: dict[str, NDArray[np.float32]], schema: ModelSchema, path: Path) -> None:
    """Run a few rows together and one by one."""
    [together] = session.run([OUTPUT], inputs)
    if together.shape != (PROBE_ROWS, len(schema.classes)):
        raise ModelFileError(
            f"{path}: expected '{OUTPUT}' of {PROBE_ROWS} rows to have the shape {(PROBE_ROWS, len(schema.classes))}, "
            f"one column per class of {list(schema.classes)}, found {together.shape}"
        )
    alone = np.concatenate(
        [session.run([OUTPUT], {name: rows[i : i + 1] for name, rows in inputs.items()})[0] for i in range(PROBE_ROWS)]
    )
    if not np.allclose(together, alone, atol=TOLERANCE, equal_nan=True):
        raise ModelFileError(
            f"{path}: a row's result depends on the other rows of its batch; export it in evaluation mode"
        )
    if not (np.all(together >= 0) and np.allclose(together.sum(axis=1), 1, atol=TOLERANCE)):
        raise ModelFileError(
            f"{path}: '{OUTPUT}' are no probabilities: rows sum to {together.sum(axis=1).tolist()}; "
            "end the graph with a Softmax"
        )
    if schema.embedding:
        lengths = np.linalg.norm(session.run([EMBEDDING], inputs)[0][1:], axis=1)  # the first is of nothing
        if not np.allclose(lengths, 1, atol=LENGTH_TOLERANCE):
            raise ModelFileError(
                f"{path}: '{EMBEDDING}' are no vectors of length 1, but of {lengths.tolist()}; end the graph with an "
                "LpNormalization, or call the output something else"
            )
