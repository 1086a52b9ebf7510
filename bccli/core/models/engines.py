"""What computes a frozen network's features: TensorFlow, or where that is faster, LiteRT or OpenVINO.

Their features differ in the last digits (by up to 3e-5 of the largest), so a store of features belongs to one
engine. Which one depends on the network, on the device and on what is installed, and never on how many images
there are, so that all tasks and all runs on a dataset agree.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.cores import available_cores
from bccli.core.errors import first_line
from bccli.core.models.devices.sharing import SharedModel
from bccli.core.models.runtimes import LiteRT, OpenVino, has_openvino
from bccli.core.models.tflite_export import converted

Computing = Callable[[Any], np.ndarray]
"""From images uint8 (batch, height, width, 3) to features float32 (batch, width)."""

TENSORFLOW, LITERT, OPENVINO = "tensorflow", "litert", "openvino"

_LITERT_PAYS = "mobilenet", "efficientnet", "xception"
"""How the names of networks begin that take LiteRT a half to four fifths of TensorFlow's time. Others with
few depthwise convolutions take it as long, VGG's and NASNet half as long again: see
`python -m tests.benchmarks engines`."""

_OPENVINO_PAYS = "efficientnet", "resnet", "inception-resnet", "vgg", "cnn"
"""The same for OpenVINO, a half to nine tenths; it takes as long for DenseNet, and for NASNet twice."""


class UnusableError(Exception):
    """An engine cannot compute a network, and why."""


def engines_of(backbone: str, device: str, precision: str) -> tuple[str, ...]:
    """The engines for a backbone's features, the fastest first; TensorFlow can compute all of them.

    >>> engines_of("vgg16", "gpu", "float32")
    ('tensorflow',)
    """
    if (device, precision) != ("cpu", "float32"):
        return (TENSORFLOW,)
    if has_openvino() and backbone.startswith(_OPENVINO_PAYS):
        return OPENVINO, TENSORFLOW
    return (LITERT, TENSORFLOW) if backbone.startswith(_LITERT_PAYS) else (TENSORFLOW,)


def _tensorflow(extractor: Any, first: np.ndarray) -> Computing:
    """The model, compiled for all devices."""
    return SharedModel(extractor, "uint8")


def _litert(extractor: Any, first: np.ndarray) -> Computing:
    return LiteRT(converted(extractor, first[:_CHECKED]), available_cores()).scores


def _openvino(extractor: Any, first: np.ndarray) -> Computing:
    """OpenVINO, for batches as large as the first one."""
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(converted(extractor, first[:_CHECKED]))
        file.flush()
        return OpenVino(Path(file.name), available_cores(), batch_size=len(first)).scores


_CHECKED = 4
"""So many images of the first batch show whether an engine gives Keras's numbers."""

_START = {TENSORFLOW: _tensorflow, LITERT: _litert, OPENVINO: _openvino}


def start_engine(engine: str, extractor: Any, first: np.ndarray) -> Computing:
    """An engine for a Keras model from RGB 0–255 to features; `first` is its first batch, uint8.

    Raises UnusableError.
    """
    try:
        return _START[engine](extractor, first)
    except MemoryError:
        raise
    except Exception as error:
        if engine == TENSORFLOW:
            raise
        raise UnusableError(f"{engine} cannot compute {extractor.name} ({first_line(error)})") from None
