"""Partition, features and inference write the same bytes whatever the number of workers and the order of the tasks."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from snakemake_run import pool_digests
from survey_files import CLASSES, edit_yaml, write_survey

from skymill import features, inference, tiling
from skymill.cli.chain import Chain
from skymill.compute import Outcome, Task, group, run_tasks
from skymill.export.graph import constant, imputation_nodes, new_model, to_bytes
from skymill.export.metadata import ModelInput, ModelSchema
from skymill.store import GroupManifest, Pool, open_tile

WORKERS = (1, 2, 4)


def write_model(path: Path, names: list[str]) -> None:
    """A linear model with a softmax over some features."""
    weights = np.random.default_rng(5).normal(0, 0.2, (len(names), len(CLASSES)))
    nodes, constants = imputation_nodes(np.full(len(names), 20, np.float32), output="measured")
    nodes += [
        onnx.helper.make_node("MatMul", ["measured", "weights"], ["logits"]),
        onnx.helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    sizes = {"n_features": len(names), "n_classes": len(CLASSES)}
    graph = new_model(nodes, [*constants, constant("weights", weights)], **sizes)
    inputs = tuple(ModelInput(name, "mag", name, False) for name in names)
    schema = ModelSchema("m", "onnx", "classification", inputs, tuple(CLASSES), None, {}, {})
    path.write_bytes(to_bytes(graph, schema.as_metadata()))


def one_group(folder: Path, workers: int) -> tuple[dict[str, str], dict[str, bytes]]:
    """Take one group from its spilled rows to classes; give the digests of all tiles, and the manifests."""
    chain = Chain.from_config(yaml.safe_load(Path("config.yaml").read_text()) | {"output": str(folder / "results")})
    output, compute = Path(chain.output), chain.run.compute
    tiling.plan(chain.run, chain.survey, output, workers=workers)
    [(name, planned), *_] = sorted(json.loads((output / "tiling/plan.json").read_text())["groups"].items())
    spilled = output / "tiling" / "groups" / f"{name}-{planned['digest'][:12]}.json"
    shared: dict[str, Any] = {"output": output, "compute": compute, "workers": workers}
    sources = tiling.partition(chain.run, chain.survey, spilled, output, workers=workers)
    made = features.compute(sources, survey=chain.survey.config, settings=chain.run.features, **shared)
    first = GroupManifest.read(made).tiles[0]
    tile = open_tile(Pool(made.parents[2]).path(first.tile, first.key))
    model = folder / "model.onnx"
    write_model(model, list(tile.arrays["features"].attrs["columns"])[:4])  # type: ignore[call-overload]
    classes = inference.run(made, model, model="m", settings=chain.run.inference, **shared)
    return pool_digests(folder), {path.parts[-4]: path.read_bytes() for path in (sources, made, classes)}


def shuffled(seed: int) -> Any:
    """The real runner, given its tasks in another order."""

    def run(function: Any, tasks: Iterable[Task], **options: Any) -> Outcome:
        mixed = list(tasks)
        random.Random(seed).shuffle(mixed)
        return run_tasks(function, mixed, **options)

    return run


def test_workers_and_order_change_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property) -> None:
    write_survey(tmp_path / "survey")
    edit_yaml(tmp_path / "survey" / "config.yaml", tiling={"max_rows": 400, "highest_order": 8, "group_order": 0})
    monkeypatch.chdir(tmp_path / "survey")
    found = []
    for workers in WORKERS:
        monkeypatch.setattr(group, "run_tasks", shuffled(seed=workers))
        (folder := tmp_path / str(workers)).mkdir()
        found.append(one_group(folder, workers))
    tiles, manifests = found[0]
    assert len(tiles) > 30 and manifests.keys() == {"sources", "features", "m"}
    assert all(other == found[0] for other in found)
    record_property("tiles the same with 1, 2, 4 workers in another order", len(tiles))
