"""A Keras model as a .tflite, which runs without TensorFlow; checked against Keras when it is made."""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core import interruption
from bccli.core.cores import available_cores
from bccli.core.files import replacing_file
from bccli.core.models.runtimes import LiteRT
from bccli.core.models.stderr import quiet_stderr
from bccli.core.weights.copying import layers_in
from bccli.core.weights.head_templates import HeadTemplate, find_head

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


HeadTemplates = dict[tuple[tuple[int, ...], ...], HeadTemplate]
"""Templates of networks on the same frozen extractor, by the shapes of their heads' weights: the converter
takes seconds for what is the same in all of them."""


@dataclass(frozen=True)
class ReplaceableHead:
    """What an export needs to know of a network that differs from others in its head only.

    `head` goes from `features` (n, width), which the extractor made of the inputs, to scores; `templates`
    has those of the others, and gets this one's.
    """

    head: Any
    features: np.ndarray
    templates: HeadTemplates

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Those of its weights."""
        return tuple(tuple(weight.shape) for weight in self.head.weights)

    @property
    def stored(self) -> list[bytes]:
        """Its weights' bytes in a .tflite, where the units of dense layers come first."""
        return [np.ascontiguousarray(weight.T).tobytes() for weight in self.head.get_weights()]


def export(
    model: Any,
    inputs: np.ndarray,
    root: Path,
    stem: str = "model",
    *,
    replaceable: ReplaceableHead | None = None,
) -> Export:
    """Write `root/STEM.tflite`, unless it makes other numbers of the inputs (n, …) than Keras does.

    `model` is the Keras model, such as that from RGB 0–255 to scores, which takes the inputs as float32.
    A `replaceable` head is put into the template of another. A failure is no error: `predict` can do without
    the file.
    """
    file = root / f"{stem}.tflite"
    file.unlink(missing_ok=True)
    try:
        with interruption.deferred():
            if replaceable and replaceable.shapes in replaceable.templates:
                try:
                    return _from_template(model, inputs, file, replaceable)
                except (ValueError, RuntimeError):  # the numbers differ: its weights lie elsewhere
                    del replaceable.templates[replaceable.shapes]
            return _export(model, inputs, file, replaceable)
    except OSError:
        raise
    except Exception as error:  # of many kinds: converter and runtime lack an operation of the network
        first = next(iter(str(error).splitlines()), "")
        return Export(error=f"{type(error).__name__}: {first[:200]}")


def _from_template(model: Any, inputs: np.ndarray, file: Path, replaceable: ReplaceableHead) -> Export:
    tflite = replaceable.templates[replaceable.shapes].with_head(replaceable.stored)
    expected = replaceable.head(replaceable.features.astype(np.float32), training=False).numpy()
    # The plain kernels have been checked on the layers below when the template was made.
    return _write(model, tflite, inputs, expected, file, kernels=(True,))


def _export(model: Any, inputs: np.ndarray, file: Path, replaceable: ReplaceableHead | None) -> Export:
    import tensorflow as tf

    _check_depthwise(model)
    signature = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="inputs")
    step = tf.function(lambda x: model(x, training=False), input_signature=[signature], autograph=False)
    expected = step(inputs.astype(np.float32)).numpy()
    tflite = convert(step.get_concrete_function())
    made = _write(model, tflite, inputs, expected, file)
    if replaceable and (template := find_head(tflite, replaceable.stored)):
        replaceable.templates[replaceable.shapes] = template
    return made


def _write(
    model: Any,
    tflite: bytes,
    inputs: np.ndarray,
    expected: np.ndarray,
    file: Path,
    *,
    kernels: tuple[bool, ...] = (True, False),
) -> Export:
    """Write a model's .tflite. Raises ValueError where it makes something else of the inputs than expected,
    in the fast kernels or in the plain ones."""
    with replacing_file(file) as temporary:
        temporary.write_bytes(tflite)
        difference = max(
            largest_difference(LiteRT(temporary, available_cores(), packed=packed).scores(inputs), expected)
            for packed in kernels
        )
        if not difference <= TOLERANCE:
            raise ValueError(f"LiteRT's numbers differ from Keras's by {difference:.1e} of the largest")
    return Export(file.name, difference, multiply_adds(model) / max(1, model.count_params()))


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
