"""A Keras model as a .tflite, which runs without TensorFlow; checked against Keras when it is made."""

import math
import warnings
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from bccli.core import interruption
from bccli.core.cores import available_cores
from bccli.core.files import replacing_file
from bccli.core.models.runtimes import LiteRT
from bccli.core.models.stderr import quiet_stderr
from bccli.core.models.tflite_joining import joined
from bccli.core.weights.copying import layers_in

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


@dataclass(frozen=True)
class Parts:
    """What an export needs to know of a network whose frozen extractor others may share: its `head` goes from
    `features` (n, width), which the `extractor` made of the inputs, to scores."""

    extractor: Any
    head: Any
    features: np.ndarray


def export(
    model: Any, inputs: np.ndarray, root: Path, stem: str = "model", *, parts: Parts | None = None
) -> Export:
    """Write `root/STEM.tflite`, unless it makes other numbers of the inputs (n, …) than Keras does.

    `model` is the Keras model, such as that from RGB 0–255 to scores, which takes the inputs as float32.
    Where it has `parts`, the head is put on the extractor as it was converted before. A failure is no error:
    `predict` can do without the file.
    """
    file = root / f"{stem}.tflite"
    file.unlink(missing_ok=True)
    try:
        with interruption.deferred():
            tflite, difference = _made(model, inputs, parts)
            with replacing_file(file) as temporary:
                temporary.write_bytes(tflite)
            return Export(file.name, difference, multiply_adds(model) / max(1, model.count_params()))
    except OSError:
        raise
    except Exception as error:  # of many kinds: converter and runtime lack an operation of the network
        first = next(iter(str(error).splitlines()), "")
        return Export(error=f"{type(error).__name__}: {first[:200]}")


def _made(model: Any, inputs: np.ndarray, parts: Parts | None) -> tuple[bytes, float]:
    """The .tflite of a model, and the largest difference of its numbers from Keras's."""
    if parts:
        return _joined(parts, inputs)
    return _CONVERTED.get(model) or _converted(model, inputs)


def _joined(parts: Parts, inputs: np.ndarray) -> tuple[bytes, float]:
    """The same of a network in parts."""
    function, _ = _traced(parts.head)
    tflite = joined(converted(parts.extractor, inputs), convert(function))
    expected = parts.head(parts.features.astype(np.float32), training=False).numpy()
    # The plain kernels have been checked on the extractor, which has all but some dense layers.
    return tflite, _checked(tflite, inputs, expected, kernels=(True,))


_CONVERTED: MutableMapping[Any, tuple[bytes, float]] = WeakKeyDictionary()
"""Frozen extractors that are in use, their .tflite, and the largest difference of its numbers."""


def converted(extractor: Any, inputs: np.ndarray) -> bytes:
    """The .tflite of a frozen extractor, converted once: its weights must not change any more.

    Raises ValueError where it makes other numbers of the inputs (n, height, width, 3) than Keras does, and
    what the converter and LiteRT raise for operations that they lack.
    """
    if extractor not in _CONVERTED:
        _CONVERTED[extractor] = _converted(extractor, inputs)
    return _CONVERTED[extractor][0]


def _converted(model: Any, inputs: np.ndarray) -> tuple[bytes, float]:
    """The same of a model that is converted as a whole."""
    _check_depthwise(model)
    function, step = _traced(model)
    tflite = convert(function)
    return tflite, _checked(tflite, inputs, step(inputs.astype(np.float32)).numpy())


def _traced(model: Any) -> tuple[Any, Any]:
    """A Keras model in inference mode as a concrete TensorFlow function, and what it was traced from."""
    import tensorflow as tf

    signature = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="inputs")
    step = tf.function(lambda x: model(x, training=False), input_signature=[signature], autograph=False)
    return step.get_concrete_function(), step


def _checked(
    tflite: bytes, inputs: np.ndarray, expected: np.ndarray, *, kernels: tuple[bool, ...] = (True, False)
) -> float:
    """The largest difference of what a .tflite makes of the inputs from what is expected. Raises ValueError
    where it is too large, in the fast kernels or in the plain ones."""
    difference = max(
        largest_difference(LiteRT(tflite, available_cores(), packed=packed).scores(inputs), expected)
        for packed in kernels
    )
    if not difference <= TOLERANCE:
        raise ValueError(f"LiteRT's numbers differ from Keras's by {difference:.1e} of the largest")
    return difference


def _check_depthwise(scoring: Any) -> None:
    for layer in layers_in(scoring)[1:]:
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
    for layer in layers_in(network)[1:]:
        kernels = [value for value in layer.weights if "kernel" in value.name]
        if kernels and not hasattr(layer, "layers"):
            total += math.prod(layer.output.shape[1:-1]) * sum(math.prod(kernel.shape) for kernel in kernels)
    return total
