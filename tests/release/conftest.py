"""Running the chain as far as the source and feature catalogues, in this process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from published_run import PublishedRun, publish_run

from skymill import features, release, tiling
from skymill.config import ComputeSettings, RunConfig, SurveyConfig
from skymill.config.citation import CitationSettings
from skymill.survey import open_survey


@dataclass(frozen=True)
class Made:
    """What the stages wrote: the folder of the run and the group manifests of its catalogues."""

    output: Path
    run: RunConfig
    survey: SurveyConfig
    sources: tuple[Path, ...]

    @property
    def plan(self) -> dict[str, Any]:
        return json.loads((self.output / "tiling" / "plan.json").read_text())

    @property
    def catalogue(self) -> Path:
        """The source catalogue."""
        return self.output / "catalogues" / "sources"

    def features(self) -> tuple[Path, ...]:
        """Compute the feature catalogue and give its manifests."""
        settings = {"survey": self.survey, "settings": self.run.features, "compute": self.run.compute}
        return tuple(features.compute(path, output=self.output, workers=1, **settings) for path in self.sources)

    def seal(self) -> str:
        return release.seal("sources", self.sources, sources=self.sources, output=self.output)


def make(output: Path, survey: SurveyConfig, compute: ComputeSettings, **bounds: float) -> Made:
    """Plan and partition a survey."""
    run = RunConfig(name="test", survey="unused", output=str(output), tiling=bounds, compute=compute)
    opened = open_survey(survey, part_rows=run.tiling.part_rows, cache=output / ".cache")
    tiling.plan(run, opened, output, workers=2)
    groups = tiling.groups(output / "tiling" / "plan.json")
    files = [output / "tiling" / "groups" / f"{name}-{digest[:12]}.json" for name, digest in groups.items()]
    return Made(output, run, survey, tuple(tiling.partition(run, opened, file, output, workers=2) for file in files))


CITATION = CitationSettings.model_validate(
    {
        "title": "Toy catalogues",
        "description": "Of a toy survey.",
        "creators": [
            {"name": "Carberry, Josiah", "given_name": "Josiah", "family_name": "Carberry",
             "orcid": "https://orcid.org/0000-0002-1825-0097", "affiliation": "Brown University"},
            {"name": "The toy collaboration"},
        ],
        "publisher": "An archive",
        "license": "cc-by-4.0",
        "doi": "https://doi.org/10.5281/zenodo.1234567",
        "keywords": ["galaxies", "stars"],
        "related": [{"identifier": "10.1000/182", "relation": "IsDerivedFrom", "title": "The survey"}],
    }
)  # fmt: skip


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory, compute: ComputeSettings) -> PublishedRun:
    """Releases DR1, DR2 (another model) and DR3 (nothing new) of a small run; nothing here may be changed."""
    return publish_run(tmp_path_factory.mktemp("published"), compute, [CITATION])
