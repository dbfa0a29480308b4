"""A network on stamps in fewer bits: what each precision costs in science, and which one is exported.

Integers of 8 bits go by ONNX Runtime's static quantisation (QDQ; weights per channel, activations by their largest
values on stamps of the validation split). Only the encoder's convolutions are converted: the stretch and the first one
before them, and the head, the calibration and the distance behind them, stay in float32.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy.stats import binom

from skymill.config.model import ExportSettings
from skymill.export.graph import ENCODER, constant, node, to_bytes
from skymill.export.metadata import DISTANCE, EMBEDDING, FLUX, INVERSE_VARIANCE, OUTPUT, VOTES, ModelSchema
from skymill.export.parity import ParityError
from skymill.export.stamp_parity import HELD_OUT, rounds_of
from skymill.models.distance import LIMIT
from skymill.models.votes import fractions
from skymill.sessions.runtime import open_session
from skymill.training.metrics import expected_calibration_error
from skymill.training.stamp_set import held_out_stamps

if TYPE_CHECKING:
    from skymill.training.fitting import Fit

FULL, HALF, INTEGER = "fp32", "fp16", "int8"
FASTEST = {"cpu": (INTEGER, FULL), "cuda": (HALF, FULL), "tensorrt": (HALF, FULL)}
"""Precisions by speed, the fastest first, where they are faster than float32 at all (docs/export.md)."""
CONVERTED = ("Conv", "Relu", "MaxPool")
"""Operators of the encoder that work in fewer bits, behind the first convolution: that sees the range of all fluxes."""
HALVED = "_half"
UNLIKELY = 0.025
BATCH, REPEATS = 64, 15
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cost:
    """How the answers on some stamps differ from those in full precision."""

    stamps: int
    flip_rate: float
    """Share whose class is another, or that have no answer."""
    outside_rate: float
    """Share that is outside the range of the training stamps with one and inside with the other."""
    max_probability_difference: float
    mean_probability_difference: float
    min_cosine: float | None
    """Of the embeddings; None where the model gives none."""
    mean_cosine: float | None
    mean_fraction_difference: float | None = None
    """Of the answers of volunteers; None where the model tells no votes."""


@dataclass(frozen=True)
class Bill:
    """What a precision costs, on stamps of the test split and on changed and hard ones."""

    precision: str
    real: Cost
    changed: Cost
    hard: Cost
    ece_full: float
    ece: float
    """Expected calibration error on the stamps of the test split."""

    def over(self, limits: ExportSettings) -> list[str]:
        """Name what is over the limits; of hard stamps only that they have an answer is asked."""
        found = []
        for name, cost in (("real", self.real), ("changed", self.changed)):
            rates = {"have another class": cost.flip_rate, "change `outside_training`": cost.outside_rate}
            for what, rate in rates.items():
                if too_many(rate, cost.stamps, limits.max_flip_rate):
                    found.append(f"{rate:.2%} of the {name} stamps {what}")
            if cost.mean_cosine is not None and not cost.mean_cosine >= limits.min_cosine:
                found.append(f"the embeddings of {name} stamps have a mean cosine of {cost.mean_cosine:.4f}")
            if (
                cost.mean_fraction_difference is not None
                and not cost.mean_fraction_difference <= limits.max_fraction_difference
            ):
                found.append(
                    f"the vote fractions for {name} stamps differ by {cost.mean_fraction_difference:.4f} on average"
                )
        if not self.ece - self.ece_full <= limits.max_ece_shift:
            found.append(f"the calibration error goes from {self.ece_full:.4f} to {self.ece:.4f}")
        if not np.isfinite(self.hard.max_probability_difference):
            found.append("some hard stamps have no answer")
        return found


def too_many(rate: float, n: int, most: float) -> bool:
    """Tell whether so large a share of n is more than chance makes of a true share of `most`, in 97.5 % of cases."""
    return bool(binom.sf(round(rate * n) - 1, n, most) < UNLIKELY)


def choose_precision(
    fit: Fit, content: bytes, schema: ModelSchema, limits: ExportSettings, *, provider: str, rows: int
) -> tuple[bytes, ModelSchema, list[Bill]]:
    """Give the file in the precision that the settings ask for, its schema, and the bills of all that were tried.

    Parameters
    ----------
    fit : Fit
    content : bytes
        Its ONNX file in full precision.
    schema : ModelSchema
    limits : ExportSettings
        With `precision: auto` the fastest one for the provider that stays below them.
    provider : {"cpu", "cuda", "tensorrt"}
    rows : int
        Real and changed stamps to compare on, together.

    Raises
    ------
    ParityError
        If the precision that was asked for by name is over the limits.
    """
    wanted: tuple[str, ...] = FASTEST[provider] if limits.precision == "auto" else (limits.precision,)
    if not _chosen(onnx.load_from_string(content)):  # an encoder of one's own without convolutions behind one another
        if limits.precision not in ("auto", FULL):
            raise ParityError(
                f"model '{schema.model}' in {limits.precision}: nothing in its encoder would be converted; only "
                f"convolutions behind a first one are. Set `export.precision` in the model's file to '{FULL}'"
            )
        wanted = (FULL,)
    bills = []
    for precision in wanted:
        if precision == FULL:
            break
        other = replace(schema, precision=precision)
        made = convert_precision(fit, content, other)
        bill = measure(fit, content, made, precision, rows=rows)
        bills.append(bill)
        over = bill.over(limits)
        logger.info(
            "%s in %s: %.2f times as fast on this CPU; %s",
            schema.model,
            precision,
            speed_up(fit, content, made),
            "; ".join(over) or "within the limits",
        )
        if not over:
            return made, other, bills
        if limits.precision != "auto":
            raise ParityError(
                f"model '{schema.model}' in {precision}: {'; '.join(over)}. Nothing was written. Raise the limits of "
                "`export` in the model's file, or take another `export.precision`"
            )
    return content, schema, bills


def convert_precision(fit: Fit, content: bytes, schema: ModelSchema) -> bytes:
    """Give a full-precision file in the precision that the schema says; the same bytes in every process."""
    model = onnx.load_from_string(content)
    if schema.precision == HALF:
        converted = _halved(model)
    else:
        stamps, _, is_test = held_out_stamps(fit.folder)
        converted = _quantised(model, stamps[~is_test])
    del converted.metadata_props[:]
    for part in (*converted.graph.node, *converted.graph.initializer):
        del part.metadata_props[:]
    return to_bytes(converted, schema.as_metadata())


def _halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give a copy whose chosen nodes work in half precision; what goes in and what comes out of them is cast.

    ONNX Runtime's converter would cast the fluxes too, of which half precision holds none above 65,504 nJy.
    """
    halved = onnx.ModelProto()
    halved.CopyFrom(model)
    graph, chosen = halved.graph, set(_chosen(model))
    constants = {tensor.name: tensor for tensor in graph.initializer}
    wanted = {name for each in graph.node if each.name not in chosen for name in each.input}
    known: set[str] = set()
    nodes = []
    for each in graph.node:
        if each.name not in chosen:
            nodes.append(each)
            continue
        for name in dict.fromkeys(each.input):
            if name not in known and name in constants:
                graph.initializer.append(constant(name + HALVED, numpy_helper.to_array(constants[name]), np.float16))
            elif name not in known:
                nodes.append(node("Cast", [name], name + HALVED, to=onnx.TensorProto.FLOAT16))
            known.add(name)
        [output] = each.output
        each.input[:] = [name + HALVED for name in each.input]
        each.output[:] = [output + HALVED]
        known.add(output)
        nodes.append(each)
        if output in wanted:
            nodes.append(node("Cast", [output + HALVED], output, to=onnx.TensorProto.FLOAT))
    graph.ClearField("node")
    graph.node.extend(nodes)
    used = {name for each in nodes for name in each.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    graph.ClearField("initializer")
    graph.initializer.extend(kept)
    return halved


def _quantised(model: onnx.ModelProto, stamps: NDArray[np.float32]) -> onnx.ModelProto:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with tempfile.TemporaryDirectory() as folder:  # it takes files alone
        full, small = Path(folder) / "full.onnx", Path(folder) / "small.onnx"
        onnx.save(model, full)
        logging.disable(logging.WARNING)  # it would have the graph optimised first, as it is already
        try:
            quantize_static(
                full,
                small,
                _Reader(stamps),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,  # processors without VNNI add pairs of products in 16 bits
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_quantize=_chosen(model),
            )
        finally:
            logging.disable(logging.NOTSET)
        return onnx.load(small)


def _chosen(model: onnx.ModelProto) -> list[str]:
    """Name the nodes to convert: those of the encoder that see the stamps by way of a convolution."""
    chosen: list[str] = []
    behind: set[str] = set()
    for each in model.graph.node:
        if each.name.startswith(ENCODER):
            follows = not behind.isdisjoint(each.input)
            if follows and each.op_type in CONVERTED:
                chosen.append(each.name)
            if follows or each.op_type == "Conv":
                behind.update(each.output)
    return chosen


class _Reader:
    """Stamps batch by batch, as the quantiser asks for them."""

    def __init__(self, stamps: NDArray[np.float32]) -> None:
        self.batches = iter(np.array_split(stamps, max(1, len(stamps) // BATCH)))

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self.batches, None)
        return None if batch is None else inputs(batch)


def measure(fit: Fit, full: bytes, other: bytes, precision: str, *, rows: int) -> Bill:
    """Compare two files on stamps of the test split, and on changed and hard ones made of them."""
    sessions = [open_session(content, provider="cpu", source=f"{fit.folder}, {precision}") for content in (full, other)]
    stamps, labels, is_test = held_out_stamps(fit.folder)
    questions = fit.votes.sizes if fit.votes else []
    answers: dict[str, list[tuple[_Answer, _Answer]]] = {}
    for origin, some in rounds_of(stamps[is_test], rows):
        both = [_ask(session, some, questions) for session in sessions]
        kind = origin if origin in (HELD_OUT, "changed") else "hard"
        answers.setdefault(kind, []).append((both[0], both[1]))
    ece_full, ece = (_calibration_error(answer.probabilities, labels[is_test]) for answer in answers[HELD_OUT][0])
    real, changed, hard = (compare(answers[kind]) for kind in (HELD_OUT, "changed", "hard"))
    return Bill(precision, real, changed, hard, ece_full, ece)


def _calibration_error(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    known = np.isfinite(probabilities).all(axis=1)
    return expected_calibration_error(probabilities[known], labels[known])


@dataclass(frozen=True)
class _Answer:
    """What a file gives for m stamps: (m, classes), (m,), (m, d) where it gives embeddings, and (m, answers) where it
    tells votes."""

    probabilities: NDArray[np.float64]
    distance: NDArray[np.float64]
    embedding: NDArray[np.float64] | None
    fractions: NDArray[np.float64] | None = None


def _ask(session: Any, stamps: NDArray[np.float32], questions: list[int]) -> _Answer:
    beside = [tensor.name for tensor in session.get_outputs() if tensor.name in (EMBEDDING, VOTES)]
    values = session.run([OUTPUT, DISTANCE, *beside], inputs(stamps))
    found = dict(zip([OUTPUT, DISTANCE, *beside], (each.astype(np.float64) for each in values)))
    told = fractions(found[VOTES], questions)[0] if VOTES in found else None
    return _Answer(found[OUTPUT], found[DISTANCE], found.get(EMBEDDING), told)


def compare(answers: list[tuple[_Answer, _Answer]]) -> Cost:
    """Hold answers against those in full precision, which stand first; no answer is a flip."""
    full, other = (np.concatenate([pair[side].probabilities for pair in answers]) for side in (0, 1))
    difference = np.abs(full - other).max(axis=1)
    difference[~np.isfinite(difference)] = np.inf
    flipped = (full.argmax(axis=1) != other.argmax(axis=1)) | np.isinf(difference)
    outside = [np.concatenate([pair[side].distance > LIMIT for pair in answers]) for side in (0, 1)]
    cosine = np.concatenate(list(_cosines(answers)) or [np.empty(0)])
    away = np.concatenate(list(_fraction_differences(answers)) or [np.empty(0)])
    return Cost(
        len(difference),
        float(flipped.mean()),
        float((outside[0] != outside[1]).mean()),
        float(difference.max()),
        float(difference.mean()),
        float(cosine.min()) if len(cosine) else None,
        float(cosine.mean()) if len(cosine) else None,
        float(away.mean()) if len(away) else None,
    )


def _cosines(answers: list[tuple[_Answer, _Answer]]) -> Iterator[NDArray[np.float64]]:
    for full, other in answers:
        if full.embedding is not None and other.embedding is not None:
            yield (full.embedding * other.embedding).sum(axis=1)


def _fraction_differences(answers: list[tuple[_Answer, _Answer]]) -> Iterator[NDArray[np.float64]]:
    for full, other in answers:
        if full.fractions is not None and other.fractions is not None:
            yield np.abs(full.fractions - other.fractions).mean(axis=1)


def inputs(stamps: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Give stamps (n, 2, bands, k, k) as a graph takes them."""
    return {name: np.ascontiguousarray(stamps[:, number]) for number, name in enumerate((FLUX, INVERSE_VARIANCE))}


def speed_up(fit: Fit, full: bytes, other: bytes) -> float:
    """Give the CPU time of one file over that of another, on one batch; the median of turns taken by both."""
    sessions = [open_session(content, provider="cpu", source=str(fit.folder)) for content in (full, other)]
    stamps, _, _ = held_out_stamps(fit.folder)
    batch = inputs(stamps[:BATCH])
    ratios = []
    for _ in range(REPEATS):
        seconds = []
        for session in sessions:
            began = time.process_time()
            session.run([OUTPUT], batch)
            seconds.append(time.process_time() - began)
        ratios.append(seconds[0] / seconds[1])
    return float(np.median(ratios))


def as_document(bills: list[Bill], taken: str, limits: ExportSettings) -> dict[str, Any]:
    """Give what `precision.json` says; a number that JSON does not know, as where there is no answer, is null."""
    return {"taken": taken, "limits": limits.model_dump(), "bills": [_finite(asdict(bill)) for bill in bills]}


def _finite(told: Any) -> Any:
    if isinstance(told, dict):
        return {name: _finite(value) for name, value in told.items()}
    return None if isinstance(told, float) and not np.isfinite(told) else told
