"""A .tflite that shows its last maps, too: class-activation maps without TensorFlow.

The file has all that they take. The maps are what its head's features are the averages of, and the weights of
the head are constants of its graph, so nothing needs to be stored beside it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bccli.core.models.class_maps import DenseHead, Shapes
from bccli.core.models.tflite_joining import packed, parsed


class NoMapsError(Exception):
    """A network without dense layers on averages of maps, or on maps; it never leaves `models`."""


def with_map_outputs(tflite: bytes, columns: Sequence[int] = ()) -> tuple[bytes, Shapes, DenseHead]:
    """A .tflite from images to scores with further outputs: the head's features and the maps that they are
    the averages of, or that they are; these maps' shapes, and the head. A map of two views of an image has
    two shapes, and one output with two rows for each image.

    Of several heads that are joined, the one whose scores are in these `columns` counts. Raises NoMapsError
    for a network of another form.
    """
    model = parsed(tflite)
    graph = _Graph(model)
    features, head = graph.head(int(graph.graph.outputs[0]), columns)
    maps = graph.maps(features)
    shapes = [graph.shape(tensor) for tensor in maps]
    if any(len(shape) != 3 or min(shape) < 1 for shape in shapes):
        raise NoMapsError(f"maps of shapes {shapes}")
    graph.graph.outputs = [graph.graph.outputs[0], features, *dict.fromkeys(maps)]
    return packed(model), [(rows, across, channels) for rows, across, channels in shapes], head


class _Graph:
    """The operations and constants of a parsed .tflite with one graph."""

    def __init__(self, model: Any) -> None:
        from ai_edge_litert.schema_py_generated import BuiltinOperator

        self.graph, self._buffers = model.subgraphs[0], model.buffers
        self._made_by = {
            int(tensor): operator for operator in self.graph.operators for tensor in operator.outputs
        }
        names = {number: name for name, number in vars(BuiltinOperator).items() if isinstance(number, int)}
        self._names = [
            names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes
        ]

    def head(self, tensor: int, columns: Sequence[int]) -> tuple[int, DenseHead]:
        """The features below the dense layers that end in a tensor, and these layers."""
        if self._kind(tensor) == "CONCATENATION" and columns:
            tensor, columns = self._branch(tensor, columns)
        layers: list[tuple[np.ndarray, np.ndarray]] = []
        while self._kind(tensor) == "FULLY_CONNECTED":
            below, weights, *bias = (int(operand) for operand in self._made_by[tensor].inputs)
            kernel = self._constant(weights).reshape(self._sides(weights)).T
            shift = (
                self._constant(bias[0]) if bias and bias[0] >= 0 else np.zeros(kernel.shape[1], np.float32)
            )
            self._check_activation(tensor, last=not layers)
            layers.insert(0, (kernel, shift))
            tensor = below
        if not layers:
            raise NoMapsError(f"a network that ends in {self._kind(tensor)}")
        if columns:
            kernel, shift = layers[-1]
            layers[-1] = kernel[:, list(columns)], shift[list(columns)]
        return tensor, DenseHead(tuple(layers))

    def maps(self, features: int) -> list[int]:
        """The maps that features are the averages of, or one that they are; one of several views as often."""
        kind = self._kind(features)
        operands = [int(operand) for operand in self._made_by[features].inputs] if kind else []
        if kind == "CONCATENATION":
            return [below for operand in operands for below in self.maps(operand)]
        if kind == "RESHAPE" and self._kind(operands[0]) == "MEAN":
            return self.maps(operands[0]) * (self.shape(features)[0] // self.shape(operands[0])[0])
        if kind in ("MEAN", "RESHAPE"):
            return operands[:1]
        raise NoMapsError(f"features that {kind or 'nothing'} makes")

    def shape(self, tensor: int) -> tuple[int, ...]:
        """The sides of a tensor but the first, -1 where they are open."""
        return self._sides(tensor)[1:]

    def _sides(self, tensor: int) -> tuple[int, ...]:
        found = self.graph.tensors[tensor]
        sides = found.shape if found.shapeSignature is None else found.shapeSignature
        return tuple(int(side) for side in sides)

    def _kind(self, tensor: int) -> str:
        """What kind of operation makes a tensor; empty for inputs and constants."""
        operator = self._made_by.get(tensor)
        return self._names[operator.opcodeIndex] if operator else ""

    def _branch(self, tensor: int, columns: Sequence[int]) -> tuple[int, list[int]]:
        """Of joined scores, the tensor that has all of these columns, and where they are in it."""
        start = 0
        for operand in self._made_by[tensor].inputs:
            (width,) = self.shape(int(operand))
            if all(start <= column < start + width for column in columns):
                return int(operand), [column - start for column in columns]
            start += width
        raise NoMapsError("scores of several heads")

    def _constant(self, tensor: int) -> np.ndarray:
        found = self.graph.tensors[tensor]
        data = self._buffers[found.buffer].data
        if data is None or found.type != 0:  # 0 is float32
            raise NoMapsError("weights that are no constants in float32")
        return np.frombuffer(np.asarray(data, np.uint8).tobytes(), np.float32)

    def _check_activation(self, tensor: int, *, last: bool) -> None:
        """Raises NoMapsError where a layer does not end in what `DenseHead` knows."""
        activation = self._made_by[tensor].builtinOptions.fusedActivationFunction
        if activation != (0 if last else 1):  # none, ReLU
            raise NoMapsError(f"a dense layer with activation {activation}")
