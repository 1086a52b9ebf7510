"""Small networks that stand for the families of backbones, weights away from their start, and data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bccli.core.catalog import BACKBONES, Backbone, find_backbone
from bccli.core.models import backbones
from tests.conftest import PATIENT, REAL_WEIGHTS, save
from tests.core.models.networks import build, disturb, pixels, settle

SIDE = 32

# What tells the families from each other, at first all of it together. Keras's smallest of those whose
# statistics and dropouts are easily lost; of the others those of which there are trained weights.
TINY = {
    "tiny-both": {"normalised": 1, "dropped": 1, "batch_norms": 1},
    "tiny-normalised": {"normalised": 1, "dropped": 0, "batch_norms": 1},
    "tiny-dropped": {"normalised": 0, "dropped": 1, "batch_norms": 1},
    "tiny-batch-norms": {"normalised": 0, "dropped": 0, "batch_norms": 1},
    "tiny-plain": {"normalised": 0, "dropped": 0, "batch_norms": 0},
}
LARGER = ("efficientnet-b0",)
TRAINED = {
    "mobilenet-0.25": REAL_WEIGHTS / "models" / "mobilenet_2_5_224_tf_no_top.h5",
    "vgg16": REAL_WEIGHTS.parent / "weights" / "vgg16_notop.weights.h5",
}


def tiny(*, input_shape: tuple[int, int, int], normalised: int, dropped: int, batch_norms: int) -> Any:
    """A residual block between two convolutions, with what the family has besides."""
    import keras

    def convolve(x: Any, width: int, stride: int) -> Any:
        x = keras.layers.Conv2D(width, 3, stride, padding="same", use_bias=not batch_norms)(x)
        return keras.layers.BatchNormalization()(x) if batch_norms else x

    inputs = keras.Input(input_shape)
    x = keras.layers.Normalization()(inputs) if normalised else inputs
    x = keras.layers.ReLU()(convolve(x, 8, 2))
    branch = convolve(keras.layers.ReLU()(convolve(x, 8, 1)), 8, 1)
    if dropped:
        # Stochastic depth as EfficientNet has it: whole branches of some images of a batch.
        branch = keras.layers.Dropout(0.5, noise_shape=(None, 1, 1, 1))(branch)
    x = keras.layers.ReLU()(keras.layers.Add()([x, branch]))
    return keras.Model(inputs, keras.layers.ReLU()(convolve(x, 12, 2)), name="tiny")


def register(patch: pytest.MonkeyPatch) -> None:
    """Let bccli know the small networks."""
    patch.setitem(backbones.BUILDERS, "tiny", tiny)
    for name, traits in TINY.items():
        preprocessing = "none" if traits["normalised"] else "minus_one_to_one"
        layers = len(tiny(input_shape=(SIDE, SIDE, 3), **traits).layers)
        row = Backbone(
            name, "tiny", preprocessing, SIDE, layers, 0, arguments=tuple(traits.items()), smallest=16
        )
        patch.setitem(BACKBONES, name, row)


def weights_of(name: str, folder: Path) -> Path:
    """A file of weights that are not those of the start; a Normalization has ImageNet's statistics."""
    from bccli.core.models.extractors import build_features

    backbone = find_backbone(name)
    network = disturb(build(backbone, (SIDE, SIDE)))
    if TINY.get(name, {}).get("normalised"):  # which has no rescaling before it
        layer = next(layer for layer in network.layers if type(layer).__name__ == "Normalization")
        layer.set_weights([np.array((120, 110, 100)), np.array((3000, 2500, 2000)), np.array(0)])
        layer.finalize_state()
    settle(network, build_features(backbone, network, "average"), pixels((SIDE, SIDE), 8))
    file = folder / f"{name}.weights.h5"
    network.save_weights(file)
    return file


def picture(label: int, seed: int, width: int = SIDE) -> np.ndarray:
    """A noisy image (SIDE, width, 3) whose class is told by stripes: along, across, or both."""
    rng = np.random.default_rng(seed)
    image = rng.integers(40, 120, (SIDE, width, 3))
    if label != 1:
        image[::4] += 90
    if label != 0:
        image[:, ::4] += 90
    return image.clip(0, 255).astype(np.uint8)


def prepare_all(place: Path, run: Callable[..., Any]) -> None:
    """The datasets that the ways need, in folders by their names, each with its raw images in NAME-raw."""
    sets = {
        "data": (("benign", "malignant"), SIDE, ("--ratios", "1/1/1")),
        "three": (("normal", "benign", "cancer"), SIDE, ("--ratios", "1/1/1")),
        "folds": (("benign", "malignant"), SIDE, ("--folds", 3)),
        "patches": (("benign", "malignant"), 2 * SIDE, ("--ratios", "1/1/1", "--patch", SIDE)),
    }
    for name, (classes, width, options) in sets.items():
        raw = place / f"{name}-raw"
        for patient in range(12):
            label = patient % len(classes)
            for number in range(5):
                image = picture(label, 100 * patient + number, width)
                save(raw / classes[label] / f"p{patient}_{number}.png", image)
        run("prepare", "folder", raw, place / name, *PATIENT, *options)
