"""Six small networks as keras.applications builds them, and files of random weights where Keras looks for
ImageNet's.

Usage: python -m tests.benchmarks.rivals.networks, with KERAS_HOME the folder for the files.
"""

from typing import Any

import keras

from bccli.core.catalog import BACKBONES
from bccli.core.weights.pretrained import cached_file
from tests.core.models.networks import write_layers

NETWORKS: dict[str, tuple[str, dict[str, float]]] = {
    "mobilenet-0.25": ("MobileNet", {"alpha": 0.25}),
    "mobilenet-0.5": ("MobileNet", {"alpha": 0.5}),
    "mobilenet-0.75": ("MobileNet", {"alpha": 0.75}),
    "mobilenet": ("MobileNet", {"alpha": 1.0}),
    "mobilenet-v2": ("MobileNetV2", {"alpha": 1.0}),
    "mobilenet-v3-small": ("MobileNetV3Small", {"alpha": 1.0}),
}


def build(name: str, side: int) -> Any:
    """The network from pixels 0–255 (side, side, 3) to its features, with random weights and frozen."""
    builder, arguments = NETWORKS[name]
    network = getattr(keras.applications, builder)(
        include_top=False, weights=None, pooling="avg", input_shape=(side, side, 3), **arguments
    )
    network.trainable = False
    inputs = keras.Input((side, side, 3))
    own = builder == "MobileNetV3Small"  # which scales pixels itself
    scaled = inputs if own else keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    return keras.Model(inputs, network(scaled, training=False))


def main() -> None:
    """Write the files."""
    for name, (builder, arguments) in NETWORKS.items():
        row = BACKBONES[name]
        network = getattr(keras.applications, builder)(
            include_top=False, weights=None, input_shape=(row.size, row.size, 3), **arguments
        )
        file = cached_file(row)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_layers(file, network)


if __name__ == "__main__":
    main()
