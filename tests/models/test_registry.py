"""The zoo's dictionary."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from skymill import models
from skymill.config import ConfigError
from skymill.models import KINDS, SEGMENTERS, Kind, Model, find, find_classifier, read_settings, register


def test_every_kind_is_a_model_of_a_file_of_its_name() -> None:
    files = {path.stem for path in Path(models.__file__).parent.glob("*.py")}
    assert {"forest", "mlp", "oblivious"} <= set(KINDS) <= files
    assert all(isinstance(kind, Kind) for kind in KINDS.values())
    assert {name for name, kind in KINDS.items() if not isinstance(kind, Model)} == {"structure"}


def test_a_kind_that_gives_no_classes_is_not_found_as_a_classifier() -> None:
    assert find_classifier("forest") is KINDS["forest"]
    with pytest.raises(ValueError, match="kind 'structure': learns no classes; correct `kind` or `task`"):
        find_classifier("structure")


def test_an_unknown_kind_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"kind 'boost': not a model of the zoo; known: .*forest, .*mlp"):
        find("boost")


def test_a_name_is_given_once() -> None:
    with pytest.raises(ValueError, match="'forest' is already taken by Forest"):
        register("forest")(KINDS["mlp"])


def test_a_misspelt_setting_names_file_key_value_and_mend() -> None:
    with pytest.raises(
        ConfigError, match=r"forest\.yaml: settings: tree: unknown key \(value 5\); did you mean 'trees'"
    ):
        read_settings("forest", {"tree": 5}, source="forest.yaml")


def test_a_setting_out_of_range_names_its_value() -> None:
    with pytest.raises(ConfigError, match=r"mlp\.yaml: settings: dropout: value 1\.5"):
        read_settings("mlp", {"dropout": 1.5}, source="mlp.yaml")


def test_every_setting_has_a_default_a_description_and_a_line_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    for kind in (*KINDS.values(), *SEGMENTERS.values()):
        kind.Settings()
        for name, key in kind.Settings.model_json_schema()["properties"].items():
            assert key.get("description"), name
            assert f"| `{name}` | {key['default']} |" in page, name


def test_looking_at_the_zoo_loads_neither_torch_nor_sklearn() -> None:
    code = "import sys, skymill.models; print({'torch', 'sklearn', 'lightning'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
