"""ONNX files made elsewhere: checked, described and then run like our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto
from pydantic import Field

from skymill.config import ModelConfig
from skymill.config.base import Settings
from skymill.config.errors import explain
from skymill.export.metadata import ENTRY, INPUT, OUTPUT, ModelFileError, ModelInput, ModelSchema
from skymill.export.runtime import check_tensors, open_session

PROBE_ROWS = 5
TOLERANCE = 1e-5


class ExternalSettings(Settings):
    """`settings` of a model of kind `onnx`; needed where the file has no skymill metadata."""

    classes: list[str] | None = Field(None, min_length=2)
    """In the order of the output's columns."""
    indicators: list[str] = []
    """Features that only tell what was measured."""


def describe_external(model: ModelConfig) -> tuple[onnx.ModelProto, ModelSchema]:
    """Check an ONNX file from elsewhere and say what it eats and gives.

    Features and classes come from its own metadata entry ``skymill``, else from `features` and `settings.classes` of
    the model's file; `features` must then name single features, in the order of the input's columns.

    Raises
    ------
    ModelFileError
        If the file is absent, needs other files, has other tensors than the contract, or lacks names; or if a row's
        result depends on the rows beside it, or is no set of probabilities.
    """
    path = Path(str(model.path))
    proto = _load(path, model.name)
    properties = {entry.key: entry.value for entry in proto.metadata_props}
    if ENTRY in properties:
        schema = ModelSchema.from_properties(properties, source=str(path))
    else:
        schema = _declared(model, path)
    session = open_session(path.read_bytes(), provider="cpu", source=str(path))
    check_tensors(session, n_features=len(schema.inputs), n_classes=len(schema.classes), source=str(path))
    _probe(session, schema, path)
    return proto, schema


def _load(path: Path, name: str) -> onnx.ModelProto:
    """Read a file that must hold its own weights."""
    try:
        proto = onnx.load(path, load_external_data=False)
        if any(tensor.data_location == TensorProto.EXTERNAL for tensor in proto.graph.initializer):
            raise ModelFileError(
                f"{path}: keeps its weights in another file; save it as one (onnx.save_model(model, path))"
            )
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


def _probe(session: Any, schema: ModelSchema, path: Path) -> None:
    """Run a few rows together and one by one."""
    rows = np.random.default_rng(0).normal(size=(PROBE_ROWS, len(schema.inputs))).astype(np.float32)
    [together] = session.run([OUTPUT], {INPUT: rows})
    if together.shape != (PROBE_ROWS, len(schema.classes)):
        raise ModelFileError(
            f"{path}: expected '{OUTPUT}' of {PROBE_ROWS} rows to have the shape {(PROBE_ROWS, len(schema.classes))}, "
            f"one column per class of {list(schema.classes)}, found {together.shape}"
        )
    alone = np.concatenate([session.run([OUTPUT], {INPUT: rows[i : i + 1]})[0] for i in range(PROBE_ROWS)])
    if not np.allclose(together, alone, atol=TOLERANCE, equal_nan=True):
        raise ModelFileError(
            f"{path}: a row's result depends on the other rows of its batch; export it in evaluation mode"
        )
    if not (np.all(together >= 0) and np.allclose(together.sum(axis=1), 1, atol=TOLERANCE)):
        raise ModelFileError(
            f"{path}: '{OUTPUT}' are no probabilities: rows sum to {together.sum(axis=1).tolist()}; "
            "end the graph with a Softmax"
        )
