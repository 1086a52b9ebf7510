"""How many images a second each engine makes features of, in one process and in turns, from pixels in memory.

Usage: python -m tests.benchmarks.rivals.engine_speeds BACKBONE WIDTHxHEIGHT ROUNDS ENGINE…
Prints {engine: {"rates": [images a second, one a round], "start": seconds, "difference": …}} as its last
line for the engines that are installed. The difference is the largest from TensorFlow's features, as a share
of the largest feature; the engine that comes first has to be TensorFlow.
Besides bccli's engines there are ONNX Runtime on the same network, and PyTorch on torchvision's of the same
name with weights of its own, whose features are no others'.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from bccli.core.catalog import find_backbone
from bccli.core.cores import available_cores
from bccli.core.models import backend
from bccli.core.models.backbones import build_backbone
from bccli.core.models.engines import LITERT, OPENVINO, TENSORFLOW, start_engine
from bccli.core.models.extractors import build_features
from bccli.core.models.tflite_export import converted, largest_difference
from bccli.core.weights.pretrained import Weights

BATCH = 32
SECONDS = 1.5
"""How long each engine works in a round."""

Computing = Callable[[np.ndarray], np.ndarray]

NEEDS = {
    TENSORFLOW: ("tensorflow",),
    LITERT: ("ai_edge_litert",),
    OPENVINO: ("openvino",),
    "onnxruntime": ("onnxruntime", "tf2onnx"),
    "torch": ("torch", "torchvision"),
}
TORCH = {
    "mobilenet-v2": "mobilenet_v2",
    "mobilenet-v3-large": "mobilenet_v3_large",
    "efficientnet-b0": "efficientnet_b0",
    "resnet50": "resnet50",
    "densenet121": "densenet121",
    "vgg16": "vgg16",
}
"""torchvision's names of the networks that it has, too."""


def installed(engine: str) -> bool:
    """Whether all that an engine needs is here."""
    return all(find_spec(module) for module in NEEDS[engine])


def _onnx(extractor: Any, images: np.ndarray) -> Computing:
    """ONNX Runtime on the .tflite of the extractor."""
    import onnxruntime
    import tf2onnx

    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(converted(extractor, images[:4]))
        file.flush()
        model, _ = tf2onnx.convert.from_tflite(file.name, opset=17)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cores()
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    (entry,) = session.get_inputs()
    return lambda batch: session.run(None, {entry.name: batch.astype(np.float32)})[0]


def _torch(name: str) -> Computing:
    """PyTorch's network of that name, less its last layers, with random weights."""
    import torch
    import torchvision

    network = getattr(torchvision.models, TORCH[name])(weights=None).eval()
    torch.set_num_threads(available_cores())
    trunk = getattr(network, "features", None) or torch.nn.Sequential(*list(network.children())[:-2])

    def compute(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            inputs = torch.from_numpy(images.astype(np.float32) / 255).permute(0, 3, 1, 2)
            return trunk(inputs.contiguous(memory_format=torch.channels_last)).mean((2, 3)).numpy()

    return compute


def _start(engine: str, name: str, extractor: Any, images: np.ndarray) -> Computing | None:
    if not installed(engine) or (engine == "torch" and name not in TORCH):
        return None
    if engine == "torch":
        return _torch(name)
    return _onnx(extractor, images) if engine == "onnxruntime" else start_engine(engine, extractor, images)


def _rate(compute: Computing, images: np.ndarray) -> float:
    started, done = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < SECONDS:
        compute(images)
        done += len(images)
    return done / passed


def main(name: str, size: str, rounds: int, engines: list[str]) -> None:
    """Start the engines, let them work in turns, and print their rates."""
    backend.start("cpu")
    width, height = map(int, size.split("x"))
    backbone = find_backbone(name)
    network = build_backbone(backbone, (width, height), Weights("none"))
    extractor = build_features(backbone, network, "average")
    images = np.random.default_rng(0).integers(0, 256, (BATCH, height, width, 3), np.uint8)
    results: dict[str, dict[str, Any]] = {}
    started: dict[str, Computing] = {}
    expected = np.zeros(0)
    for engine in engines:
        began = time.perf_counter()
        if (compute := _start(engine, name, extractor, images)) is None:
            continue
        found = compute(images)
        expected = found if engine == TENSORFLOW else expected
        difference = None if engine == "torch" else largest_difference(found, expected)
        results[engine] = {"rates": [], "start": time.perf_counter() - began, "difference": difference}
        started[engine] = compute
    for _ in range(rounds):
        for engine, compute in started.items():
            results[engine]["rates"].append(_rate(compute, images))
    print(json.dumps(results))


if __name__ == "__main__":
    _, _name, _size, _rounds, *_engines = sys.argv
    main(_name, _size, int(_rounds), _engines)
