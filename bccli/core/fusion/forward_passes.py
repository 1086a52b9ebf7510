"""The forward passes of the fusing networks in NumPy: `predict` needs neither TensorFlow nor LiteRT for them.

LiteRT cannot compute a recurrence over any number of patches, and of a network that is a thousandth of
its backbone the forward pass is small. Everything here is float32, as in Keras.
"""

import numpy as np

from bccli.core.models.dense.layers import Arrays, dense


def standardise(x: np.ndarray, arrays: Arrays) -> np.ndarray:
    """Features without the mean and deviation of train's."""
    result: np.ndarray = (x - arrays["mean"]) / arrays["deviation"]
    return result


def lstm(x: np.ndarray, arrays: Arrays, name: str) -> np.ndarray:
    """The hidden states (n, steps, units) of an LSTM over sequences (n, steps, width), as Keras has it.

    Hochreiter and Schmidhuber 1997, DOI 10.1162/neco.1997.9.8.1735; gates are in the order input, forget,
    cell, output.
    """
    kernel, recurrent, bias = (arrays[f"{name}/{weight}"] for weight in ("kernel", "recurrent", "bias"))
    units = recurrent.shape[0]
    incoming = x @ kernel + bias
    hidden = cell = np.zeros((len(x), units), np.float32)
    states = np.empty((*x.shape[:2], units), np.float32)
    for step in range(x.shape[1]):
        gates = incoming[:, step] + hidden @ recurrent
        enter, keep, new, leave = np.split(gates, 4, axis=1)
        cell = sigmoid(keep) * cell + sigmoid(enter) * np.tanh(new)
        hidden = sigmoid(leave) * np.tanh(cell)
        states[:, step] = hidden
    return states


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without an overflow."""
    result: np.ndarray = (np.tanh(x / 2) + 1) / 2
    return result


def bilstm(x: np.ndarray, arrays: Arrays, layers: int) -> np.ndarray:
    """The scores (n, units) of `layers` bidirectional LSTMs over features (n, patches, width).

    Yan et al. 2018, section IV.C: both directions are joined in each layer, and a dense layer takes the last
    states of the last layer's directions.
    """
    x = standardise(x, arrays)
    for number in range(layers):
        there = lstm(x, arrays, f"lstm/{number}/forward")
        back = lstm(x[:, ::-1], arrays, f"lstm/{number}/backward")
        if number == layers - 1:
            return dense(np.concatenate([there[:, -1], back[:, -1]], axis=1), arrays, "scores")
        x = np.concatenate([there, back[:, ::-1]], axis=2)
    raise ValueError("no layers")


def attention(x: np.ndarray, arrays: Arrays, layers: int) -> np.ndarray:
    """The scores (n, units) of gated attention pooling over features (n, patches, width).

    Ilse, Tomczak, Welling 2018, "Attention-based Deep Multiple Instance Learning", arXiv:1802.04712,
    equation 9.
    """
    pooled = (attention_shares(x, arrays) * standardise(x, arrays)).sum(axis=1)
    return dense(pooled, arrays, "scores")


def attention_shares(x: np.ndarray, arrays: Arrays) -> np.ndarray:
    """The share (n, patches, 1) that each patch has in `attention`, which add up to 1."""
    x = standardise(x, arrays)
    gated = np.tanh(dense(x, arrays, "attention/values")) * sigmoid(dense(x, arrays, "attention/gates"))
    powers = dense(gated, arrays, "attention/weights")
    powers = np.exp(powers - powers.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares
