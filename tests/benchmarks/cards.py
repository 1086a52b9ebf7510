"""Features of a card's network with decoding, against ONNX Runtime's own loop over pixels in memory."""

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.data.image_batches import open_images
from bccli.core.data.manifest import Sample
from bccli.core.models.cards.card import read_card
from bccli.core.models.cards.card_files import find_files
from bccli.core.models.cards.frozen_network import CardMaker, open_network
from tests.benchmarks.comparing import Row, verdict
from tests.cards import card
from tests.conftest import save

IMAGES, SIDE = 96, 224
WIDTH, DEPTH, HEADS = 384, 12, 6
"""Of a small vision transformer (Dosovitskiy et al. 2021, arXiv:2010.11929): ViT-S/16."""

VIT, LEAST = "ViT-S/16", 0.9
"""So much of ONNX Runtime's own throughput is promised, of networks that take longer than to decode an image;
of a few convolutions, which do not, no share."""


def cards(rounds: int | None, folder: Path, note: Callable[[str], None]) -> Iterator[Row]:
    """Yield a row for a vision transformer, and one for a network of a few convolutions."""
    data, samples, pixels = _images(folder / "images")
    for name, write in ((VIT, write_vit), ("four convolutions", write_convolutions)):
        file = write(folder / f"{name.replace('/', '-').replace(' ', '-')}.onnx")
        yield _compared(name, file, data, samples, pixels, rounds or 5)


def _images(root: Path) -> tuple[Path, list[Sample], np.ndarray]:
    """Smooth noise as PNGs, their rows, and their pixels (n, height, width, 3)."""
    import cv2

    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (IMAGES, 56, 56, 3)).astype(np.uint8)
    pixels = np.stack([cv2.resize(one, (SIDE, SIDE)) for one in coarse])
    samples = []
    for number, image in enumerate(pixels):
        save(root / f"{number}.png", image)
        samples.append(Sample(path=f"{number}.png", width=SIDE, height=SIDE, sha256=f"{number:064x}"))
    return root, samples, pixels


def _compared(
    name: str, file: Path, data: Path, samples: list[Sample], pixels: np.ndarray, rounds: int
) -> Row:
    own = read_card(card(file, name="measured", size=[SIDE, SIDE]))
    network = open_network(own, find_files(own))
    images, order = open_images(data, samples), np.arange(len(samples))

    def ours() -> np.ndarray:
        return np.concatenate(list(CardMaker(network).vectors(images, order)))

    theirs = _own_loop(file, network.inputs(pixels), network.batch_size)
    found, expected = ours(), theirs()
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    seconds: dict[str, list[float]] = {"bccli": [], "onnxruntime": []}
    for _ in range(rounds):
        for side, run in (("bccli", ours), ("onnxruntime", theirs)):
            began = time.perf_counter()
            run()
            seconds[side].append(time.perf_counter() - began)
    rates = {side: len(samples) / statistics.median(times) for side, times in seconds.items()}
    share = rates["bccli"] / rates["onnxruntime"]
    print(f"cards {name}: {share:.2f} of ONNX Runtime's own", file=sys.stderr, flush=True)
    return Row(
        name=f"features by a card, {name}",
        left=f"bccli, decoding PNGs: {rates['bccli']:.1f} images a second",
        right=f"ONNX Runtime, pixels in memory: {rates['onnxruntime']:.1f}",
        ratio=f"{share:.3f}",
        target=f"≥ {LEAST}" if name == VIT else "",
        verdict=verdict(share >= LEAST) if name == VIT else "",
        rounds=rounds,
        measurements={"seconds": [seconds["bccli"], seconds["onnxruntime"]]},
    )


def _own_loop(file: Path, inputs: np.ndarray, batch: int) -> Callable[[], np.ndarray]:
    """ONNX Runtime as its documentation has it, on inputs that are normalised already."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def run() -> np.ndarray:
        parts = (inputs[start : start + batch] for start in range(0, len(inputs), batch))
        return np.concatenate([session.run(None, {"pixels": part})[0] for part in parts])

    return run


def write_vit(path: Path) -> Path:
    """ViT-S/16 with random weights, whose output is the class token of the last layer."""
    from onnx import helper

    graph = _Graph()
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> str:
        return graph.constant(rng.normal(0, shape[0] ** -0.5, shape).astype(np.float32))

    maps = graph.node("Conv", "pixels", weight(WIDTH, 3, 16, 16), strides=[16, 16])
    rows = graph.node("Reshape", maps, graph.constant(np.array([0, WIDTH, -1])))
    x = graph.node("Transpose", rows, perm=[0, 2, 1])
    first = graph.node("ReduceMean", x, axes=[1], keepdims=1)
    x = graph.node("Concat", first, x, axis=1)
    for _ in range(DEPTH):
        y = _normalised(graph, x)
        q, k, v = (
            graph.node(
                "Transpose",
                graph.node(
                    "Reshape",
                    graph.node("MatMul", y, weight(WIDTH, WIDTH)),
                    graph.constant(np.array([0, 0, HEADS, WIDTH // HEADS])),
                ),
                perm=[0, 2, 3, 1] if part == "k" else [0, 2, 1, 3],
            )
            for part in "qkv"
        )
        scale = graph.constant(np.float32((WIDTH // HEADS) ** -0.5))
        shares = graph.node("Softmax", graph.node("Mul", graph.node("MatMul", q, k), scale), axis=-1)
        mixed = graph.node("Transpose", graph.node("MatMul", shares, v), perm=[0, 2, 1, 3])
        mixed = graph.node("Reshape", mixed, graph.constant(np.array([0, 0, WIDTH])))
        x = graph.node("Add", x, graph.node("MatMul", mixed, weight(WIDTH, WIDTH)))
        y = graph.node("Relu", graph.node("MatMul", _normalised(graph, x), weight(WIDTH, 4 * WIDTH)))
        x = graph.node("Add", x, graph.node("MatMul", y, weight(4 * WIDTH, WIDTH)))
    graph.nodes.append(helper.make_node("Gather", [x, graph.constant(np.array(0))], ["out"], axis=1))
    return graph.write(path)


def _normalised(graph: "_Graph", x: str) -> str:
    ones, zeros = (graph.constant(make(WIDTH, np.float32)) for make in (np.ones, np.zeros))
    return graph.node("LayerNormalization", x, ones, zeros, axis=-1)


def write_convolutions(path: Path) -> Path:
    """Four convolutions with strides, a network for which decoding weighs much."""
    from onnx import helper

    graph, rng = _Graph(), np.random.default_rng(0)
    x, depth = "pixels", 3
    for width in (16, 32, 64, 128):
        kernel = rng.normal(0, 0.1, (width, depth, 3, 3)).astype(np.float32)
        x = graph.node("Relu", graph.node("Conv", x, graph.constant(kernel), strides=[2, 2], pads=[1] * 4))
        depth = width
    mean = graph.node("GlobalAveragePool", x)
    graph.nodes.append(helper.make_node("Flatten", [mean], ["out"]))
    return graph.write(path)


class _Graph:
    """An ONNX graph from `pixels` to `out` that is being built."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, value: Any) -> str:
        """A constant's name."""
        from onnx import numpy_helper

        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The name of the output of a new node."""
        from onnx import helper

        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def write(self, path: Path) -> Path:
        """Write it as a model for images of 224×224."""
        from onnx import TensorProto, helper

        pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ("n", 3, SIDE, SIDE))
        out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "net", [pixels], [out], self._constants)
        opsets = [helper.make_opsetid("", 17)]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
        return path
