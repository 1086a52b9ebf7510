"""What the package `onnx` knows of a model's file: where its weights lie, and its inner tensors."""

from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bccli.core.catalog import nearest
from bccli.core.errors import UsageError, WeightsError, first_line

INSTALL = "install bccli[onnx]"


def other_files(path: Path) -> set[str]:
    """The files in which an ONNX model has weights, as it names them."""
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    tensors = _tensors_of(_read(path).graph)
    return {ExternalDataInfo(one).location for one in tensors if uses_external_data(one)}


def _read(path: Path) -> Any:
    """A model without the weights that lie in other files. Raises WeightsError for what is none."""
    if find_spec("onnx") is None:
        raise WeightsError(f"{path}: a card of an ONNX file needs the package onnx; {INSTALL}")
    import onnx

    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # of protobuf's own kinds
        if isinstance(error, MemoryError):
            raise
        raise WeightsError(f"{path}: is no ONNX model ({first_line(error)}); copy it again") from None
    if not model.graph.node:
        raise WeightsError(f"{path}: is no ONNX model, or an empty one; copy it again")
    return model


def _tensors_of(graph: Any) -> Iterator[Any]:
    """All weights of a graph and of those in its nodes."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for attribute in (one for node in graph.node for one in node.attribute):
        yield from (*([attribute.t] if attribute.HasField("t") else ()), *attribute.tensors)
        for inner in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
            yield from _tensors_of(inner)


def with_outputs(path: Path, names: Sequence[str]) -> bytes:
    """The model whose outputs are these tensors, or the only ones of these nodes. Raises UsageError."""
    from onnx import ValueInfoProto

    model = _read(path)
    graph = model.graph
    by_node = {node.name: list(node.output) for node in graph.node if node.name}
    tensors = {*(name for node in graph.node for name in node.output if name), *_names(graph.output)}
    found = [_tensor(name, tensors, by_node, path) for name in names]
    del graph.output[:]
    graph.output.extend(ValueInfoProto(name=name) for name in found)
    content: bytes = model.SerializeToString()
    return content


def _tensor(name: str, tensors: Iterable[str], by_node: dict[str, list[str]], path: Path) -> str:
    if name in tensors:
        return name
    if len(by_node.get(name, ())) == 1:
        return by_node[name][0]
    hint = nearest(name, [*tensors, *by_node])
    raise UsageError(f"{path}: has no tensor or node {name!r} that could be the card's output{hint}")


def _names(values: Iterable[Any]) -> list[str]:
    return [one.name for one in values]
