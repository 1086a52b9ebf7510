"""Layers of a network that run in inference mode whatever the network around them does, batch norms that do
not, and those that only standardise."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from bccli.core.weights.copying import layers_in, put_weights


def in_inference_mode(model: Any, x: Any) -> Any:
    """What a Keras model makes of the symbolic tensor `x`, its dropouts and batch norms in inference mode.

    Keras's functional models pass their own `training` on to all layers and models inside, even to those
    that were called with training=False. The layer around the model is for training only: a saved model
    holds the plain one, so that Keras can load it without bccli.
    """
    import keras

    class InferenceMode(keras.layers.Layer):
        """Calls a model with training=False, and leaves the precision of its inputs alone."""

        inference_mode = True

        def __init__(self) -> None:
            super().__init__(name=f"{model.name}_in_inference_mode", autocast=False)
            self.model = model

        def call(self, x: Any) -> Any:
            return self.model(x, training=False)

        def compute_output_spec(self, x: Any) -> Any:
            return self.model.compute_output_spec(x)

    return InferenceMode()(x)


def set_batch_norm_momentum(model: Any, momentum: float) -> None:
    """Let the batch norms of a Keras model that learn keep so much of their statistics in a step.

    It is for models that no step is compiled of yet, and becomes part of what is saved of them.
    """
    import keras

    for layer in layers_in(model):
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            layer.momentum = momentum


def drawing_layers(network: Any) -> Iterator[Any]:
    """Yield the layers of a Keras model that draw random numbers while it is trained."""
    layers = layers_in(network)
    resting = {
        id(inside) for layer in layers if hasattr(layer, "inference_mode") for inside in layers_in(layer)
    }
    yield from (layer for layer in layers if hasattr(layer, "seed_generator") and id(layer) not in resting)


STANDARDISING = "norm"
"""The name of the layer that takes the mean and deviation of train's features out of them."""


def standardising_layer() -> Any:
    """A Keras layer that does so once `standardise_by` has put them there; they never change in training."""
    import keras

    return keras.layers.BatchNormalization(
        center=False, scale=False, epsilon=1e-12, trainable=False, dtype="float32", name=STANDARDISING
    )


def standardise_by(network: Any, mean: np.ndarray, deviation: np.ndarray) -> None:
    """Let a network with such a layer take mean and deviation (width,) out of its features."""
    put_weights(network.get_layer(STANDARDISING), [mean, deviation**2])


def scale_and_shift(norm: Any) -> tuple[np.ndarray, np.ndarray]:
    """What a batch norm multiplies its inputs by (width,) in inference, and what it then adds to them."""
    *learned, mean, variance = norm.get_weights()
    scale = 1 / np.sqrt(variance + np.float32(norm.epsilon))
    if norm.scale:
        scale = scale * learned.pop(0)
    shift = -mean * scale
    return scale, shift + learned.pop(0) if norm.center else shift
