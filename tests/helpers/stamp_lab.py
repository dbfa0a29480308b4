"""A small survey of images on disk up to its feature catalogue, and a model of stamps to run over it.

`stamp_lab.py FOLDER MANIFEST` runs it over the sources of a feature manifest, to be killed meanwhile.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import image_files
import numpy as np
from stamp_models import write_stamp_model
from survey_files import edit_yaml, write_yaml

from skymill import features, inference, tiling
from skymill.cli.chain import Chain
from skymill.config import read_yaml
from skymill.config.run import InferenceSettings
from skymill.features.stamps import SourceImages
from skymill.store import GroupManifest, Pool, open_tile


@dataclass
class StampLab:
    """A folder with images and what was made of them; the working directory is that folder."""

    folder: Path
    model: Path
    scheduler: str = "local"

    @property
    def chain(self) -> Chain:
        """The run, read anew."""
        return Chain.from_config(read_yaml(self.folder / "config.yaml"), [str(self.folder / "config.yaml")])

    @property
    def catalogue(self) -> Path:
        """Folder of the model's catalogue."""
        return Path(self.chain.output) / "catalogues" / "colour"

    @property
    def group_files(self) -> list[str]:
        """Plans of image tiles."""
        planned = json.loads((Path(self.chain.output) / "tiling" / "images.json").read_text())["groups"]
        folder = f"{self.chain.output}/tiling/images"
        return [f"{folder}/{name}-{each['digest'][:12]}.json" for name, each in planned.items()]

    def measure(self) -> Path:
        """Make everything up to the features, in as far as it does not stand; give the one group's manifest."""
        chain, output = self.chain, Path(self.chain.output)
        compute = chain.run.compute.model_copy(update={"scheduler": self.scheduler})
        run = chain.run.model_copy(update={"compute": compute})
        tiling.plan_images(run, chain.survey, output, workers=1)
        for path in self.group_files:
            features.measure_group(path, output=output, survey=chain.survey, run=run, workers=1)
        measured = chain.sources()
        tiling.plan(run, measured, output, workers=1)
        [(name, planned)] = json.loads((output / "tiling" / "plan.json").read_text())["groups"].items()
        group = output / "tiling" / "groups" / f"{name}-{planned['digest'][:12]}.json"
        sources = tiling.partition(run, measured, group, output, workers=1)
        settings: dict[str, Any] = {"survey": chain.survey.config, "settings": run.features, "compute": compute}
        return features.compute(sources, output=output, workers=1, **settings)

    def run(
        self, manifest: Path, *, images: SourceImages | None = None, scheduler: str = "", block_rows: int = 64
    ) -> GroupManifest:
        """Run the model over the group of a feature manifest."""
        chain = self.chain
        written = inference.run(
            manifest,
            self.model,
            output=chain.output,
            model="colour",
            settings=InferenceSettings(block_rows=block_rows),
            compute=chain.run.compute.model_copy(update={"scheduler": scheduler or self.scheduler, "retries": 0}),
            workers=1,
            images=images or SourceImages.open(chain.survey, self.group_files),
        )
        return GroupManifest.read(written)

    def rows(self, manifest: GroupManifest) -> dict[str, Any]:
        """All rows of a group's tiles of some catalogue, column by column."""
        pool = Pool(Path(self.chain.output) / "catalogues" / manifest.catalogue)
        tiles = [open_tile(pool.path(entry.tile, entry.key)).rows() for entry in manifest.tiles]
        return {name: np.concatenate([tile[name] for tile in tiles]) for name in tiles[0]}


def make_lab(folder: Path, *, scheduler: str = "local") -> StampLab:
    """Write the images, the run's files and the model; tiles of at most a hundred sources."""
    image_files.write_images(folder)
    files = image_files.configuration()
    write_yaml(folder / "survey.yaml", files["survey"] | {"path": str(folder / "images")})
    edit_yaml(
        folder / "config.yaml",
        models=[],
        labels=None,
        tiling={"max_rows": 100, "highest_order": 8, "group_order": 0},
        survey=str(folder / "survey.yaml"),
        output=str(folder / "results"),
    )
    return StampLab(folder, write_stamp_model(folder / "colour.onnx"), scheduler)


if __name__ == "__main__":
    in_folder = StampLab(Path(sys.argv[1]), Path(sys.argv[1]) / "colour.onnx")
    in_folder.run(Path(sys.argv[2]))
