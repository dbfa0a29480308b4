"""A small run, made in this process by the stages themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from skymill import export, features, inference, release, report, tiling, training
from skymill.config import ComputeSettings, ModelConfig, RunConfig, SurveyConfig
from skymill.survey import open_survey

FIT = "0123456789ab"
CLASSES = ["GALAXY", "QSO", "STAR"]
LINE = {"name": "line", "kind": "linear_cut", "catalogue": False}
"""Fitted and compared, but without a catalogue."""
MODELS = {
    "forest": {"kind": "forest", "settings": {"trees": 5, "max_depth": 6}},
    "mlp": {"kind": "mlp", "settings": {"members": 1, "width": 8, "depth": 1, "epochs": 3}},
}


@dataclass(frozen=True)
class Made:
    """A run whose page is written."""

    output: Path
    run: RunConfig
    survey: SurveyConfig

    @property
    def models(self) -> list[str]:
        return list(MODELS)

    def page(self) -> str:
        """Write the page again and read it."""
        compared = [self.output / "training" / "line" / FIT]
        report.page(self.run, self.survey, self.models, self.output, compared=compared)
        return (self.output / "report" / "index.html").read_text()

    def read(self, path: str) -> dict[str, Any]:
        """Read the one JSON file that a pattern names."""
        (found,) = self.output.glob(path)
        return json.loads(found.read_text())


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, compute: ComputeSettings) -> Made:
    output = tmp_path_factory.mktemp("report") / "results"
    simulation = {"rows": 12_000, "area_deg2": 6, "seed": 3}
    survey = SurveyConfig.model_validate(
        {"name": "small", "format": "simulated", "bands": list("ugrizy"), "simulation": simulation}
    )
    run = RunConfig.model_validate(
        {
            "name": "small",
            "survey": "unused",
            "output": str(output),
            "tiling": {"max_rows": 4_000, "group_order": 0},
            "labels": {"format": "simulated", "column": "class", "classes": CLASSES, "match": "id"},
            "split": {"order": 8, "validation": 0.2, "test": 0.2, "guard_arcsec": 30},
        }
    ).model_copy(update={"compute": compute})
    sources, computed = make_catalogues(run, survey, output)
    opened = open_survey(survey, part_rows=run.tiling.part_rows, cache=output / ".cache")
    training.make_set(run, opened, computed, output=output)
    learned = output / "training" / json.loads((output / "training" / "set.json").read_text())["file"]
    training.fit(learned, ModelConfig.model_validate(LINE), seed=1, output_folder=output / "training" / "line" / FIT)
    recipe = features.make_recipe(survey, run.features)
    for name, settings in MODELS.items():
        model = ModelConfig.model_validate({"name": name, "features": ["photometric", "shape", "missing"], **settings})
        folder = output / "training" / name / FIT
        training.fit(learned, model, seed=1, output_folder=folder)
        export.to_onnx(folder / "manifest.json", output=output, model=model, recipe=recipe)
        onnx = next((output / "models" / name).glob("*.onnx"))
        score = {"model": name, "settings": run.inference, "compute": compute, "workers": 1}
        scored = [inference.run(path, onnx, output=output, **score) for path in computed]
        release.seal(name, scored, sources=sources, features=computed, output=output)
        shift = {"run": run, "bands": survey.bands, "output_folder": output / "training" / "shift" / name}
        training.measure_shift(folder / "manifest.json", learned, **shift)
    return Made(output, run, survey)


def make_catalogues(run: RunConfig, survey: SurveyConfig, output: Path) -> tuple[Sequence[Path], Sequence[Path]]:
    """Make and seal sources and features; give their manifests."""
    opened = open_survey(survey, part_rows=run.tiling.part_rows, cache=output / ".cache")
    tiling.plan(run, opened, output, workers=2)
    groups = tiling.groups(output / "tiling" / "plan.json")
    files = [output / "tiling" / "groups" / f"{name}-{digest[:12]}.json" for name, digest in groups.items()]
    sources = [tiling.partition(run, opened, file, output, workers=2) for file in files]
    made = {"survey": survey, "settings": run.features, "compute": run.compute}
    computed = [features.compute(path, output=output, workers=1, **made) for path in sources]
    release.seal("sources", sources, sources=sources, output=output)
    release.seal("features", computed, sources=sources, output=output)
    return sources, computed
