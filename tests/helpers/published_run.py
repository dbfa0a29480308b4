"""A small survey of three files, its sources and features, a model made by hand, and releases of it."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymill import features, release, tiling
from skymill.config import ComputeSettings, RunConfig, SurveyConfig
from skymill.config.citation import CitationSettings
from skymill.config.run import GateSettings, InferenceSettings
from skymill.export.calibrate import append_calibration
from skymill.export.graph import constant, imputation_nodes, new_model, to_bytes
from skymill.export.metadata import ModelInput, ModelSchema
from skymill.inference import run as classify
from skymill.models.calibration import Calibration
from skymill.models.conformal import ConformalSets
from skymill.store.document import to_document
from skymill.survey import file_list, open_survey

N, FILES = 900, 3
FIRST_ID = 2**60
CLASSES = ("GALAXY", "QSO", "STAR")
INPUTS = ("g_asinh_mag", "r_asinh_mag", "g_minus_r")
IMPUTED = 22.0
WEIGHTS = np.random.default_rng(5).normal(0, 0.05, (len(INPUTS), len(CLASSES))).astype(np.float32)
THRESHOLDS = (0.3, 0.25, 0.2)
NO_POSITION, TWICE, SECONDARY = 11, 12, 13
"""Ids of rows that do not become sources."""


def table() -> pa.Table:
    """Sources over two base pixels, some without a flux, and rows that are put aside; ids in no order."""
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {
        "id": FIRST_ID + rng.permutation(N),
        "ra": rng.uniform(5, 80, N),
        "dec": rng.uniform(-30, 30, N),
        "g_flux": 10 ** rng.uniform(2, 4, N),
        "r_flux": 10 ** rng.uniform(2, 4, N),
        "primary": np.ones(N, np.int8),
    }
    columns["g_flux"][::17] = np.nan
    columns["r_flux"][::34] = np.nan
    rows = [
        {"id": NO_POSITION, "ra": np.nan, "dec": 1.0, "primary": 1},
        {"id": TWICE, "ra": 10.0, "dec": 1.0, "primary": 1},
        {"id": TWICE, "ra": 70.0, "dec": 2.0, "primary": 1},
        {"id": SECONDARY, "ra": 20.0, "dec": 2.0, "primary": 0},
    ]
    odd = pa.Table.from_pylist([{"g_flux": 100.0, "r_flux": 100.0, **row} for row in rows])
    return pa.concat_tables([pa.table(columns), odd.select(list(columns)).cast(pa.table(columns).schema)])


def survey_config(folder: Path) -> dict[str, Any]:
    return {
        "name": "toy", "format": "parquet", "path": str(folder), "bands": ["g", "r"],
        "id": {"column": "id"}, "ra": {"column": "ra", "unit": "deg"}, "dec": {"column": "dec", "unit": "deg"},
        "photometry": {"psfFlux": {"column": "{band}_flux", "unit": "nJy", "softening": {"g": 10.0, "r": 10.0}}},
        "primary": {"column": "primary", "keep": 1},
    }  # fmt: skip


def model_bytes(temperature: float) -> bytes:
    """A linear model whose probabilities are calibrated with a temperature."""
    nodes, constants = imputation_nodes(np.full(len(INPUTS), IMPUTED, np.float32), output="measured")
    nodes += [
        onnx.helper.make_node("MatMul", ["measured", "weights"], ["logits"]),
        onnx.helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = new_model(nodes, [*constants, constant("weights", WEIGHTS)], n_features=len(INPUTS), n_classes=len(CLASSES))
    calibrated = append_calibration(graph, Calibration("temperature", temperature))
    return to_bytes(calibrated, schema().as_metadata())


def schema() -> ModelSchema:
    inputs = tuple(ModelInput(name, "mag", name) for name in INPUTS)
    return ModelSchema("m", "onnx", "classification", inputs, CLASSES, None, {}, {}, ConformalSets(0.9, THRESHOLDS))


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    raised = np.exp(logits - logits.max())
    return np.asarray(raised / raised.sum())


def no_page(_told: Mapping[str, Any], folder: Path) -> Path:
    """Leave the page of a comparison out: drawing it takes most of the time."""
    return folder


@dataclass(frozen=True)
class PublishedRun:
    """The run's folder, and what it was made from."""

    output: Path
    config: RunConfig
    survey: SurveyConfig
    compute: ComputeSettings

    @property
    def tables(self) -> dict[str, str]:
        return file_list(open_survey(self.survey))

    def classify(self, temperature: float) -> None:
        """Run a model over the features and seal its catalogue."""
        content = model_bytes(temperature)
        sha256 = hashlib.sha256(content).hexdigest()
        folder = self.output / "models" / "m"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{sha256[:12]}.onnx").write_bytes(content)
        told = {"onnx": sha256[:12], "sha256": sha256, "fit": None, "schema": schema().as_metadata()}
        (folder / "manifest.json").write_bytes(to_document({**told, "files": {f"{sha256[:12]}.onnx": sha256}}))
        settings = {"settings": InferenceSettings(), "compute": self.compute, "workers": 1}
        onnx_file = folder / f"{sha256[:12]}.onnx"
        made = [
            classify(path, onnx_file, output=self.output, model="m", **settings) for path in self.manifests("features")
        ]
        release.seal("m", made, sources=self.manifests("sources"), output=self.output)

    def manifests(self, catalogue: str) -> list[Path]:
        return sorted((self.output / "catalogues" / catalogue / "groups").glob("*/*.json"))

    def publish(self, name: str, citation: CitationSettings | None = None) -> None:
        release.publish(
            release.Content(
                self.output, ["sources", "features", "m"], ["m"], self.config.model_dump(mode="json"), "r_asinh_mag",
                citation or CitationSettings(), self.tables,
            ),
            name, gate=GateSettings(flip_rate=None), page=no_page, compute=self.compute,
        )  # fmt: skip


def publish_run(folder: Path, compute: ComputeSettings, citations: Sequence[CitationSettings]) -> PublishedRun:
    """Publish DR1, DR2 of another model, and DR3 of the same model again."""
    rows, edges = table(), np.linspace(0, N + 4, FILES + 1).astype(int)
    (folder / "tables").mkdir(parents=True)
    for number, (start, stop) in enumerate(itertools.pairwise(edges)):
        pq.write_table(rows.slice(start, stop - start), folder / "tables" / f"part {number}.parquet")
    survey = SurveyConfig.model_validate(survey_config(folder / "tables"))
    bounds = {"max_rows": 300, "highest_order": 6, "group_order": 0}
    config = RunConfig(name="toy_run", survey="survey.yaml", output=str(folder / "results"), tiling=bounds)
    run = PublishedRun(folder / "results", config, survey, compute)
    opened = open_survey(survey, cache=run.output / ".cache")
    config = config.model_copy(update={"compute": compute})
    tiling.plan(config, opened, run.output, workers=1)
    for name, digest in tiling.groups(run.output / "tiling" / "plan.json").items():
        group = run.output / "tiling" / "groups" / f"{name}-{digest[:12]}.json"
        sources = tiling.partition(config, opened, group, run.output, workers=1)
        features.compute(
            sources, output=run.output, survey=survey, settings=config.features, compute=compute, workers=1
        )
    release.seal("sources", run.manifests("sources"), sources=run.manifests("sources"), output=run.output)
    release.seal("features", run.manifests("features"), sources=run.manifests("sources"), output=run.output)
    for number, temperature in enumerate((2.0, 0.5, 0.5)):
        run.classify(temperature)
        run.publish(f"DR{number + 1}", citations[number] if number < len(citations) else None)
    return run
