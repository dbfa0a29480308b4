"""The examples of docs/images.md hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from skymill.config.images import ImageSettings
from skymill.survey.images.files import list_tiles
from skymill.survey.images.layout import read_geometry, read_tile

PAGE = Path(__file__).parents[3] / "docs" / "images.md"
EXAMPLES = {
    survey["name"]: survey
    for survey in map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL))
    if "name" in survey  # the others are parts of one
}


def test_there_is_an_example_of_each_layout() -> None:
    layouts = {survey["images"]["layout"] for survey in EXAMPLES.values() if survey.get("format") == "images"}
    assert layouts == {"fits", "exposure", "cells", "numpy", "zarr"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_valid(name: str) -> None:
    ImageSettings.model_validate(EXAMPLES[name]["images"])


@pytest.mark.parametrize("name", ["stripe82", "calexp", "blends"])
def test_examples_of_real_files_read_them(data: Path, name: str) -> None:
    survey: dict[str, Any] = EXAMPLES[name]
    settings, bands = ImageSettings.model_validate(survey["images"]), survey["bands"]
    folder = data / survey["path"].split("/", 1)[1]
    tiles = list_tiles(folder, settings, bands)
    geometry = read_geometry(tiles[0], folder, settings, bands)
    assert geometry.bands == tuple(bands)
    if name != "stripe82":  # which other tests unpack
        assert set(read_tile(tiles[0], folder, settings, bands).psf) == set(bands)
