"""What computes a network's answers: LiteRT, at work within a tenth of a second, or TensorFlow.

A network is a function of prepared images uint8 (n, height, width, 3) that gives class probabilities
(n, classes).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.stderr import quiet_stderr

Network = Callable[[np.ndarray], np.ndarray]


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _sigmoid(scores: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        positive = 1 / (1 + np.exp(-scores))
    return np.concatenate([1 - positive, positive], axis=1)


# The outputs of models.heads.OUTPUTS once more, for scores in an array.
_OUTPUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"softmax": _softmax, "sigmoid": _sigmoid}


PACKING_PAYS = 60
"""From so many multiply-adds per weight on, LiteRT's fast kernels are worth their start even for one image.

They first bring all weights into their own order, which takes 4 ns for a weight and as much memory again;
then they need 0.012 ns for a multiply-add on two cores, and the plain kernels 0.067 ns. So one patch of
144×96 pixels goes through ResNet-50 (48 per weight) faster and with half the memory in the plain ones.
"""


class LiteRT:
    """A network's scores before the output's activation, computed by LiteRT on `threads` cores.

    `packed` chooses the fast kernels. Raises RuntimeError or ValueError, as LiteRT does, for a file that
    it cannot run.
    """

    def __init__(self, file: Path, threads: int, *, packed: bool = True) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        kernels = OpResolverType.AUTO if packed else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self._interpreter = Interpreter(
            str(file),
            # On several cores the plain kernels keep a second copy of the weights, and are slower at first.
            num_threads=threads if packed else 1,
            experimental_op_resolver_type=kernels,
        )
        (self._input,) = (detail["index"] for detail in self._interpreter.get_input_details())
        (self._output,) = (detail["index"] for detail in self._interpreter.get_output_details())
        self._shape: tuple[int, ...] = ()

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Scores float32 (n, units) of images uint8 or float32 (n, height, width, 3)."""
        if images.shape != self._shape:
            with quiet_stderr():  # at the first time LiteRT tells of its ways
                self._interpreter.resize_tensor_input(self._input, images.shape, strict=True)
                self._interpreter.allocate_tensors()
            self._shape = images.shape
        self._interpreter.set_tensor(self._input, images.astype(np.float32, copy=False))
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)


def litert_network(file: Path, output: str, threads: int, *, packed: bool = True) -> Network:
    """The network in a file that `models.exporting` made; `output` is its head's, softmax or sigmoid."""
    engine, activate = LiteRT(file, threads, packed=packed), _OUTPUTS[output]
    return lambda images: activate(engine.scores(images))


def keras_network(file: Path) -> Network:
    """The network in a model.keras; TensorFlow has to be started."""
    import keras
    import tensorflow as tf

    network = keras.saving.load_model(file, compile=False, safe_mode=True)
    signature = tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)

    @tf.function(input_signature=[signature], autograph=False)
    def step(images: Any) -> Any:
        return network(images, training=False)

    return lambda images: step(tf.cast(images, tf.float32)).numpy()
