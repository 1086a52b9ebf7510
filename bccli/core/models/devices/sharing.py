"""A Keras model in inference on all devices on which TensorFlow computes here, which share what it is asked.

Each device has a copy of the weights and takes a part of the images of its own, whose answers are what one
device would say of that part. On one device the model is compiled as it is.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import numpy as np


def devices_here() -> list[str]:
    """The names of all GPUs that this process may use; without one, of the parts into which its CPU is
    divided, which is one unless `--devices` has divided it."""
    return _of_this_process("GPU") or _of_this_process("CPU")


def _of_this_process(kind: str) -> list[str]:
    """The logical devices of a kind; TensorFlow lists those of all workers of a cluster, and names the worker
    only there."""
    import tensorflow as tf

    here = tf.DeviceSpec.from_string(tf.constant(0).device)
    specs = [tf.DeviceSpec.from_string(device.name) for device in tf.config.list_logical_devices(kind)]
    local = [spec for spec in specs if spec.job is None or (spec.job, spec.task) == (here.job, here.task)]
    return [spec.to_string() for spec in local]


def parts_of(inputs: Any, count: int, share: int = 1) -> list[Any]:
    """Inputs (n, …) in at most `count` parts of one size, `share` or more, of which the last one may be
    smaller.

    >>> [part.tolist() for part in parts_of(np.arange(5), 2)], len(parts_of(np.arange(5), 2, 8))
    ([[0, 1, 2], [3, 4]], 1)
    """
    size = max(share, -(-len(inputs) // count))
    return [inputs[start : start + size] for start in range(0, max(1, len(inputs)), size)]


def placed(inputs: Any, devices: Sequence[str]) -> list[Any]:
    """The parts of inputs (n, …), each of them on its device already: a thread that reads ahead has them
    there before the device has answered for what came before."""
    import tensorflow as tf

    found = []
    for device, part in zip(devices, parts_of(inputs, len(devices)), strict=False):
        with tf.device(device):
            found.append(tf.identity(part))
    return found


class SharedModel:
    """A Keras model of one input and one output, compiled for inference.

    Where several devices share it, it has its weights of now, and a device takes a `share` of the inputs at
    least: as many as one device has at a time, so that its answers are the same to the bit.
    """

    def __init__(self, model: Any, dtype: str = "float32", *, share: int = 1) -> None:
        self._devices, self._share = devices_here(), share
        if len(self._devices) == 1:
            self._steps = [_compiled(lambda x: model(x, training=False), model, dtype)]
            return
        self._steps = [_compiled(_copied(model, device), model, dtype) for device in self._devices]
        for step in self._steps:
            step.get_concrete_function()  # as threads may not trace Keras's layers at a time
        self._pool = ThreadPoolExecutor(len(self._devices), "device")

    def __call__(self, inputs: Any) -> np.ndarray:
        """What it says (n, …) of inputs (n, …), or of what was `placed`, in their order."""
        parts = inputs if isinstance(inputs, list) else parts_of(inputs, len(self._steps), self._share)
        if len(parts) == 1 == len(self._steps):
            return _answer(self._steps[0], parts[0])
        steps, devices = self._steps[: len(parts)], self._devices[: len(parts)]
        return np.concatenate([*self._pool.map(_answer, steps, parts, devices)])


def _answer(step: Any, inputs: Any, device: str | None = None) -> np.ndarray:
    import tensorflow as tf

    with tf.device(device) if device else nullcontext():
        answers: np.ndarray = step(tf.cast(inputs, step.input_signature[0].dtype)).numpy()
    return answers


def _copied(model: Any, device: str) -> Callable[[Any], Any]:
    """What calls the model with a copy of its weights on a device, where it computes."""
    import tensorflow as tf

    def here(variables: Sequence[Any]) -> list[Any]:
        with tf.device(device):
            return [tf.identity(variable.value) for variable in variables]

    learned, others = here(model.trainable_variables), here(model.non_trainable_variables)

    def call(x: Any) -> Any:
        with tf.device(device):
            outputs, _ = model.stateless_call(learned, others, x, training=False)
            return outputs

    return call


def _compiled(call: Callable[[Any], Any], model: Any, dtype: str) -> Any:
    """A step from inputs of a type to the only output."""
    import tensorflow as tf

    signature = tf.TensorSpec((None, *model.input_shape[1:]), dtype)

    @tf.function(input_signature=[signature], autograph=False)
    def step(inputs: Any) -> Any:
        (outputs,) = tf.nest.flatten(call(tf.cast(inputs, tf.float32)))
        return outputs

    return step
