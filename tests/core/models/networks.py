"""Backbones with weights away from their start, Keras's own files of them, and images in memory."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.catalog import Backbone
from bccli.core.data.manifest import Sample

# What Keras's own EfficientNet files have in their Normalization layer: see PREPROCESSING.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# One small network of each builder that keras.applications has; the others are the same with more layers.
FAMILIES = (
    "vgg16", "resnet50", "resnet50v2", "resnext50", "densenet121", "inception-v3", "inception-resnet-v2",
    "xception", "nasnet-mobile", "mobilenet-0.25", "mobilenet-v2", "mobilenet-v3-small", "efficientnet-b0",
    "efficientnet-v2-b0", "convnext-tiny",
)  # fmt: skip
LARGEST = (
    "nasnet-large", "efficientnet-b7", "efficientnet-v2-l", "convnext-base", "convnext-large",
    "convnext-xlarge",
)  # fmt: skip


def start() -> Any:
    """Keras on the CPU, as in a fresh process."""
    from bccli.core.models import backend

    backend.start("cpu")
    import keras

    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    return keras


def build(backbone: Backbone, size: tuple[int, int], file: Path | None = None) -> Any:
    """A backbone as `train` builds it, with the weights of a file or random ones."""
    from bccli.core.models.backbones import build_backbone
    from bccli.core.weights.pretrained import find_weights

    start()
    return build_backbone(backbone, size, find_weights(backbone, "none" if file is None else str(file)))


def disturb(network: Any) -> Any:
    """Move statistics, offsets and scales away from 0 and 1, where a mistake would not show."""
    rng = np.random.default_rng(3)
    for variable in network.weights:
        if len(variable.shape) == 1:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    for layer in network.layers:
        if type(layer).__name__ == "Normalization" and layer.weights:
            layer.set_weights([np.array(MEAN), np.array(DEVIATION), np.array(0)])
            layer.finalize_state()
    return network


def settle(network: Any, extractor: Any, images: np.ndarray) -> None:
    """Give batch norms the statistics of a few images (n, height, width, 3): with those of their start,
    signals fade or grow beyond measure in deep networks, and rounding is all that there is to compare."""
    norms = [layer for layer in network.layers if type(layer).__name__ == "BatchNormalization"]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    extractor(images, training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum


def write_layers(path: Path, network: Any) -> Path:
    """The weights as keras.applications publishes them."""
    import h5py
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, network)
    return path


def pixels(size: tuple[int, int], count: int = 2) -> np.ndarray:
    """Random RGB 0–255 images (count, height, width, 3), float32."""
    return np.random.default_rng(7).uniform(0, 255, (count, size[1], size[0], 3)).astype(np.float32)


def keras_preprocessing(backbone: Backbone) -> Callable[[np.ndarray], np.ndarray]:
    """`preprocess_input` as Keras has it for a backbone; it may change what it is given."""
    import sys

    import keras
    from keras.src.applications import imagenet_utils

    if backbone.builder == "resnext":  # as in keras-applications, resnext.py
        return lambda images: imagenet_utils.preprocess_input(images, mode="torch")
    builder = getattr(keras.applications, backbone.builder)
    return sys.modules[builder.__module__].preprocess_input


def difference(values: Any, expected: Any) -> float:
    """The largest difference, relative to the largest of what is expected."""
    values, expected = np.asarray(values), np.asarray(expected)
    return float(np.abs(values - expected).max() / np.abs(expected).max())


class Pixels:
    """Images in memory, each with a row."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels
        self.samples = tuple(
            Sample(path=f"{number}.png", sha256=f"{number:064x}") for number in range(len(pixels))
        )

    def batches(self, order: np.ndarray, batch_size: int) -> Iterator[Any]:
        for start in range(0, len(order), batch_size):
            yield self.pixels[order[start : start + batch_size]]

    arrays = batches

    def signature(self) -> Any:
        raise NotImplementedError
