"""An ONNX file holds its own weights: it must not make its reader open another file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from skymill.sessions.entry import ModelFileError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

REFERENCE = b"location"
"""What a tensor whose values stand in another file calls the path of that file."""


def check_self_contained(content: bytes, *, source: str) -> None:
    """Refuse an ONNX file with tensors, anywhere in it, whose values stand in another file.

    Raises
    ------
    ModelFileError
        If it has some, or is no ONNX file.
    """
    if REFERENCE not in content:
        return
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise ModelFileError(f"{source}: not a valid ONNX file: {error}") from error
    refuse_external(model, source=source)


def refuse_external(model: ModelProto, *, source: str) -> None:
    """Refuse a model that `check_self_contained` refuses.

    Raises
    ------
    ModelFileError
        If it has tensors whose values stand in another file.
    """
    named = sorted({tensor.name for tensor in _tensors(model) if tensor.external_data or tensor.data_location})
    if named:
        raise ModelFileError(
            f"{source}: keeps its weights in another file ({', '.join(named)[:100]}); save it as one "
            "(onnx.save_model(model, path))"
        )


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    yield from _of_graph(model.graph)
    for training in model.training_info:
        yield from _of_graph(training.initialization)
        yield from _of_graph(training.algorithm)
    for function in model.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
    """Give the tensors among the attributes of nodes and of the graphs in them (`If`, `Loop`)."""
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _of_graph(graph)
