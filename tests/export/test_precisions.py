"""Networks in fewer bits: what is compared, by hand; what is taken; and the bytes."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from drawn_stamps import SIZE, draw

from skymill.config.model import ExportSettings, ModelConfig, StampSettings
from skymill.export import precisions, stamp_network
from skymill.export.distance import append_distance
from skymill.export.graph import to_bytes
from skymill.export.metadata import DISAGREEMENT, EMBEDDING, OUTPUT, ModelInput, ModelSchema
from skymill.export.parity import ParityError
from skymill.export.precisions import Bill, Cost, _Answer, choose_precision, compare, convert_precision, inputs, measure
from skymill.models import KINDS, Cnn, Place
from skymill.models.cnn import CnnSettings
from skymill.sessions.runtime import open_session
from skymill.training.distance import fit_distance
from skymill.training.stamp_set import HELD_OUT_STAMPS

ROWS = 400
ANY = ExportSettings(max_flip_rate=1.0, max_ece_shift=1.0, min_cosine=-1.0)


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A small network, its file in full precision, and the stamps that its fit would have kept."""
    folder, kind = tmp_path_factory.mktemp("fit"), KINDS["contrastive"]
    train, held_out = draw(400, seed=1), draw(120, seed=2)
    small = {"width": 8, "stages": 2, "depth": 1, "vector": 8, "epochs": 4, "batch_size": 50}
    model = kind.fit(train, held_out, kind.Settings.model_validate(small), seed=5, place=Place(folder, "cpu"))
    is_test = np.arange(120) >= 60
    np.savez(folder / HELD_OUT_STAMPS, stamps=held_out.features, labels=held_out.labels, is_test=is_test)
    form = StampSettings(size_px=SIZE, bands=["g", "r"])
    columns = tuple(ModelInput(f"vector_{number:03d}", "1", "a number") for number in range(8))
    schema = ModelSchema("alike", "contrastive", "classification", columns, ("A", "B"), None, {}, {}, stamps=form)
    schema = replace(schema, embedding=8)
    vectors = [model.encode(each.features) for each in (train, held_out)]
    distance, _ = fit_distance(*vectors, indicator=np.zeros(8, bool), quantile=0.99)
    head = append_distance(stamp_network.convert(model), distance)
    graph = stamp_network.prepend_encoder(model, head, form, embedding=True)
    return SimpleNamespace(
        folder=folder, full=to_bytes(graph, schema.as_metadata()), schema=schema, stamps=held_out.features, votes=None
    )


def test_the_cost_of_a_precision_is_counted_by_hand() -> None:
    full = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]])
    other = np.array([[0.8, 0.2], [0.55, 0.45], [0.2, 0.8], [np.nan, np.nan]])
    vectors, far = np.eye(4), (np.array([0.5, 0.5, 1.5, 1.5]), np.array([0.5, 1.5, 1.5, 0.5]))
    turned = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0.6, 0.8], [0, 0, 0, 1.0]])
    halves = [
        (_Answer(full[some], far[0][some], vectors[some]), _Answer(other[some], far[1][some], turned[some]))
        for some in (slice(2), slice(2, 4))
    ]
    cost = compare(halves)
    assert (cost.stamps, cost.flip_rate, cost.max_probability_difference) == (4, 0.5, np.inf)
    assert cost.outside_rate == 0.5
    assert (cost.min_cosine, cost.mean_cosine) == (0.6, 0.9)
    plain = compare([(_Answer(full[:2], far[0][:2], None), _Answer(other[:2], far[0][:2], None))])
    assert plain.mean_probability_difference == pytest.approx(0.125)
    assert plain.min_cosine is None and plain.mean_fraction_difference is None
    voted = [
        _Answer(full[:2], far[0][:2], None, np.array(each)) for each in ([[0.5, 0.5], [1, 0]], [[0.4, 0.6], [1, 0]])
    ]
    assert compare([(voted[0], voted[1])]).mean_fraction_difference == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []),
        ({"real": {"flip_rate": 0.04}}, ["4.00% of the real stamps have another class"]),
        ({"changed": {"flip_rate": 0.04}}, ["4.00% of the changed stamps have another class"]),
        ({"real": {"mean_cosine": 0.98}}, ["the embeddings of real stamps have a mean cosine of 0.9800"]),
        ({"real": {"mean_fraction_difference": 0.005}}, []),
        (
            {"changed": {"mean_fraction_difference": 0.02}},
            ["the vote fractions for changed stamps differ by 0.0200 on average"],
        ),
        ({"hard": {"max_probability_difference": np.inf}}, ["some hard stamps have no answer"]),
        ({"hard": {"flip_rate": 0.5, "mean_cosine": 0.1}}, []),
        ({"ece": 0.001}, []),
        ({"ece": np.nan}, ["the calibration error goes from 0.0100 to nan"]),
        ({"ece": 0.03}, ["the calibration error goes from 0.0100 to 0.0300"]),
        ({"real": {"outside_rate": 0.1}}, ["10.00% of the real stamps change `outside_training`"]),
    ],
)
def test_what_is_over_the_limits_is_named(changes: dict, told: list[str]) -> None:
    sound = Cost(100, 0.0, 0.0, 0.01, 0.001, 0.99, 0.999)
    bill = Bill("int8", sound, sound, sound, 0.01, 0.011)
    for name, value in changes.items():
        bill = replace(bill, **{name: replace(sound, **value) if isinstance(value, dict) else value})
    assert bill.over(ExportSettings()) == told


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_precision_gives_nearly_the_same_and_the_same_bytes_each_time(fit: SimpleNamespace, precision: str) -> None:
    schema = replace(fit.schema, precision=precision)
    made = convert_precision(fit, fit.full, schema)
    assert made == convert_precision(fit, fit.full, schema)
    sessions = [open_session(content, provider="cpu", source="test") for content in (fit.full, made)]
    full, other = (session.run([OUTPUT, EMBEDDING], inputs(fit.stamps)) for session in sessions)
    assert not np.array_equal(full[0], other[0])
    assert np.mean(full[0].argmax(axis=1) == other[0].argmax(axis=1)) > 0.95
    np.testing.assert_allclose(np.linalg.norm(other[1], axis=1), 1, atol=1e-5)
    assert (full[1] * other[1]).sum(axis=1).mean() > 0.99
    assert ModelSchema.from_properties(sessions[1].get_modelmeta().custom_metadata_map, source="test") == schema


def test_integers_are_inside_and_half_precision_is(fit: SimpleNamespace) -> None:
    halved, quantised = (
        onnx.load_from_string(convert_precision(fit, fit.full, replace(fit.schema, precision=name)))
        for name in ("fp16", "int8")
    )
    weights = {tensor.name: tensor.data_type for tensor in halved.graph.initializer}
    assert onnx.TensorProto.FLOAT16 in weights.values()
    assert weights["encode_stretch.noise"] == onnx.TensorProto.FLOAT
    assert "QuantizeLinear" in {node.op_type for node in quantised.graph.node}
    assert onnx.TensorProto.INT8 in {tensor.data_type for tensor in quantised.graph.initializer}


def test_of_several_networks_each_has_its_first_convolution_in_full_and_all_outputs_stay(
    fit: SimpleNamespace, tmp_path: Path
) -> None:
    settings = CnnSettings(width=8, stages=2, depth=1, vector=4, epochs=1, batch_size=50, members=2)
    model = Cnn.fit(draw(100, seed=1), draw(60, seed=2), settings, seed=5, place=Place(tmp_path, "cpu"))
    head = stamp_network.append_disagreement(model, stamp_network.convert(model))
    schema = replace(fit.schema, kind="cnn", embedding=0)
    full = to_bytes(stamp_network.prepend_encoder(model, head, schema.stamps), schema.as_metadata())
    graph = onnx.load_from_string(full).graph
    convolutions = [each.name for each in graph.node if each.op_type == "Conv"]
    assert len(convolutions) == 6
    assert sum(name in precisions._chosen(onnx.load_from_string(full)) for name in convolutions) == 4
    for precision in ("fp16", "int8"):
        made = convert_precision(fit, full, replace(schema, precision=precision))
        sessions = [open_session(content, provider="cpu", source="test") for content in (full, made)]
        one, other = (session.run([OUTPUT, DISAGREEMENT], inputs(fit.stamps)) for session in sessions)
        for before, after in zip(one, other, strict=True):
            np.testing.assert_allclose(after, before, atol=0.05)


def test_the_bill_is_that_of_test_stamps_and_of_changed_ones_up_to_the_rows(fit: SimpleNamespace) -> None:
    same = measure(fit, fit.full, fit.full, "fp32", rows=ROWS)
    assert (same.real.stamps, same.changed.stamps) == (60, ROWS // 60 * 60)
    assert same.hard.stamps == 6 * 60
    for cost in (same.real, same.changed, same.hard):
        assert (cost.flip_rate, cost.max_probability_difference) == (0, 0)
        assert cost.min_cosine == pytest.approx(1, abs=1e-5)
    assert same.ece == same.ece_full


def test_the_fastest_that_passes_is_taken(fit: SimpleNamespace, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    content, schema, bills = choose_precision(fit, fit.full, fit.schema, ANY, provider="cpu", rows=ROWS)
    assert (schema.precision, [bill.precision for bill in bills]) == ("int8", ["int8"])
    assert b"QuantizeLinear" in content
    assert "times as fast on this CPU; within the limits" in caplog.text
    _, schema, _ = choose_precision(fit, fit.full, fit.schema, ANY, provider="cuda", rows=ROWS)
    assert schema.precision == "fp16"


def test_one_that_fails_is_told_and_full_precision_taken(fit: SimpleNamespace) -> None:
    strict = ANY.model_copy(update={"min_cosine": 1.0})
    content, schema, bills = choose_precision(fit, fit.full, fit.schema, strict, provider="cpu", rows=ROWS)
    assert content == fit.full
    assert schema == fit.schema
    told = json.loads(json.dumps(precisions.as_document(bills, schema.precision, strict)))
    assert (told["taken"], told["bills"][0]["precision"], told["bills"][0]["real"]["stamps"]) == ("fp32", "int8", 60)


def test_what_has_no_answer_is_told_as_null() -> None:
    without = compare(
        [tuple(_Answer(each, np.ones(1), np.eye(2)[:1]) for each in (np.ones((1, 2)) / 2, np.full((1, 2), np.nan)))]
    )
    sound = Cost(100, 0.0, 0.0, 0.01, 0.001, 0.99, 0.999)
    document = precisions.as_document([Bill("int8", sound, sound, without, 0.01, 0.01)], "fp32", ExportSettings())
    [bill] = json.loads(json.dumps(document, allow_nan=False))["bills"]
    assert (bill["hard"]["flip_rate"], bill["hard"]["max_probability_difference"]) == (1.0, None)
    assert bill["real"]["max_probability_difference"] == 0.01


def test_one_that_was_asked_for_by_name_and_fails_is_an_error(fit: SimpleNamespace) -> None:
    strict = ANY.model_copy(update={"min_cosine": 1.0, "precision": "int8"})
    with pytest.raises(ParityError, match="model 'alike' in int8: the embeddings of real stamps"):
        choose_precision(fit, fit.full, fit.schema, strict, provider="cpu", rows=ROWS)


def test_a_model_of_features_has_one_precision(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'int8' is for models of pixels that are fitted here"):
        ModelConfig(name="forest", kind="forest", export={"precision": "int8"})


def test_more_than_the_limit_is_too_many_where_chance_hardly_makes_it() -> None:
    """At a true rate of 1 % of 100: three or more in 7.9 % of cases, four or more in 1.8 %."""
    assert not precisions.too_many(0.03, 100, 0.01)
    assert precisions.too_many(0.04, 100, 0.01)
    assert not precisions.too_many(0.0, 100, 0.0)
    assert precisions.too_many(0.01, 100, 0.0)


def test_a_file_without_convolutions_to_convert_stays_as_it_is(fit: SimpleNamespace) -> None:
    content = onnx.load_from_string(fit.full)
    for each in content.graph.node:
        each.name = each.name.replace("encode_", "")
    plain = content.SerializeToString()
    taken, schema, bills = choose_precision(fit, plain, fit.schema, ANY, provider="cpu", rows=ROWS)
    assert (taken, schema.precision, bills) == (plain, "fp32", [])
    asked = ANY.model_copy(update={"precision": "int8"})
    with pytest.raises(ParityError, match="nothing in its encoder would be converted"):
        choose_precision(fit, plain, fit.schema, asked, provider="cpu", rows=ROWS)
