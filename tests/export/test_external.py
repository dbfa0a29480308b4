"""ONNX files made elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from stamp_models import SIZE, write_stamp_model

from skymill import export
from skymill.config import ConfigError, ModelConfig
from skymill.config.model import StampSettings
from skymill.export.metadata import ModelSchema
from skymill.sessions.entry import ModelFileError
from skymill.sessions.runtime import open_session

WEIGHTS = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)


def write_model(
    path: Path,
    *,
    end: str = "Softmax",
    source: str = "features",
    target: str = "probabilities",
    axis: int = 1,
    rows: object = "n",
) -> Path:
    """A file as another project would write it: its own producer, no skymill metadata."""
    nodes = [helper.make_node("MatMul", [source, "w"], ["logits"])]
    attributes = {"axis": axis} if end == "Softmax" else {}
    nodes.append(helper.make_node(end, ["logits"], [target], **attributes))
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, [rows, 2])],
        [helper.make_tensor_value_info(target, TensorProto.FLOAT, [rows, 3])],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="another project")
    model.ir_version = 9
    onnx.save(model, path)
    return path


def config(path: Path, **changes: object) -> ModelConfig:
    settings = {"classes": ["star", "galaxy", "quasar"], "indicators": ["missing_u"]}
    return ModelConfig(
        **{
            "name": "theirs",
            "kind": "onnx",
            "path": str(path),
            "features": ["u_g", "missing_u"],
            "settings": settings,
            **changes,
        }
    )


def test_a_file_from_elsewhere_is_described_and_gives_the_same(tmp_path):
    path = write_model(tmp_path / "theirs.onnx")
    manifest = json.loads(export.to_onnx(None, output=tmp_path, model=config(path)).read_text())
    file = tmp_path / "models" / "theirs" / f"{manifest['onnx']}.onnx"
    schema = ModelSchema.read(file)
    assert schema.classes == ("star", "galaxy", "quasar") and schema.training_set is None
    assert [(column.name, column.indicator) for column in schema.inputs] == [("u_g", False), ("missing_u", True)]
    assert manifest["parity"] is None and manifest["fit"] is None
    rows = np.random.default_rng(1).normal(size=(50, 2)).astype(np.float32)
    ours, theirs = (
        open_session(p.read_bytes(), provider="cpu", source="test").run(None, {"features": rows})[0]
        for p in (file, path)
    )
    np.testing.assert_array_equal(ours, theirs)


def test_our_own_file_is_taken_with_its_own_description(tmp_path):
    first = json.loads(
        export.to_onnx(None, output=tmp_path, model=config(write_model(tmp_path / "a.onnx"))).read_text()
    )
    file = tmp_path / "models" / "theirs" / f"{first['onnx']}.onnx"
    plain = ModelConfig(name="again", kind="onnx", path=str(file))
    again = json.loads(export.to_onnx(None, output=tmp_path, model=plain).read_text())
    assert again["schema"]["classes"] == ["star", "galaxy", "quasar"] and again["onnx"] == first["onnx"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": ["photometric"]}, r"must name each feature in `features` \(found the groups \['photometric'\]\)"),
        ({"settings": {}}, r"its classes in `settings.classes` \(found None\)"),
        ({"features": ["u_g", "missing_u", "z"]}, r"input 'features': expected .*\(n, 3\).*found .*'n', 2"),
        ({"settings": {"classes": ["a", "b"]}}, r"output 'probabilities': expected .*\(n, 2\).*found .*'n', 3"),
        ({"settings": {"classes": ["a", "b", "c"], "indicators": ["x"]}}, r"settings.indicators \['x'\] are not in"),
    ],
)
def test_names_that_do_not_fit_the_file_are_refused(tmp_path, changes, message):
    with pytest.raises(ModelFileError, match=message):
        export.to_onnx(None, output=tmp_path, model=config(write_model(tmp_path / "m.onnx"), **changes))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"source": "input"}, "expected the input 'features', found input"),
        ({"target": "scores"}, "expected the output 'probabilities', found scores"),
        ({"end": "Relu"}, "are no probabilities: rows sum to .* end the graph with a Softmax"),
        ({"axis": 0}, "depends on the other rows"),
        ({"rows": 5}, "shape .* with free n, found tensor.float. .5, 2."),
    ],
)
def test_graphs_outside_the_contract_are_refused(tmp_path, model, message):
    with pytest.raises(ModelFileError, match=message):
        export.to_onnx(None, output=tmp_path, model=config(write_model(tmp_path / "m.onnx", **model)))
    assert not (tmp_path / "models").exists()


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(ModelFileError, match=r"absent\.onnx: no such file"):
        export.to_onnx(None, output=tmp_path, model=config(tmp_path / "absent.onnx"))
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(ModelFileError, match=r"text\.onnx: not a valid ONNX file"):
        export.to_onnx(None, output=tmp_path, model=config(tmp_path / "text.onnx"))


def test_weights_in_another_file_are_refused(tmp_path):
    model = onnx.load(write_model(tmp_path / "m.onnx"))
    onnx.save_model(
        model, tmp_path / "split.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    with pytest.raises(ModelFileError, match="keeps its weights in another file"):
        export.to_onnx(None, output=tmp_path, model=config(tmp_path / "split.onnx"))


def test_an_unknown_setting_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match="model 'theirs': settings: clases: unknown key"):
        export.to_onnx(
            None, output=tmp_path, model=config(write_model(tmp_path / "m.onnx"), settings={"clases": ["a", "b"]})
        )


STAMPS = {"size_px": SIZE, "bands": ["g", "r", "i"]}


def stamp_config(path: Path, **changes: object) -> ModelConfig:
    return ModelConfig(**{"name": "theirs", "kind": "onnx", "path": str(path), **changes})


def without_entry(path: Path) -> Path:
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    return path


def test_a_file_that_looks_at_stamps_says_so_itself_or_in_the_models_file(tmp_path):
    said = write_stamp_model(tmp_path / "said.onnx", distance=True)
    bare = without_entry(write_stamp_model(tmp_path / "bare.onnx"))
    declared = {"stamps": STAMPS, "settings": {"classes": ["BLUE", "RED"]}}
    for config in (stamp_config(said), stamp_config(said, stamps=STAMPS), stamp_config(bare, **declared)):
        manifest = json.loads(export.to_onnx(None, output=tmp_path, model=config).read_text())
        schema = ModelSchema.read(tmp_path / "models" / "theirs" / f"{manifest['onnx']}.onnx")
        assert schema.stamps == StampSettings(**STAMPS) and schema.classes == ("BLUE", "RED")
        assert manifest["schema"]["stamps"]["size_px"] == SIZE


@pytest.mark.parametrize(
    ("graph", "changes", "message"),
    [
        ({}, {"stamps": {**STAMPS, "size_px": 32}}, r"expected .*\(n, 3, 32, 32\) .*found .*\('n', 3, 48, 48\)"),
        ({}, {"stamps": {**STAMPS, "bands": ["g", "r"]}}, r"expected .*\(n, 2, 48, 48\)"),
        ({}, {"stamps": {"size_px": SIZE}}, r"stamps of no band; name them in `stamps.bands`"),
        ({}, {"settings": {}}, "must name its classes in `settings.classes`, found none"),
        ({}, {"settings": {"classes": ["a", "b", "c"]}}, r"output 'probabilities': expected .*\(n, 3\)"),
        ({}, {"stamps": None, "features": ["g"]}, "expected the input 'features', found flux, inverse_variance"),
        ({"batch": 5}, {}, r"'inverse_variance': expected .* with free n, found tensor.float. \(5, 3"),
    ],
)
def test_stamps_that_do_not_fit_the_graph_are_refused(tmp_path, graph, changes, message):
    path = without_entry(write_stamp_model(tmp_path / "m.onnx", **graph))
    config = stamp_config(path, **{"stamps": STAMPS, "settings": {"classes": ["BLUE", "RED"]}, **changes})
    with pytest.raises(ModelFileError, match=message):
        export.to_onnx(None, output=tmp_path, model=config)
    assert not (tmp_path / "models").exists()


def test_stamps_that_contradict_the_file_are_refused(tmp_path):
    path = write_stamp_model(tmp_path / "m.onnx")
    with pytest.raises(ModelFileError, match="declares `stamps` of 32 x 32 px in g, the file itself of 48"):
        export.to_onnx(None, output=tmp_path, model=stamp_config(path, stamps={"size_px": 32, "bands": ["g"]}))


def test_another_form_of_stamps_exports_a_file_again(tmp_path):
    path = without_entry(write_stamp_model(tmp_path / "m.onnx"))
    digests = {settings_digest(stamp_config(path, stamps={"bands": bands})) for bands in (["g"], ["r"])}
    assert len(digests | {settings_digest(stamp_config(path))}) == 3


def settings_digest(config: ModelConfig) -> str:
    return export.settings_digest(config, provider="cpu")


def embed_flux(path: Path, *, norm: bool) -> Path:
    """Give a file an embedding: the fluxes along the first line of a stamp, made a vector of length 1 or not."""
    model = onnx.load(write_stamp_model(path))
    nodes, target = [helper.make_node("Slice", ["flux", "start", "stop"], ["line"])], "embedding"
    nodes.append(helper.make_node("Reshape", ["line", "flat"], ["values"]))
    nodes.append(helper.make_node("LpNormalization" if norm else "Identity", ["values"], [target]))
    model.graph.node.extend(nodes)
    for name, values in (("start", [0, 0, 0, 0]), ("stop", [999, 1, 1, SIZE]), ("flat", [-1, SIZE])):
        model.graph.initializer.append(numpy_helper.from_array(np.array(values), name))
    model.graph.output.append(helper.make_tensor_value_info(target, TensorProto.FLOAT, ["n", SIZE]))
    onnx.save(model, path)
    return path


def test_an_embedding_has_length_one_or_the_file_is_refused(tmp_path):
    """A stamp of nothing need not have one."""
    sound = stamp_config(embed_flux(tmp_path / "sound.onnx", norm=True))
    assert json.loads(export.to_onnx(None, output=tmp_path, model=sound).read_text())["schema"]["embedding"] == SIZE
    with pytest.raises(ModelFileError, match=r"longer\.onnx: 'embedding' are no vectors of length 1, but of "):
        export.to_onnx(None, output=tmp_path, model=stamp_config(embed_flux(tmp_path / "longer.onnx", norm=False)))
