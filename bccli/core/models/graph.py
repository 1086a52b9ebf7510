"""Keras models taken apart. No other module touches what Keras keeps to itself about a model's graph."""

import re
from collections.abc import Callable, Sequence
from typing import Any


def extractor_and_head(whole: Any) -> tuple[Any, Any]:
    """The Keras models from RGB 0–255 to features, and from these to scores, of a network in `model.keras`.

    They share their layers with the `whole` one, which `models.heads.assemble` built.
    """
    import keras

    head = whole.get_layer("head")
    (features,) = _call_of(whole, head).input_tensors
    return keras.Model(whole.input, features, name="extractor"), head


def scoring_of(whole: Any) -> Any:
    """The Keras model from RGB 0–255 to scores in a network in `model.keras`: all but the last activation."""
    import keras

    return keras.Model(whole.input, _call_of(whole, whole.get_layer("head")).outputs, name="scoring")


def _call_of(model: Any, layer: Any) -> Any:
    """The node in which a model calls one of its layers, for the last time."""
    return {id(node.operation): node for node in nodes_of(model)}[id(layer)]


def nodes_of(model: Any) -> list[Any]:
    """The nodes of a functional Keras model, each behind those that it uses."""
    by_depth = model._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def operation_of(tensor: Any) -> Any:
    """The layer or function that made a symbolic tensor."""
    return tensor._keras_history.operation


def inputs_of(tensor: Any) -> list[Any]:
    """The symbolic tensors that a symbolic tensor was made of."""
    history = tensor._keras_history
    return list(history.operation._inbound_nodes[history.node_index].input_tensors)


def reserve_names(model: Any) -> None:
    """Let Keras, which forgets its names between two runs, give others to what is built on a model."""
    import keras

    for operation in model.operations:
        keras.backend.get_uid(re.sub(r"_\d+$", "", operation.name))


def take_moments(norm: Any, over: Callable[[Sequence[int]], Callable[[Any, Any], Any]]) -> None:
    """Let a batch norm take the mean and variance of x from another function of x and its mask: what `over`
    makes for the axes that the batch norm averages."""
    norm._moments = over(norm._reduction_axes)
