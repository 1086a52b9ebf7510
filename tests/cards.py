"""Cards and the networks behind them, tiny ones of random weights that tests make on the spot."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SIDE, WIDTH, TOKENS = 24, 6, 9
"""Images of 24×24; a network of 3×3 tokens of 8×8 pixels, or as many maps, of 6 numbers each."""


def needs_onnx() -> None:
    """Skip the test where bccli[onnx] is not installed."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")


def weights(seed: int = 0) -> np.ndarray:
    """The weights (6, 3, 8, 8) of a convolution that makes a token of each 8×8 pixels."""
    return np.random.default_rng(seed).normal(0, 0.1, (WIDTH, 3, 8, 8)).astype(np.float32)


def write_onnx(
    path: Path, *, output: str = "tokens", batch: int | str = "n", layout: str = "NCHW", seed: int = 0,
    sides: tuple[Any, Any] = (SIDE, SIDE), node: Any = None, external: str = "", inputs: int = 1,
    positive: bool = False,
) -> Path:  # fmt: skip
    """A network like a vision transformer: a convolution to tokens, attention without weights, a class token.

    Its tensors are `maps` (n, 6, 3, 3), `tokens` (n, 10, 6), the first of them the class token, and `vector`
    (n, 6).
    """
    from onnx import TensorProto, helper, numpy_helper, save_model

    shape = (batch, 3, *sides) if layout == "NCHW" else (batch, *sides, 3)
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)
    more = [helper.make_tensor_value_info(f"more{i}", TensorProto.FLOAT, (1,)) for i in range(inputs - 1)]
    nodes = (
        [helper.make_node("Transpose", ["pixels"], ["nchw"], perm=[0, 3, 1, 2])] if layout == "NHWC" else []
    )
    nodes += [
        helper.make_node(
            "Conv", ["nchw" if nodes else "pixels", "w"], ["maps"], name="embed", strides=[8, 8]
        ),
        helper.make_node("Reshape", ["maps", "flat"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["patches"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["patches", "rows"], ["powers"]),
        helper.make_node("Softmax", ["powers"], ["shares"], axis=-1),
        helper.make_node("MatMul", ["shares", "patches"], ["mixed"]),
        helper.make_node("ReduceMax", ["mixed"], ["token"], axes=[1], keepdims=1),
        helper.make_node("Concat", ["token", "mixed"], ["tokens"], axis=1),
        helper.make_node("Squeeze", ["token", "one"], ["vector"]),
        *([node] if node else []),
    ]
    constants = {
        "w": abs(weights(seed)) if positive else weights(seed),
        "flat": np.array([0, WIDTH, -1]),
        "one": np.array([1]),
    }
    names = [output] if isinstance(output, str) else list(output)
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
    graph = helper.make_graph(
        nodes, "net", [pixels, *more], outputs, [numpy_helper.from_array(v, k) for k, v in constants.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if external:
        save_model(
            model, str(path), save_as_external_data=True, location=external, size_threshold=100,
            convert_attribute=False,
        )  # fmt: skip
    else:
        path.write_bytes(model.SerializeToString())
    return path


def write_keras(path: Path, seed: int = 0) -> Path:
    """A Keras network whose output are maps (n, 3, 3, 6); its layer `vector` has their averages."""
    import keras

    inputs = keras.Input((SIDE, SIDE, 3))
    conv = keras.layers.Conv2D(WIDTH, 8, strides=8, use_bias=False, name="maps")
    outputs = conv(inputs)
    model = keras.Model(inputs, outputs)
    conv.set_weights([weights(seed).transpose(2, 3, 1, 0)])
    model.save(path)
    return path


def write_tflite(path: Path, seed: int = 0) -> Path:
    """The same as a LiteRT file."""
    import keras

    from bccli.core.models.tflite_export import convert

    keras_file = write_keras(path.with_suffix(".keras"), seed)
    model = keras.saving.load_model(keras_file)
    import tensorflow as tf

    step = tf.function(lambda x: model(x), input_signature=[tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32)])
    path.write_bytes(convert(step.get_concrete_function()))
    keras_file.unlink()
    return path


NORMALISED: Mapping[str, Any] = {
    "range": [0.0, 1.0], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]
}  # fmt: skip


def card(network: Path, **changes: Any) -> Path:
    """A card beside a network's file; a key that is None is left out."""
    values: dict[str, Any] = {
        "name": network.stem,
        "file": network.name,
        "sha256": sha256(network) if network.is_file() else "0" * 64,
        "size": [SIDE, SIDE],
        **NORMALISED,
        "licence": "none needed",
        "redistribute": True,
        **changes,
    }
    path = network.with_suffix(".toml")
    path.write_text(
        "".join(f"{key} = {_toml(value)}\n" for key, value in values.items() if value is not None)
    )
    return path


def sha256(file: Path) -> str:
    """The hash of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{key}" = "{one}"' for key, one in value.items()) + " }"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if not isinstance(value, str) else f'"{value}"'


def normalised(images: np.ndarray) -> np.ndarray:
    """Images uint8 (n, height, width, 3) as a card of `NORMALISED` has them, float64."""
    return (images / 255 - np.array(NORMALISED["mean"])) / np.array(NORMALISED["std"])
