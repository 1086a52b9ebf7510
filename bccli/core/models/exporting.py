"""A Keras model in LiteRT's form, which runs without TensorFlow; checked against Keras when it is made."""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core import interruption
from bccli.core.cores import available_cores
from bccli.core.engines import LiteRT
from bccli.core.files import replacing_file
from bccli.core.stderr import quiet_stderr

TOLERANCE = 1e-4
"""How far LiteRT's numbers may be from Keras's, relative to the largest of them."""

# LiteRT's plain kernel for depthwise convolutions sums in a buffer of so many numbers, and never ends with
# more channels than that (ResNeXt's later stages).
_WIDEST_DEPTHWISE = 4832


@dataclass(frozen=True)
class Export:
    """What became of an export: the largest relative difference of the scores, or why there is no file.

    `multiply_adds` is what one image costs, for each weight of the network.
    """

    file: str = ""
    difference: float = 0.0
    multiply_adds: float = 0.0
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """As stored in run.json."""
        if self.error:
            return {"error": self.error}
        return {
            "file": self.file,
            "difference": self.difference,
            "multiply_adds": round(self.multiply_adds, 1),
        }


def export(model: Any, inputs: np.ndarray, root: Path, stem: str = "model") -> Export:
    """Write `root/STEM.tflite`, unless it makes other numbers of the inputs (n, …) than Keras does.

    `model` is the Keras model, such as that from RGB 0–255 to scores, which sees the inputs as float32. A
    failure is no error: `predict` can do without the file.
    """
    file = root / f"{stem}.tflite"
    file.unlink(missing_ok=True)
    try:
        with interruption.deferred():
            return _export(model, inputs, file)
    except OSError:
        raise
    except Exception as error:  # of many kinds: converter and runtime lack an operation of the network
        first = next(iter(str(error).splitlines()), "")
        return Export(error=f"{type(error).__name__}: {first[:200]}")


def _export(model: Any, inputs: np.ndarray, file: Path) -> Export:
    import tensorflow as tf

    _check_depthwise(model)
    signature = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="inputs")
    step = tf.function(lambda x: model(x, training=False), input_signature=[signature], autograph=False)
    inputs = inputs.astype(np.float32)
    expected = step(inputs).numpy()
    with replacing_file(file) as temporary:
        temporary.write_bytes(convert(step.get_concrete_function()))
        difference = max(
            largest_difference(LiteRT(temporary, available_cores(), packed=packed).scores(inputs), expected)
            for packed in (True, False)
        )
        if not difference <= TOLERANCE:
            raise ValueError(f"LiteRT's numbers differ from Keras's by {difference:.1e} of the largest")
    return Export(file.name, difference, multiply_adds(model) / max(1, model.count_params()))


def _check_depthwise(scoring: Any) -> None:
    for layer in scoring._flatten_layers(include_self=False, recursive=True):
        channels = layer.output.shape[-1] if type(layer).__name__ == "DepthwiseConv2D" else 0
        if channels > _WIDEST_DEPTHWISE:
            raise ValueError(f"LiteRT cannot compute {layer.name}, a depthwise convolution to {channels:,}")


def convert(function: Any) -> bytes:
    """A concrete TensorFlow function as a LiteRT model, weights inside."""
    import tensorflow as tf

    with quiet_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Without the object that tracks the variables the converter freezes them itself, which takes
        # 0.3 s for a small network; with it, it writes and reads a SavedModel, which takes 1.5 s.
        return tf.lite.TFLiteConverter.from_concrete_functions([function]).convert()


def largest_difference(scores: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference of two arrays of scores, relative to the largest of `expected`."""
    largest = float(np.abs(expected).max())
    difference = float(np.abs(scores - expected).max())
    return difference / largest if largest else difference


def multiply_adds(network: Any) -> int:
    """How many multiplications and additions the convolutions and dense layers of a Keras model take."""
    total = 0
    for layer in network._flatten_layers(include_self=False, recursive=True):
        kernels = [value for value in layer.weights if "kernel" in value.name]
        if kernels and not hasattr(layer, "layers"):
            total += math.prod(layer.output.shape[1:-1]) * sum(math.prod(kernel.shape) for kernel in kernels)
    return total
