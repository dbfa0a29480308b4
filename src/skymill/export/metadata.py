"""The entry ``skymill`` of an ONNX file: what the graph eats and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from skymill.config.model import PSF_PX, StampSettings
from skymill.features import deciding
from skymill.models.conformal import ConformalSets
from skymill.models.mixture import packed_width
from skymill.sessions.entry import ENTRY, FORMAT, ModelFileError, read_entry

INPUT, OUTPUT, DISTANCE, EMBEDDING = "features", "probabilities", "training_distance", "embedding"
DISAGREEMENT, VOTES = "disagreement", "votes"
PER_ROW = (DISTANCE, DISAGREEMENT)
"""Outputs that a graph may have besides, float32 (n,)."""
FLUX, INVERSE_VARIANCE = "flux", "inverse_variance"
"""Inputs of a model that looks at stamps, in place of `INPUT`: float32 (n, bands, size, size), nJy and 1 / nJy^2."""
PSF, POSTERIOR = "psf", "posterior"
"""Of a model of `task: structure`: a further input, float32 (n, bands, `PSF_PX`, `PSF_PX`), of sum 1; and the output in
place of `OUTPUT`, packed mixtures (`models.mixture`) on the scales of its quantities."""


@dataclass(frozen=True)
class ModelInput:
    """One column of a model's input."""

    name: str
    unit: str
    definition: str
    indicator: bool = False
    """Whether it only tells what was measured (a missing bit), so that alone it says nothing of a source."""
    group: str = ""
    """`photometric`, `shape`, `missing` or `value`; empty where the file's maker did not say."""


@dataclass(frozen=True)
class ModelSchema:
    """What inference needs to know of a model."""

    model: str
    kind: str
    task: str
    inputs: tuple[ModelInput, ...]
    classes: tuple[str, ...]
    training_set: str | None
    """SHA-256 of the training set; None for a model from elsewhere."""
    metrics: Mapping[str, Any]
    versions: Mapping[str, str]
    conformal: ConformalSets | None = None
    """None for a file that does not say, and for more classes than a set has bits."""
    training_distance: Mapping[str, Any] | None = None
    """What the distances of held-out rows are; None where the graph has no such output."""
    stamps: StampSettings | None = None
    """For a model that looks at stamps: their size and their bands. Its `inputs` are then the numbers that its network
    makes of a stamp."""
    precision: str = "fp32"
    """Of the encoder of a model that looks at stamps: `fp32`, `fp16` or `int8`."""
    embedding: int = 0
    """Length of the vector, itself of length 1, that it gives of each stamp; 0 where it gives none."""
    quantities: tuple[str, ...] = ()
    """Of `task: structure`: what its posteriors are of (`models.quantities`); it has no classes."""
    components: int = 0
    """Gaussians of such a posterior."""
    levels: tuple[tuple[float, ...], ...] = ()
    """(q, 5): levels of its marginals whose quantiles are told in place of `models.mixture.LEVELS`, by calibration."""

    votes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Answers of each question to volunteers whose concentrations it tells (`models.votes`)."""

    @property
    def n_answers(self) -> int:
        """Answers of all questions together."""
        return sum(map(len, self.votes.values()))

    @property
    def output(self) -> tuple[str, int]:
        """Name of what the graph gives, and the numbers of a row."""
        if self.quantities:
            return POSTERIOR, packed_width(self.components, len(self.quantities))
        return OUTPUT, len(self.classes)

    @property
    def outputs(self) -> dict[str, int]:
        """Names of all that the graph has to give, and the numbers of a row of each."""
        name, width = self.output
        beside = {EMBEDDING: self.embedding, VOTES: self.n_answers}
        return {name: width} | {other: numbers for other, numbers in beside.items() if numbers}

    @property
    def widths(self) -> dict[str, int]:
        """Numbers of a row: of what the graph gives, of its embedding, of its votes; 0 of what it does not give."""
        return {"width": self.output[1], "embedding": self.embedding, "answers": self.n_answers}

    @property
    def stamp_inputs(self) -> dict[str, tuple[int | None, ...]]:
        """Names of what a graph of stamps takes, and the shapes of a row; None where it takes any number of bands."""
        if self.stamps is None:
            return {}
        bands, size = len(self.stamps.bands) or None, self.stamps.size_px
        inputs: dict[str, tuple[int | None, ...]] = {FLUX: (bands, size, size), INVERSE_VARIANCE: (bands, size, size)}
        return inputs | ({PSF: (bands, PSF_PX, PSF_PX)} if self.quantities else {})

    @property
    def deciding(self) -> list[int]:
        """Places of the inputs of which a row needs at least one to be scored."""
        return deciding([vars(column) for column in self.inputs])

    def as_metadata(self) -> dict[str, Any]:
        """Give the entry's content."""
        optional: dict[str, Any] = {}
        if self.conformal is not None:
            optional["conformal"] = self.conformal.as_dict(self.classes)
        if self.training_distance is not None:
            optional["training_distance"] = dict(self.training_distance)
        if self.stamps is not None:
            optional["stamps"] = self.stamps.model_dump(mode="json")
        if self.precision != "fp32":
            optional["precision"] = self.precision
        if self.embedding:
            optional["embedding"] = self.embedding
        if self.votes:
            optional["votes"] = {question: list(answers) for question, answers in self.votes.items()}
        if self.quantities:
            told = {"components": self.components, "levels": [list(own) for own in self.levels]}
            optional |= {"quantities": list(self.quantities), **told}
        return {
            "format": FORMAT,
            "task": self.task,
            "model": self.model,
            "kind": self.kind,
            "inputs": [vars(column) for column in self.inputs],
            "outputs": self._outputs(),
            "classes": list(self.classes),
            "training_set": self.training_set,
            "metrics": dict(self.metrics),
            "versions": dict(self.versions),
            **optional,
        }

    def _outputs(self) -> list[dict[str, str]]:
        outputs = {OUTPUT: "calibrated class probabilities"}
        if self.quantities:
            outputs = {POSTERIOR: "weights, means and triangles of Cholesky of a calibrated mixture"}
        if self.training_distance is not None:
            outputs[DISTANCE] = "how far outside the training rows; above 1 is outside"
        if self.embedding:
            outputs[EMBEDDING] = "vector of length 1 that lies near those of stamps that look alike"
        if self.votes:
            outputs[VOTES] = "calibrated concentrations of the answers to each question, of a Dirichlet distribution"
        return [
            {"name": name, "dtype": "float32", "unit": "", "definition": definition}
            for name, definition in outputs.items()
        ]

    @classmethod
    def read(cls, path: str | Path) -> ModelSchema:
        """Read the entry of an ONNX file without opening a session.

        Raises
        ------
        ModelFileError
            As `from_properties`.
        """
        import onnx

        proto = onnx.load(path, load_external_data=False)
        return cls.from_properties({entry.key: entry.value for entry in proto.metadata_props}, source=str(path))

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], *, source: str) -> ModelSchema:
        """Read the metadata of an ONNX file.

        Raises
        ------
        ModelFileError
            If the entry is absent, of a newer format or lacks something.
        """
        mend = "declare the file as a model of kind 'onnx' and export it, which adds the entry"
        content = read_entry(properties, source=source, mend=mend)
        try:
            return cls(
                model=content["model"],
                kind=content["kind"],
                task=content["task"],
                inputs=tuple(ModelInput(**column) for column in content["inputs"]),
                classes=tuple(content["classes"]),
                training_set=content["training_set"],
                metrics=content["metrics"],
                versions=content["versions"],
                conformal=_conformal(content),
                training_distance=content.get("training_distance"),
                stamps=StampSettings(**content["stamps"]) if "stamps" in content else None,
                precision=content.get("precision", "fp32"),
                embedding=content.get("embedding", 0),
                quantities=tuple(content.get("quantities", ())),
                components=content.get("components", 0),
                votes=content.get("votes", {}),
                levels=tuple(map(tuple, content["levels"] if "quantities" in content else ())),
            )
        except (KeyError, TypeError, ValidationError) as error:
            raise ModelFileError(
                f"{source}: metadata entry '{ENTRY}' is not complete ({error!r}); export again"
            ) from None


def _conformal(content: Mapping[str, Any]) -> ConformalSets | None:
    return ConformalSets.from_dict(content["conformal"], content["classes"]) if "conformal" in content else None
