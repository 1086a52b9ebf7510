"""Where the exchange of gradients meets the step, on paper: `python -m tests.benchmarks.all_reduce [NAME…]`.

Counted are the weights of each built-in backbone that learn, and with them the bytes of a gradient in
float32. Measured is, for a few of them, how long an image takes in a step of training here. The rest is
arithmetic: a GPU is taken to be `--times` as fast as this machine, and a ring to move 2(n−1)/n of the bytes
over the slowest link between n replicas. The two meet at so many images for each GPU: with fewer, the
exchange takes longer than the step.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bccli.core.catalog import BACKBONES, Backbone, find_backbone

LINKS = {"PCIe, 12 GB/s": 12e9, "NVLink, 150 GB/s": 150e9, "10 Gb/s": 10e9 / 8, "100 Gb/s": 100e9 / 8}
"""Bytes a second between two replicas."""

REPLICAS = 2, 8
MEASURED = "mobilenet", "efficientnet-b0", "resnet50", "vgg16", "densenet121"
_BYTES = np.dtype(np.float32).itemsize


def ring_seconds(size: int, replicas: int, bandwidth: float) -> float:
    """How long a ring takes to add up `size` bytes of each of so many replicas.

    >>> ring_seconds(100, 2, 100), ring_seconds(100, 8, 100)
    (1.0, 1.75)
    """
    return 2 * (replicas - 1) / replicas * size / bandwidth


def meeting(size: int, replicas: int, bandwidth: float, image_seconds: float) -> float:
    """With so many images for each replica the exchange of `size` bytes takes as long as the step.

    >>> meeting(100, 8, 1000, 0.035)
    5.0
    """
    return ring_seconds(size, replicas, bandwidth) / image_seconds


def network_of(backbone: Backbone, side: int) -> Any:
    """A backbone with random weights, for square images."""
    from bccli.core.models.backbones import build_backbone
    from bccli.core.weights.pretrained import find_weights

    return build_backbone(backbone, (side, side), find_weights(backbone, "none"))


def learning_weights(backbone: Backbone) -> int:
    """How many of its weights learn, without any memory for them."""
    import keras

    with keras.StatelessScope(initialize_variables=False):
        network = network_of(backbone, backbone.smallest)
        return sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)


def image_seconds(backbone: Backbone, batch: int, steps: int) -> float:
    """The seconds of an image in a step of SGD of the whole network here, in the fastest of some steps."""
    import keras
    import tensorflow as tf

    network = network_of(backbone, backbone.size)
    pooled = keras.layers.GlobalAveragePooling2D()(network.output)
    network = keras.Model(network.input, keras.layers.Dense(2)(pooled))
    optimizer = keras.optimizers.SGD(1e-4)
    optimizer.build(network.trainable_variables)

    @tf.function(autograph=False)
    def step(images: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            scores = network(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores))
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        return loss

    rng = np.random.default_rng(0)
    images = tf.constant(rng.uniform(0, 255, (batch, *network.input_shape[1:])), tf.float32)
    labels = tf.constant(rng.integers(2, size=batch))
    seconds = []
    for _ in range(steps + 1):  # the first one compiles
        began = time.perf_counter()
        step(images, labels).numpy()
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:]) / batch


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    """The lines of a Markdown table."""
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def sizes(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """A row for each backbone: weights that learn, megabytes, and milliseconds over each link."""
    for name in names:
        weights = learning_weights(find_backbone(name))
        times = (
            f"{1e3 * ring_seconds(weights * _BYTES, count, bandwidth):,.1f}"
            for bandwidth in LINKS.values()
            for count in REPLICAS
        )
        yield name, f"{weights:,}", f"{weights * _BYTES / 1e6:,.1f}", *times


def meetings(names: Sequence[str], batch: int, steps: int, times: float) -> Iterator[Sequence[str]]:
    """A row for each backbone: megabytes, seconds of an image here, and where exchange and step meet."""
    for name in names:
        backbone = find_backbone(name)
        size = learning_weights(backbone) * _BYTES
        here = image_seconds(backbone, batch, steps)
        images = (
            f"{meeting(size, count, bandwidth, here / times):,.1f}"
            for bandwidth in LINKS.values()
            for count in REPLICAS
        )
        yield f"{name}, {backbone.size}×{backbone.size}", f"{size / 1e6:,.1f}", f"{here:.3f}", *images


def main() -> None:
    """Print both tables, line by line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.all_reduce", description=__doc__)
    parser.add_argument("names", nargs="*", default=MEASURED, help="backbones to measure")
    parser.add_argument("--times", type=float, default=100, help="a GPU is so many times as fast as this")
    parser.add_argument("--batch", type=int, default=4, help="images of a step that is measured")
    parser.add_argument("--steps", type=int, default=3, help="of which the fastest counts")
    arguments = parser.parse_args()
    from bccli.core.models import backend

    backend.start("cpu")
    links = [f"{link}: {count}" for link in LINKS for count in REPLICAS]
    rows = meetings(arguments.names, arguments.batch, arguments.steps, arguments.times)
    print(f"Images for each GPU, {arguments.times:g} times as fast as here, where exchange and step meet\n")
    for line in table(["backbone", "gradient, MB", "here, s an image", *links], rows):
        print(line, flush=True)
    print("\nMilliseconds of an exchange\n")
    for line in table(["backbone", "weights that learn", "gradient, MB", *links], sizes([*BACKBONES])):
        print(line, flush=True)


if __name__ == "__main__":
    main()
