"""What one model of a run learns from, found in the run's folder or made by the workflow."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skymill.cli.chain import Chain
from skymill.config import ModelConfig, read_yaml

if TYPE_CHECKING:
    from skymill.features.stamps import SourceImages
    from skymill.training.weighting import Importance

FOLDER = "workbench"
"""Of a run's folder: what these commands write. No file of the workflow is below it."""


@dataclass(frozen=True)
class Inputs:
    """One model and what it learns from; no fit of the run is among it but those of an ensemble's members."""

    chain: Chain
    model: ModelConfig
    training_set: dict[str, Any]
    """What `training/set.json` says."""
    images: SourceImages | None

    @classmethod
    def find(cls, configfile: Path, name: str, changes: dict[str, Any]) -> Inputs:
        """Take up a model of a run with some of its settings changed; what is missing, the workflow makes first.

        Raises
        ------
        ValueError
            If the run fits no such model.
        FileNotFoundError
            If the workflow does not come to what is missing.
        """
        chain = Chain.from_config(read_yaml(configfile), [configfile])
        if name not in chain.trained_models:
            raise ValueError(
                f"{configfile}: expected one of the models it fits ({', '.join(chain.trained_models)}), found '{name}'"
            )
        model = chain.models[name]
        changed = model.model_copy(update={"settings": {**model.settings, **changes}, "pin": None})
        changed._file = model.where
        chain.models = {**chain.models, name: changed}
        output = Path(chain.output)
        set_json = output / "training" / "set.json"
        features = [output / "catalogues" / "features" / "seal.json"] if model.importance_weighting else []
        _make([set_json, *features], configfile)
        training_set = json.loads(set_json.read_text())
        found = cls(chain, changed, training_set, _images(chain) if model.stamps else None)
        _make((folder / "manifest.json" for folder in found.members.values()), configfile)
        return found

    @property
    def path(self) -> Path:
        """The training set."""
        return Path(self.chain.output) / "training" / str(self.training_set["file"])

    @property
    def members(self) -> dict[str, Path]:
        """Folders of the fits that an ensemble is made of."""
        fits = {name: self.chain.fit_digest(name, self.training_set) for name in self.chain.members(self.model.name)}
        return {name: Path(self.chain.output) / "training" / name / fit for name, fit in fits.items()}

    @property
    def fit(self) -> str:
        """Digest that names the fit of the model with its changed settings."""
        return self.chain.asked_fit(self.model.name, self.training_set)

    def importance(self, path: Path) -> Importance | None:
        """Weigh the rows of the train split of a training set, where the model asks for it."""
        if not self.model.importance_weighting:
            return None
        from skymill.training import weigh_rows

        return weigh_rows(
            path,
            self.model,
            catalogue=Path(self.chain.output) / "catalogues" / "features",
            bands=self.chain.survey.config.bands,
            seed=self.chain.run.seed,
        )

    def folder(self, command: str, digest: str) -> Path:
        """Give the folder of what a command makes."""
        return Path(self.chain.output) / FOLDER / command / self.model.name / digest


def _images(chain: Chain) -> SourceImages | None:
    folder = Path(chain.output) / "tiling"
    planned = json.loads((folder / "images.json").read_text())["groups"]
    return chain.source_images(
        [str(folder / "images" / f"{group}-{each['digest'][:12]}.json") for group, each in sorted(planned.items())]
    )


def _make(files: Iterable[Path], configfile: Path) -> None:
    """Have the workflow make those files that are not there."""
    missing = [str(file) for file in files if not file.exists()]
    if not missing:
        return
    command = ["snakemake", *missing, "--cores", "all", "--configfile", str(configfile)]
    if not Path("Snakefile").is_file() or subprocess.run([sys.executable, "-m", *command], check=False).returncode:
        raise FileNotFoundError(
            f"{', '.join(missing)}: not there, and no workflow here that makes it; run `{' '.join(command)}` with "
            "`-s path/to/skymill/Snakefile`, or call this in the Snakefile's folder"
        )
