"""Weights of whole Keras models; what the layers derive from them is derived anew."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def put_weights(model: Any, arrays: Sequence[np.ndarray]) -> None:
    """Give a Keras model weights in the order of `model.get_weights()`."""
    model.set_weights(arrays)
    finalise(model)


def copy_weights(source: Any, target: Any) -> None:
    """Give the weights of a Keras model to another one of the same layers, perhaps in another precision."""
    put_weights(target, source.get_weights())


def finalise(model: Any) -> None:
    """Let layers derive anew what they compute with.

    Keras's Normalization computes with copies of its mean and variance, which stay 0 and 1 whatever
    `set_weights` makes of these (keras.layers.Normalization.finalize_state).
    """
    for layer in layers_in(model):
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def layers_in(model: Any) -> list[Any]:
    """A Keras model or layer itself, and all layers inside, those of nested models included."""
    return list(model._flatten_layers())
