"""What runs the file of a card, ONNX Runtime, LiteRT or Keras: a function from one array to several."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.catalog import nearest
from bccli.core.cores import available_cores
from bccli.core.errors import BccliError, UsageError, WeightsError, first_line
from bccli.core.models.cards.card import KERAS, ONNX, TFLITE, Card
from bccli.core.models.cards.card_files import CardFiles
from bccli.core.models.cards.onnx_graph import INSTALL, with_outputs
from bccli.core.models.stderr import quiet_stderr

Shape = tuple[int | None, ...]
"""The sides of a tensor, None where any will do."""


@dataclass(frozen=True)
class Runtime:
    """A network's file at work: `run` makes the outputs of one input of `shape` and type `dtype`.

    `engine` is the runtime's name, `device` where it computes, for people to read.
    """

    run: Callable[[np.ndarray], Sequence[np.ndarray]]
    shape: Shape
    dtype: np.dtype[Any]
    engine: str
    device: str


def open_runtime(card: Card, files: CardFiles, device: str = "auto") -> Runtime:
    """Start what runs a card's file on a `device`: auto, cpu or gpu.

    Raises WeightsError for a file that is damaged or that the runtime cannot compute, UsageError for an
    output that it has not, BccliError for a gpu where there is none.
    """
    try:
        return _OPENERS[card.suffix](card, files, device)
    except (BccliError, MemoryError):
        raise
    except Exception as error:  # each runtime has its own kinds
        raise WeightsError(
            f"{files.path}: cannot be computed ({first_line(error)}); export the network again, with "
            "standard operations only"
        ) from None


_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}


def _open_onnx(card: Card, files: CardFiles, device: str) -> Runtime:
    if find_spec("onnxruntime") is None:
        raise WeightsError(f"{files.path}: needs ONNX Runtime; {INSTALL}")
    import onnxruntime as ort

    providers = _providers(ort.get_available_providers(), device)
    options = ort.SessionOptions()
    options.intra_op_num_threads = available_cores()
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # images are decoded meanwhile
    with quiet_stderr():
        session = ort.InferenceSession(str(files.path), options, providers=providers)
        known = [one.name for one in session.get_outputs()]
        if not set(card.output) <= set(known):
            options.add_session_config_entry(
                "session.model_external_initializers_file_folder_path", str(files.folder)
            )
            session = ort.InferenceSession(
                with_outputs(files.path, card.output), options, providers=providers
            )
            known = [one.name for one in session.get_outputs()]
            names = known
        else:
            names = list(card.output) or [_only(known, files.path)]
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise WeightsError(
            f"{files.path}: takes {len(inputs)} inputs ({', '.join(one.name for one in inputs)}), and "
            "images are one; export the network with one"
        )
    (first,) = inputs
    if first.type not in _TYPES:
        raise WeightsError(
            f"{files.path}: takes {first.type}, and images are float or uint8; export it again"
        )

    def run(array: np.ndarray) -> Sequence[np.ndarray]:
        outputs: Sequence[np.ndarray] = session.run(names, {first.name: array})
        return outputs

    shape = tuple(side if isinstance(side, int) and side > 0 else None for side in first.shape)
    used = session.get_providers()[0].removesuffix("ExecutionProvider")
    where = f"CPU ({available_cores()} cores)" if used == "CPU" else used
    return Runtime(run, shape, np.dtype(_TYPES[first.type]), "onnxruntime", f"ONNX Runtime on {where}")


_GPUS = ("CUDA", "ROCM", "MIGraphX", "Dml", "CoreML")


def _providers(available: Sequence[str], device: str) -> list[str]:
    """What computes, the fastest first. Raises BccliError where a GPU is wanted and there is none."""
    gpus = [f"{name}ExecutionProvider" for name in _GPUS if f"{name}ExecutionProvider" in available]
    if device == "gpu" and not gpus:
        raise BccliError(
            "--device gpu: this ONNX Runtime has no provider for a GPU; install onnxruntime-gpu in its "
            "place, or say --device cpu"
        )
    return [*(gpus if device != "cpu" else ()), "CPUExecutionProvider"]


def _only(names: Sequence[str], path: Path) -> str:
    if len(names) > 1:
        raise UsageError(
            f"{path}: has the outputs {', '.join(names)}; name one of them in the card as output"
        )
    return names[0]


def _chosen(card: Card, names: Sequence[str], path: Path) -> list[int]:
    """The positions of a card's outputs among those of a file."""
    for name in card.output:
        if name not in names:
            raise UsageError(
                f"{path}: has no output {name!r}{nearest(name, names)}; it has {', '.join(names)}"
            )
    return [list(names).index(name) for name in card.output or [_only(names, path)]]


def _open_tflite(card: Card, files: CardFiles, device: str) -> Runtime:
    from ai_edge_litert.interpreter import Interpreter

    if device == "gpu":
        raise BccliError(f"--device gpu: {files.path} is computed by LiteRT on the CPU; say --device cpu")
    interpreter = Interpreter(str(files.path), num_threads=available_cores())
    inputs, details = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != 1:
        raise WeightsError(
            f"{files.path}: takes {len(inputs)} inputs, and images are one; export it with one"
        )
    (first,) = inputs
    dtype = np.dtype(first["dtype"])
    if dtype not in (np.float32, np.float16) and not (dtype == np.uint8 and not first["quantization"][0]):
        raise WeightsError(f"{files.path}: takes quantised numbers; export it with an input of float32")
    shape = _tflite_shape(interpreter, first)
    chosen = [
        details[index]["index"] for index in _chosen(card, [one["name"] for one in details], files.path)
    ]

    def run(array: np.ndarray) -> Sequence[np.ndarray]:
        if tuple(interpreter.get_input_details()[0]["shape"]) != array.shape:
            with quiet_stderr():
                interpreter.resize_tensor_input(first["index"], array.shape)
                interpreter.allocate_tensors()
        interpreter.set_tensor(first["index"], array)
        interpreter.invoke()
        return [np.array(interpreter.get_tensor(index), np.float32) for index in chosen]

    with quiet_stderr():
        interpreter.allocate_tensors()
    return Runtime(run, shape, dtype, "litert", f"LiteRT on CPU ({available_cores()} cores)")


def _tflite_shape(interpreter: Any, first: Any) -> Shape:
    """The shape of an input; one without a signature of its own takes as many images as it was made for."""
    signature = [int(side) for side in first.get("shape_signature", first["shape"])]
    return tuple(side if side > 0 else None for side in signature)


def _open_keras(card: Card, files: CardFiles, device: str) -> Runtime:
    from bccli.core.models import backend
    from bccli.core.weights.keras_files import load_model

    tf = backend.start(device)
    import keras

    model = load_model(files.path)
    if len(model.inputs) != 1:
        raise WeightsError(
            f"{files.path}: takes {len(model.inputs)} inputs, and images are one; save it with one"
        )
    if card.output:
        names = [layer.name for layer in model.layers]
        tensors = [model.layers[index].output for index in _chosen(card, names, files.path)]
        model = keras.Model(model.inputs, tensors, name="card")
    elif len(model.outputs) > 1:
        _only([one.name for one in model.outputs], files.path)
    (shape,) = (tuple(one.shape) for one in model.inputs)
    signature = tf.TensorSpec(shape, tf.float32)

    @tf.function(input_signature=[signature], autograph=False)
    def step(images: Any) -> Any:
        return tf.nest.flatten(model(images, training=False))

    def run(array: np.ndarray) -> Sequence[np.ndarray]:
        return [one.numpy() for one in step(tf.constant(array))]

    return Runtime(run, shape, np.dtype("float32"), "keras", f"TensorFlow on {backend.describe_device(tf)}")


_OPENERS: dict[str, Callable[[Card, CardFiles, str], Runtime]] = {
    ONNX: _open_onnx, TFLITE: _open_tflite, KERAS: _open_keras
}  # fmt: skip
