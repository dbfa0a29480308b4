"""What a model says of a source: the stored answer, and the same computed again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.export.calibrate import RAW
from skymill.export.metadata import INPUT
from skymill.export.uncalibrated import with_uncalibrated
from skymill.features.kernel import FEATURE_FLAGS
from skymill.inference.kernel import NO_CLASS, STAMP_FLAGS, UNSCORABLE, gate, score
from skymill.inference.session import Session, load_session
from skymill.inference.tiles import feature_columns
from skymill.sessions.entry import ModelFileError
from skymill.sessions.runtime import open_session
from skymill.store import TileReader, short
from skymill.survey.flags import MEASURE_FLAGS, SOURCE_FLAGS

MEANINGS = {flag.name: flag.meaning for flag in (*SOURCE_FLAGS, *MEASURE_FLAGS, *FEATURE_FLAGS, *STAMP_FLAGS)}
CPU = "cpu"


@dataclass(frozen=True)
class Recomputed:
    """A model's answer, computed anew from the stored features, on the CPU.

    Attributes
    ----------
    uncalibrated : mapping of str to float, or None
        Probabilities before calibration; None where the graph has none, or the model is not asked of such a source.
    probabilities : mapping of str to float
        After it.
    difference : float
        The largest between these and the stored ones; 0 where neither side scored the source.
    """

    uncalibrated: Mapping[str, float] | None
    probabilities: Mapping[str, float]
    difference: float


def stored_answer(reader: TileReader, row: int) -> dict[str, Any]:
    """Give what a tile of a model's catalogue says of a row: class, probabilities, flags and sets in words."""
    values = {name: column[0] for name, column in reader.rows(row, row + 1).items()}
    classes = _attributes(reader, "probabilities")["columns"]
    best = int(values["class"])
    answer: dict[str, Any] = {
        "class": None if best == NO_CLASS else classes[best],
        "probabilities": _named(classes, values["probabilities"]),
        "entropy": float(values["entropy"]) if "entropy" in values else None,
    }
    if "conformal_set" in values:
        answer["conformal_set"] = _names_of(reader, "conformal_set", int(values["conformal_set"]))
    if "training_distance" in values:
        answer["training_distance"] = float(values["training_distance"])
    answer["flags"] = flags_in_words(reader, int(values["flags"]))
    return answer


def flags_in_words(reader: TileReader, flags: int) -> dict[str, str]:
    """Give the meaning of each flag that is set, by its name."""
    return {name: MEANINGS.get(name, "") for name in _names_of(reader, "flags", flags)}


def stored_features(reader: TileReader, row: int) -> list[dict[str, Any]]:
    """Give a source's features with their units."""
    values = reader.rows(row, row + 1, ["features"])["features"][0].tolist()
    attrs = _attributes(reader, "features")
    names, units = attrs["columns"], attrs.get("column_units", [""] * len(values))
    return [{"name": n, "value": v, "unit": u} for n, v, u in zip(names, values, units, strict=True)]


def answer_again(features: TileReader, row: int, onnx: Path, sha256: str, stored: Mapping[str, float]) -> Recomputed:
    """Run a model over the stored features of one source.

    Raises
    ------
    ModelFileError
        If the ONNX file is not the one that made the catalogue, or looks at pixels.
    """
    session = load_session(str(onnx), sha256, CPU)
    if session.schema.stamps is not None:
        raise ModelFileError(f"{onnx}: looks at pixels, which the catalogues do not hold; it is not asked again")
    columns = feature_columns(features, [column.name for column in session.schema.inputs])
    row_of_features = gate(features.rows(row, row + 1, ["features"])["features"], columns)
    classes = session.schema.classes
    scores = score(session, row_of_features, n_classes=len(classes), deciding=session.schema.deciding, block_rows=1)
    again, asked = scores.probabilities[0], not scores.flags[0] & UNSCORABLE.mask
    return Recomputed(
        _uncalibrated(session, onnx, row_of_features) if asked else None,
        _named(classes, again),
        _difference(again, np.array([stored[name] for name in classes], np.float32)),
    )


def onnx_file(folder: Path, sha256: str) -> Path:
    """Give a model's ONNX file of a digest.

    Raises
    ------
    ModelFileError
        If it is not there.
    """
    file = folder / f"{short(sha256)}.onnx"
    if not file.is_file():
        raise ModelFileError(f"{file}: not there, so that the answer cannot be computed again")
    return file


def _uncalibrated(session: Session, onnx: Path, features: NDArray[np.float32]) -> dict[str, float] | None:
    content = with_uncalibrated(onnx.read_bytes())
    if content is None:
        return None
    opened = open_session(content, provider=CPU, source=str(onnx))
    [raw] = opened.run([RAW], {INPUT: features})
    return _named(session.schema.classes, raw[0])


def _difference(again: NDArray[np.float32], stored: NDArray[np.float32]) -> float:
    """Give the largest difference; infinite where only one side has a number."""
    both = np.isnan(again) & np.isnan(stored)
    difference = np.where(both, 0.0, np.abs(again.astype(np.float64) - stored))
    return float(np.where(np.isnan(difference), np.inf, difference).max())


def _named(classes: Any, values: NDArray[Any]) -> dict[str, float]:
    return dict(zip(classes, values.astype(float).tolist(), strict=True))


def _names_of(reader: TileReader, array: str, bits: int) -> list[str]:
    """Name the bits that are set, as the array's attributes do."""
    attrs = _attributes(reader, array)
    masks, meanings = attrs.get("flag_masks", ()), str(attrs.get("flag_meanings", "")).split()
    return [name for mask, name in zip(masks, meanings, strict=True) if bits & int(mask)]


def _attributes(reader: TileReader, array: str) -> dict[str, Any]:
    return dict(reader.arrays[array].attrs)
