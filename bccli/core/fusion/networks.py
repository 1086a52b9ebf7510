"""The fusing networks as Keras models, and their weights as `forward_passes` takes them.

Their inputs are (batch, patches, width + 1): features row by row, and behind them 1 where there is a patch
and 0 where the image has fewer than others.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bccli.core.models.inference_mode import STANDARDISING, standardising_layer

_NOWHERE = -1e9
"""The power of attention to where there is no patch: none at all after the softmax."""


def build_bilstm(width: int, sizes: Sequence[int], dropout: float, units: int) -> Any:
    """Bidirectional LSTMs of these sizes and a dense layer to scores (Yan et al. 2018, section IV.C)."""
    import keras

    inputs, x, there = _open(width)
    for number, size in enumerate(sizes):
        cells = keras.layers.LSTM(size, return_sequences=number < len(sizes) - 1)
        x = keras.layers.Bidirectional(cells, name=f"lstm_{number}")(x, mask=there)
    return _close(inputs, x, dropout, units)


def build_attention(width: int, sizes: Sequence[int], dropout: float, units: int) -> Any:
    """Gated attention pooling and a dense layer to scores; `sizes` has the width of the attention only.

    Ilse, Tomczak, Welling 2018, arXiv:1802.04712, equation 9.
    """
    import keras

    inputs, x, there = _open(width)
    values = keras.layers.Dense(sizes[0], activation="tanh", use_bias=False, name="values")(x)
    gates = keras.layers.Dense(sizes[0], activation="sigmoid", use_bias=False, name="gates")(x)
    powers = keras.layers.Dense(1, use_bias=False, name="weights")(keras.layers.Multiply()([values, gates]))
    powers = keras.ops.where(keras.ops.expand_dims(there, -1), powers, _NOWHERE)
    pooled = keras.ops.sum(keras.ops.softmax(powers, axis=1) * x, axis=1)
    return _close(inputs, pooled, dropout, units)


def _open(width: int) -> tuple[Any, Any, Any]:
    """Inputs, the features among them, standardised, and which of them are patches."""
    import keras

    inputs = keras.Input((None, width + 1), name="patches")
    return inputs, standardising_layer()(inputs[:, :, :-1]), inputs[:, :, -1] > 0.5


def _close(inputs: Any, x: Any, dropout: float, units: int) -> Any:
    import keras

    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    scores = keras.layers.Dense(units, dtype="float32", name="scores")(x)
    return keras.Model(inputs, scores, name="fusion")


def bilstm_arrays(network: Any) -> dict[str, np.ndarray]:
    """The weights of `build_bilstm` for `forward_passes.bilstm`."""
    import keras

    arrays = _shared_arrays(network)
    stack = [layer for layer in network.layers if isinstance(layer, keras.layers.Bidirectional)]
    for number, layer in enumerate(stack):
        for name, half in (("forward", layer.forward_layer), ("backward", layer.backward_layer)):
            for weight, value in zip(("kernel", "recurrent", "bias"), half.get_weights(), strict=True):
                arrays[f"lstm/{number}/{name}/{weight}"] = value
    return arrays


def attention_arrays(network: Any) -> dict[str, np.ndarray]:
    """The weights of `build_attention` for `forward_passes.attention`."""
    arrays = _shared_arrays(network)
    for name in ("values", "gates", "weights"):
        (arrays[f"attention/{name}/kernel"],) = network.get_layer(name).get_weights()
    return arrays


def _shared_arrays(network: Any) -> dict[str, np.ndarray]:
    norm = network.get_layer(STANDARDISING)
    mean, variance = norm.get_weights()
    kernel, bias = network.get_layer("scores").get_weights()
    deviation = np.sqrt(variance + np.float32(norm.epsilon))
    return {"mean": mean, "deviation": deviation, "scores/kernel": kernel, "scores/bias": bias}
