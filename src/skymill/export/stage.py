"""The entry of rule `export_onnx`: a fitted model to one ONNX file that gives the same."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx

from skymill.config import ModelConfig
from skymill.config.model import StampSettings
from skymill.export.calibrate import append_calibration
from skymill.export.converters import CONVERTERS
from skymill.export.distance import append_distance
from skymill.export.external import describe_external
from skymill.export.graph import to_bytes
from skymill.export.metadata import DISTANCE, INPUT, OUTPUT, ModelInput, ModelSchema
from skymill.export.parity import Parity, compare
from skymill.export.probe import make_probe
from skymill.export.settings import FROZEN, PRECISIONS, STAMP_NETWORK, STAMP_PARITY, is_stamp_network, limits
from skymill.export.structure_parity import StructureParity, measure_structure_parity
from skymill.features import negative_flux_features
from skymill.features.recipe import Recipe
from skymill.models import EMBED
from skymill.models.stamp_network import n_networks
from skymill.sessions.runtime import open_session
from skymill.store import short
from skymill.store.document import to_document
from skymill.store.durable import write_bytes
from skymill.training.arrays import open_set
from skymill.training.fitting import Fit, load_fit
from skymill.training.structure import StructureFit, load_structure

logger = logging.getLogger(__name__)

FORMAT = 1
HELD_OUT = ("validation", "test")
NEGATIVE_ROWS = 500
"""Rows of negative flux that are compared."""


def to_onnx(
    fit_manifest: str | Path | None,
    *,
    output: str | Path,
    model: ModelConfig,
    recipe: Recipe | None = None,
    provider: str = "cpu",
) -> Path:
    """Export a model, hold it against what was fitted, and write it.

    Parameters
    ----------
    fit_manifest : Path or None
        ``training/{model}/{fit12}/manifest.json``; None (or empty) for a model of kind `onnx`.
    output : Path
        Folder of everything the run writes.
    model : ModelConfig
    recipe : Recipe, optional
        What the features are made of, for rows of negative flux; needed unless the model is of kind `onnx`.
    provider : {"cpu", "cuda", "tensorrt"}
        What it will be run on: with `export.precision: auto` a model of pixels is exported in what is fastest there.

    Returns
    -------
    Path
        ``models/{model}/manifest.json``, which names ``{onnx12}.onnx`` beside it; a fitted model has `parity.json`
        too, one of pixels `precision.json`.

    Raises
    ------
    ParityError
        If the ONNX file is further from the fitted model than `model.parity` allows; nothing is then written.
    ModelFileError
        If an ONNX file from elsewhere does not keep the contract.
    ValueError
        If a fitted model comes without its recipe.
    """
    folder = Path(output) / "models" / model.name
    made = _from_fit(Path(fit_manifest), Path(output), model, recipe, provider) if fit_manifest else _external(model)
    sha256 = hashlib.sha256(made.content).hexdigest()
    file = folder / f"{short(sha256)}.onnx"
    if not file.exists():
        write_bytes(file, made.content)
    files = {file.name: sha256}
    for name, text in made.told.items():
        write_bytes(folder / name, text)
        files[name] = hashlib.sha256(text).hexdigest()
    manifest = {
        "format": FORMAT,
        "onnx": short(sha256),
        "sha256": sha256,
        "n_bytes": len(made.content),
        "fit": Path(fit_manifest).parent.name if fit_manifest else None,
        "parity": made.parity.summary() if made.parity else None,
        "schema": made.schema.as_metadata(),
        "files": files,
    }
    write_bytes(folder / "manifest.json", to_document(manifest))
    return folder / "manifest.json"


class _Made(NamedTuple):
    """An ONNX file before it is written."""

    content: bytes
    schema: ModelSchema
    parity: Parity | StructureParity | None
    told: dict[str, bytes]
    """What stands beside it, by the name of the file."""


def _external(model: ModelConfig) -> _Made:
    graph, schema = describe_external(model)
    return _Made(to_bytes(graph, schema.as_metadata()), schema, None, {})


def _from_fit(manifest: Path, output: Path, model: ModelConfig, recipe: Recipe | None, provider: str) -> _Made:
    """Convert a fitted model, hold it against its fit and, where it looks at pixels, put it into fewer bits."""
    if model.task == "structure":
        return _structure(manifest, model)
    if recipe is None:
        raise ValueError(f"model '{model.name}': to export a fitted model, give the `recipe` of its features")
    fit = load_fit(manifest.parent)
    schema = _schema(fit, model)
    content = convert(fit, schema)
    parity = measure_parity(fit, content, model, recipe, training_set=_training_set(fit, output))
    told = _held_to(parity, model)
    if is_stamp_network(model):
        precisions = import_module(PRECISIONS)
        content, schema, bills = precisions.choose_precision(
            fit, content, schema, model.export, provider=provider, rows=model.parity.rows
        )
        told["precision.json"] = _json(precisions.as_document(bills, schema.precision, model.export))
    return _Made(content, schema, parity, told)


def _held_to(parity: Parity | StructureParity, model: ModelConfig) -> dict[str, bytes]:
    """Hold a comparison against the model's limits, and give what is told of it."""
    parity.check(model.parity, model=model.name)
    logger.info("%s: parity: %s", model.name, parity.summary())
    return {"parity.json": _json({"limits": limits(model), **parity.as_dict()})}


def _structure(manifest: Path, model: ModelConfig) -> _Made:
    fit = load_structure(manifest.parent)
    schema = _schema(fit, model)
    assert schema.stamps is not None
    graph = import_module(f"skymill.export.{model.kind}").convert(fit.model, fit.widths, fit.distance, schema.stamps)
    content = to_bytes(graph, schema.as_metadata())
    session = open_session(content, provider="cpu", source=f"ONNX of model '{model.name}'")
    parity = measure_structure_parity(fit, session, rows=model.parity.rows)
    return _Made(content, schema, parity, _held_to(parity, model))


def convert(fit: Fit, schema: ModelSchema) -> bytes:
    """Give the bytes of a fitted model's ONNX file, calibration and distance inside; the same in every process."""
    calibrated = append_calibration(_graph(fit), fit.calibration)
    graph = append_distance(calibrated, fit.distance)
    if schema.stamps is not None:
        if n_networks(getattr(fit.model, "shape", {})) > 1:
            graph = import_module(STAMP_NETWORK).append_disagreement(fit.model, graph)
        if fit.votes is not None:
            graph = import_module(STAMP_NETWORK).append_votes(fit.model, fit.votes.in_order, graph)
        encoder = import_module(FROZEN if fit.manifest["kind"] == "frozen" else STAMP_NETWORK)
        options = {"embedding": True} if schema.embedding else {}
        graph = encoder.prepend_encoder(fit.model, graph, schema.stamps, **options)
    return to_bytes(graph, schema.as_metadata())


def measure_parity(fit: Fit, content: bytes, model: ModelConfig, recipe: Recipe, *, training_set: Path) -> Parity:
    """Compare a fitted model with its ONNX file on held-out, perturbed, negative-flux and hard rows or stamps."""
    session = open_session(content, provider="cpu", source=f"ONNX of model '{model.name}'")
    if model.stamps is not None:
        return import_module(STAMP_PARITY).measure_stamp_parity(fit, session, rows=model.parity.rows)
    names = [feature["name"] for feature in fit.features]
    labelled = open_set(training_set, names)
    splits = [labelled.rows(split)[0] for split in HELD_OUT]
    probe = make_probe(
        np.concatenate([split.features for split in splits]),
        np.concatenate([split.labels for split in splits]),
        negative_flux_features(recipe, names, rows=NEGATIVE_ROWS, seed=0),
        rows=model.parity.rows,
    )
    exported, distance = session.run([OUTPUT, DISTANCE], {INPUT: probe.features})
    fitted = fit.predict_probabilities(probe.features)
    distances = fit.distance(probe.features), distance
    return compare(probe, fitted, exported, distances=distances, features=names)


def _graph(fit: Fit) -> onnx.ModelProto:
    kind = fit.manifest["kind"]
    if hasattr(fit.model, "to_onnx"):  # of a kind of one's own
        return fit.model.to_onnx()
    if kind not in CONVERTERS:
        raise ValueError(f"{fit.folder}: no conversion of kind '{kind}' to ONNX; known: {', '.join(CONVERTERS)}")
    return CONVERTERS[kind](fit.model)


def _schema(fit: Fit | StructureFit, model: ModelConfig) -> ModelSchema:
    metrics = json.loads((fit.folder / "metrics.json").read_text())["overall"]
    return ModelSchema(
        model=model.name,
        kind=model.kind,
        task=model.task,
        inputs=tuple(
            ModelInput(**{key: feature[key] for key in ("name", "unit", "definition", "indicator", "group")})
            for feature in fit.manifest["features"]
        ),
        classes=tuple(fit.manifest["classes"]),
        training_set=fit.manifest["training_set"],
        metrics={name: metric["value"] for name, metric in metrics.items()},
        conformal=fit.sets if isinstance(fit, Fit) else None,
        # A build's suffix (2.13.0+cpu) tells of the machine, not of the model.
        versions={
            name: version.split("+")[0] for name, version in fit.manifest["versions"].items() if name != "python"
        },
        training_distance=fit.manifest["training_distance"],
        stamps=StampSettings(**fit.manifest["stamps"]) if "stamps" in fit.manifest else None,
        embedding=len(fit.manifest["features"]) if model.kind in EMBED else 0,
        votes=fit.manifest.get("votes", {}),
        quantities=tuple(fit.manifest.get("quantities", ())),
        components=fit.manifest["settings"]["components"] if "quantities" in fit.manifest else 0,
        levels=() if isinstance(fit, Fit) else tuple(map(tuple, fit.levels.tolist())),
    )


def _training_set(fit: Fit, output: Path) -> Path:
    return output / "training" / "sets" / f"{short(fit.manifest['training_set'])}.parquet"


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
