"""What class-activation maps are made of: the last maps of a network, and the head that weighs them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bccli.core.metrics.material import Floats
from bccli.core.models.graph import inputs_of, operation_of, reserve_names
from bccli.core.models.inference_mode import scale_and_shift

Shapes = Sequence[tuple[int, int, int]]
"""Rows, columns and channels of one map or several."""


@dataclass(frozen=True)
class DenseHead:
    """A head's layers in inference, kernels (inputs, outputs) with biases (outputs,), ReLU between them."""

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]

    def gradient(self, features: np.ndarray, number: int) -> Floats:
        """The derivative (features,) of the score of class `number` against the others.

        That is the class's score minus the mean of the others', so that it is the same for scores that give
        the same probabilities; a single score is that of the second class of two.
        """
        hidden, signs = np.asarray(features, np.float64), []
        for kernel, bias in self.layers[:-1]:
            hidden = hidden @ kernel + bias
            signs.append(hidden > 0)
            hidden = np.maximum(hidden, 0)
        kernel = self.layers[-1][0].astype(np.float64)
        if kernel.shape[1] == 1:
            slope = kernel[:, 0] if number else -kernel[:, 0]
        else:
            slope = kernel[:, number] - np.delete(kernel, number, axis=1).mean(axis=1)
        for (kernel, _), sign in zip(reversed(self.layers[:-1]), reversed(signs), strict=True):
            slope = kernel @ (slope * sign)
        return np.asarray(slope, np.float64)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """As stored in a file."""
        return {
            f"{name}_{index}": array
            for index, layer in enumerate(self.layers)
            for name, array in zip(("kernel", "bias"), layer, strict=True)
        }


def head_from_arrays(arrays: Mapping[str, Any]) -> DenseHead:
    """Read what `DenseHead.to_arrays` wrote."""
    count = sum(name.startswith("kernel") for name in arrays)
    return DenseHead(tuple((arrays[f"kernel_{index}"], arrays[f"bias_{index}"]) for index in range(count)))


@dataclass(frozen=True)
class ClassMaps:
    """A network that shows its maps.

    Of images (n, height, width, 3) `network` makes the `head`'s features and, behind them, maps of these
    `shapes`, flat, in rows (n, …): what the features are the averages of, or one that is itself the features.
    With a `context`, there are two: that of an image and that of the middle part which so large a share
    surrounds.
    """

    network: Callable[[np.ndarray], np.ndarray]
    shapes: Shapes
    head: DenseHead
    context: float = 0.0


def with_maps(extractor: Any) -> tuple[Any, Shapes]:
    """A Keras model from RGB 0–255 to features and, behind them, the maps that they are the averages of or
    that they are, and these maps' shapes. A map of two views of an image is two maps, one after the other."""
    import keras

    reserve_names(extractor)  # one that was loaded has names that Keras would give again
    tensors = [extractor.output]
    while type(operation_of(tensors[0])).__name__ not in ("GlobalAveragePooling2D", "Flatten"):
        tensors = inputs_of(tensors[0])
    maps = [inputs_of(tensor)[0] for tensor in tensors]
    views = extractor.output_shape[-1] // sum(tensor.shape[-1] for tensor in tensors)
    flat = [keras.layers.Flatten(name=f"maps_{number}")(each) for number, each in enumerate(maps)]
    if views > 1:
        flat = [keras.ops.reshape(each, (-1, views * each.shape[-1])) for each in flat]
    outputs = keras.layers.Concatenate(name="features_and_maps")([extractor.output, *flat])
    shapes = [(each.shape[1], each.shape[2], each.shape[3]) for each in maps for _ in range(views)]
    return keras.Model(extractor.input, outputs, name="locator"), shapes


def dense_head(head: Any) -> DenseHead:
    """The layers of a Keras head in inference; a batch norm is folded into the layer that follows it."""
    layers, scale, shift = [], np.float32(1), np.float32(0)
    for layer in head.layers:
        kind = type(layer).__name__
        if kind == "BatchNormalization":
            scale, shift = scale_and_shift(layer)
        elif kind == "Dense":
            kernel, bias = layer.get_weights()
            layers.append(
                (np.reshape(scale, (-1, 1)) * kernel, bias + np.broadcast_to(shift, len(kernel)) @ kernel)
            )
            scale, shift = np.float32(1), np.float32(0)
    return DenseHead(tuple(layers))
